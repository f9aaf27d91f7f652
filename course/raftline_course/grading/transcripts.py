"""Play a transcript of the lab on a hand-in, and find the first line that does not hold.

`> act` is one of `raftline_testing/transcripts/player.py`. After it, `+ pattern` is a line that it
must cause, in this order; `- pattern` is a line that it must not cause. `*` matches anything.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from labs.bugs.stage import Unchecked
from raftline.picture.harness.judging.collected import Collector
from raftline_course.grading.isolation.remote import begin
from raftline_course.grading.isolation.servers import HandInError, HandInRun, Print
from raftline_testing.transcripts.player import Player
from raftline_testing.virtual.nodes.simulated_node import Host

SHOWN = 12
_OWN_DISK = ": a leader counts itself for an entry once the entry is on its own disk"


class NotSo(AssertionError):
    """A line of a transcript that does not hold; the text names it and the actual events."""


class Playing:
    """A transcript on the cores of a hand-in; `say` gets each line of it, and each event."""

    def __init__(
        self,
        text: str,
        servers: HandInRun,
        collector: Collector | None = None,
        say: Print | None = None,
    ) -> None:
        self._text, self._say = text, say or (lambda line: None)
        player = self._player = Player()
        make_node: Callable[..., Any] = partial(_begin, servers, collector, player)
        player.cluster.make_node = make_node
        player.cluster.invariants = Unchecked()
        self.world, self.network = player.cluster.world, player.cluster.network
        self._act, self._happened = "", list[str]()
        self._last = ""  # the last line of this act that was expected
        self._before: list[tuple[str, str]] = []  # all events, each with its act

    @property
    def hosts(self) -> Mapping[str, Host]:
        return self._player.cluster.hosts

    def events(self) -> Iterator[None]:
        """Play; once servers run, yield before each act.

        Raises:
            NotSo: a line does not hold.
        """
        for line in self._text.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == ">" and self.hosts:
                yield
            self._say(line)
            if kind == ">":
                self._do(rest)
            elif kind == "+":
                self._must_happen(rest)
            elif kind == "-":
                self._must_not_happen(rest)

    def _do(self, act: str) -> None:
        self._act, self._last, self._happened = act, "", _perform(self._player, act)
        self._before += [(act, one) for one in self._happened]
        self._say("".join(f"    {one}\n" for one in self._happened).rstrip("\n"))

    def _must_happen(self, pattern: str) -> None:
        happened = self._happened
        found = next((at for at, one in enumerate(happened) if _fits(one, pattern)), None)
        if found is None:
            early = _too_early(pattern, happened, self._before)
            if early and self._last == pattern.replace(" applies ", " appends "):
                early = f"; it was applied too early, before `{self._last}`{_OWN_DISK}"
            rest = _in_lines(happened) if happened or not early else ""
            raise NotSo(f"after `{self._act}` this did not happen: {pattern}{early}{rest}")
        self._last = happened[found]
        del happened[: found + 1]

    def _must_not_happen(self, pattern: str) -> None:
        wrong = [one for one in self._happened if _fits(one, pattern)]
        if wrong:
            raise NotSo(f"after `{self._act}` this must not happen: {wrong[0]}")


def _begin(
    servers: HandInRun,
    collector: Collector | None,
    player: Player,
    *given: object,
    **more: object,
) -> object:
    node = begin(servers, *given, **more)  # type: ignore[arg-type]
    if collector is not None:
        collector.observe(node, lambda: player.cluster.world.now_ms / 1000)  # type: ignore[arg-type]
    return node


def _perform(player: Player, act: str) -> list[str]:
    try:
        player.play(act)
    except HandInError:
        raise
    except AssertionError as error:
        raise NotSo(f"`{act}` can't be done: {error}") from error
    except Exception as error:
        raise NotSo(f"`{act}` failed: {type(error).__name__}: {error}") from error
    return [text for _, text in player.cluster.world.said]


def _fits(line: str, pattern: str) -> bool:
    """Whether the event happened; a message counts as sent even if it is lost."""
    return fnmatch.fnmatchcase(line.removesuffix(" (lost)"), pattern)


def _too_early(pattern: str, happened: list[str], before: list[tuple[str, str]]) -> str:
    """Return the message about an entry that was committed or applied too early, or ""."""
    if " applies " in pattern:
        acts = [act for act, line in before if _fits(line, pattern)]
        return f"; it was applied too early, after `{acts[0]}`" if acts else ""
    rest, _, expected = pattern.rpartition(", commit ")
    for line in happened:
        same, _, held = line.rpartition(", commit ")
        if rest and _fits(same, rest) and expected.isdigit() and int(held) > int(expected):
            return f"; its commit index is {held} too early"
    return ""


def _in_lines(happened: list[str]) -> str:
    return "".join(f"\n      {line}" for line in happened[:SHOWN]) if happened else "; nothing did"


def title_of(text: str) -> str:
    """Return the title of a transcript, from its first line."""
    return text.partition("\n")[0].removeprefix("# ").removesuffix(".")
