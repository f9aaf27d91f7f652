"""Keeps commands out of the log that a member could not apply as the others do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ...common.effects import ALIKE
from ...common.extensions import VERBS, verbs_in
from ...net.protocol.host import Batch
from ...raft.identity import words_of_part
from ...raft.node_view import NodeView
from ...wire.refusal import APPLIES_OTHERWISE, LACKS_PART, UNHEARD_PART, Refusal

# The commands that each kernel has had since the first release.
_SIMPLEST: Final = ("set ", "delete ")


class KnownParts:
    """The parts of this build, and the commands of clients that need them."""

    def __init__(
        self, view: NodeView, own: Mapping[str, str], version_of: Callable[[str], str]
    ) -> None:
        """`version_of` returns the version of a member's build."""
        self._view, self._own, self._version_of = view, own, version_of
        self._needs: str | None = None  # of the log, when `_new` was made
        self._new: dict[str, str] = {}  # the part of each verb that entries may not have yet

    def admit(self, writes: list[Batch]) -> tuple[list[Batch], list[str]]:
        """Return the writes that all members can apply, and the parts of these that the log has to
        name before them; refuse the other writes."""
        needs = self._view.identity.needs.latest
        if needs != self._needs:
            self._needs, self._new = needs, self._beyond(needs)
        if not self._new:
            return writes, []
        left, added, new = [], set[str](), self._new
        for batch in writes:
            verbs = set[str]()
            for command in batch.commands:
                if not command.startswith(_SIMPLEST):
                    verbs |= verbs_in(command) & new.keys()
            parts = sorted({f"{new[verb]}={self._own[new[verb]]}" for verb in verbs})
            part, member = self._view.who_lacks(parts) if parts else ("", "")
            if part:
                batch.answer_all(self._refusal(part, member))
            else:
                left.append(batch)
                added.update(parts)
        return left, sorted(added)

    def _beyond(self, needs: str) -> dict[str, str]:
        """Return the part of each verb that needs more of this build than entries may need."""
        named = dict(each.split("=") for each in needs.split())
        new = {
            verb: part
            for part, digest in named.items()
            for verb in ALIKE.get(part, {}).get(digest, ())
        }
        absent = {verb: part for verb, part in VERBS.items() if part not in named}
        return {verb: part for verb, part in (new | absent).items() if part in self._own}

    def _refusal(self, part: str, member: str) -> Refusal:
        told, name = self._view.told_parts(member), words_of_part(part)
        if told is None:
            return UNHEARD_PART(member, name)
        named = f"{member} ({self._version_of(member)})"
        if name in map(words_of_part, told):
            return APPLIES_OTHERWISE(named, name, self._view.name)
        return LACKS_PART(named, name)
