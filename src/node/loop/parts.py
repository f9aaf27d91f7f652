"""Keeps commands out of the log that a member could not apply as the others do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...common.extensions import parts_in
from ...net.protocol.host import Batch
from ...raft.levels import name_of_part
from ...raft.node_view import NodeView
from ...wire.refusal import APPLIES_OTHERWISE, LACKS_EXTENSION, UNHEARD_EXTENSION, Refusal


class KnownParts:
    """The parts of this build, and the commands of clients that need them."""

    def __init__(
        self, view: NodeView, own: Mapping[str, str], version_of: Callable[[str], str]
    ) -> None:
        """`version_of` returns the version of a member's build."""
        self._view, self._own, self._version_of = view, own, version_of
        self._all = {f"{part}={digest}" for part, digest in own.items()}
        self._seen = ""  # the needs of a log in which entries may need all parts

    def admit(self, writes: list[Batch]) -> tuple[list[Batch], list[str]]:
        """Return the writes that all members can apply, and the parts of these that the log has to
        name before them; refuse the other writes."""
        needs = self._view.levels.needs.latest
        if needs and needs == self._seen:
            return writes, []
        if self._all.issubset(needs.split()):
            self._seen = needs
            return writes, []
        left, added = [], set[str]()
        for batch in writes:
            needed = sorted({part for command in batch.commands for part in parts_in(command)})
            parts = [f"{part}={self._own[part]}" for part in needed if part in self._own]
            part, member = self._view.who_lacks(parts) if parts else ("", "")
            if part:
                batch.answer_all(self._refusal(part, member))
            else:
                left.append(batch)
                added.update(parts)
        return left, sorted(added)

    def _refusal(self, part: str, member: str) -> Refusal:
        told, extension = self._view.told_parts(member), name_of_part(part)
        if told is None:
            return UNHEARD_EXTENSION(member, extension)
        named = f"{member} ({self._version_of(member)})"
        if extension in map(name_of_part, told):
            return APPLIES_OTHERWISE(named, extension, self._view.name)
        return LACKS_EXTENSION(named, extension)
