"""Plays a transcript: `>` lines act on a cluster of cores, what follows each is all that happened.

Acts, with times in virtual milliseconds:

    > timeouts s1 150 300 s2 200      what a node's next elections wait; the last one stays
    > log s1 1 1 4                    before the start: a log with entries of these terms
    > entry s1 2 3 get b              before the start: one more entry, `index term command`
    > state s1 7 s2                   before the start: term and vote on its disk
    > batch 1                         before the start: most entries in one AppendEntries
    > leases                          before the start: every server promises its vote for a while
    > clock s2 110                    before the start: its clock runs at 110 percent
    > start s1 s2 s3 with s3 down
    > join s4                         a server that knows no members and waits to be added; of
                                      one that was there before all files are gone
    > wait 150ms, > wait              time passes (to the next timer); no message arrives
    > settle, > settle 300ms          messages arrive at once until all is quiet (and time passes);
                                      told in short: notes, applied entries, answers
    > deliver all, > deliver s2, > deliver s1 -> s2        and > drop … likewise
    > chunk 8                         before the start: most bytes of a snapshot in one message
    > snapshot s1                     a server takes a snapshot, and drops what it stands for
    > trail 1000                      before the start: bytes of entries kept behind a snapshot
    > cut s1, > cut s1 -> s2, > cut s1 -> all, > cut s1 s2 | s3 s4 s5, > heal
    > crash s1, > restart s1, > hold disk s1, > release disk s1
    > lose log s1, > lose storage s1, > lose all s1     its files are deleted, and it starts
    > newborn s1 s2 s3                before the start: they never ran, entries are by hand
    > new s3                          it is started again by an operator's word that it never ran
    > s2 loses its connection to s1
    > s1 hands over to s3, > s1 hands over
    > s1 <- client4@set b 5           a line arrives, of a client or of a peer
    > s1 <- client4#17@set b 5        a client's line with a request's number
    > sessions 2                      before the start: sessions that a cluster remembers
    > status
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from raftline.raft.effects import HardState
from raftline.raft.entries import Entry
from raftline.raft.inputs import PeerDisconnected
from raftline.raft.membership import Membership
from raftline.state import sessions
from tests.transcripts.world import NOBODY, Disk, Server, World

SHORT = ("note", "apply", "answer")
_LINE = re.compile(r"(\w+) <- ([\w#-]+)@(.*)")
_LOSES = re.compile(r"(\w+) loses its connection to (\w+)")
_HANDS_OVER = re.compile(r"(\w+) hands over(?: to (\w+))?")


class TranscriptError(AssertionError):
    """An act can't be done, or an invariant broke; the text is the transcript up to there."""


class Player:
    """Acts on one world, as the lines of a transcript say."""

    def __init__(self) -> None:
        self.world = World()
        self.timeouts: dict[str, list[int]] = {}
        self.disks: dict[str, Disk] = {}
        self.clocks: dict[str, int] = {}

    def play(self, act: str) -> list[str]:
        """Do one act and return everything that happened by it."""
        world = self.world
        world.said.clear()
        if found := _LINE.fullmatch(act):
            self._line(*found.groups())
        elif found := _LOSES.fullmatch(act):
            node, peer = found.groups()
            server = world.servers[node]
            world.step(server, lambda n: n.step(PeerDisconnected(peer), world.time_at(server)))
        elif found := _HANDS_OVER.fullmatch(act):
            world.hand_over(*found.groups())
        else:
            words = act.split()
            if " ".join(words[:2]) in (
                "lose log", "lose storage", "lose all", "hold disk", "release disk"
            ):
                words = [f"{words[0]}_{words[1]}", *words[2:]]
            self._acts()[words[0]](words[1:])
        short = act.startswith("settle")
        return [
            text
            for kind, text in world.said
            if not short or (kind in SHORT and " its PreVote to " not in text)
        ]

    def _acts(self) -> dict[str, Callable[[list[str]], None]]:
        return {
            "timeouts": self._set_timeouts,
            "log": self._log,
            "entry": self._entry,
            "state": self._state,
            "batch": self._batch,
            "chunk": self._chunk,
            "trail": self._trail,
            "sessions": self._sessions,
            "newborn": self._newborn,
            "new": self._new,
            "snapshot": lambda words: self.world.take_snapshot(self.world.servers[words[0]]),
            "leases": self._leases,
            "clock": self._clock,
            "start": self._start,
            "join": self._join,
            "wait": self._wait,
            "settle": self._settle,
            "deliver": lambda words: self._deliver(words, drop=False),
            "drop": lambda words: self._deliver(words, drop=True),
            "cut": self._cut,
            "heal": lambda words: self.world.cuts.clear(),
            "crash": lambda words: self.world.crash(self.world.servers[words[0]]),
            "restart": self._restart,
            "lose_log": self._lose_log,
            "lose_storage": self._lose_storage,
            "lose_all": self._lose_all,
            "hold_disk": self._hold_disk,
            "release_disk": lambda words: self.world.release(self.world.servers[words[0]]),
            "status": self._status,
        }

    # --- before the start -----------------------------------------------------------------

    def _set_timeouts(self, words: list[str]) -> None:
        name = ""
        for word in words:
            if word.isdigit():
                self.timeouts[name].append(int(word))
            else:
                name = word
                self.timeouts[name] = []
        for name, server in self.world.servers.items():
            server.timeouts = list(self.timeouts.get(name, server.timeouts))

    def _disk(self, name: str) -> Disk:
        return self.disks.setdefault(name, Disk())

    def _log(self, words: list[str]) -> None:
        for index, term in enumerate(words[1:], start=1):
            self._entry([words[0], str(index), term, "set", "x", f"{index}.{term}"])

    def _entry(self, words: list[str]) -> None:
        name, index, term = words[:3]
        disk = self._disk(name)
        assert int(index) == len(disk.entries) + 1, f"entry {index} is not the next of {name}"
        disk.entries.append(Entry(int(index), int(term), " ".join(words[3:])))
        if disk.hard_state.term < int(term):
            disk.hard_state = HardState(int(term), None)

    def _state(self, words: list[str]) -> None:
        vote = words[2] if len(words) > 2 else None
        self._disk(words[0]).hard_state = HardState(int(words[1]), vote)

    def _batch(self, words: list[str]) -> None:
        self.world.options = replace(self.world.options, batch_entries=int(words[0]))

    def _chunk(self, words: list[str]) -> None:
        self.world.options = replace(self.world.options, chunk_bytes=int(words[0]))

    def _trail(self, words: list[str]) -> None:
        self.world.options = replace(self.world.options, trailing_bytes=int(words[0]))

    def _sessions(self, words: list[str]) -> None:
        sessions.SESSIONS_MAX = int(words[0])  # until the transcript ends: see `perform`

    def _newborn(self, words: list[str]) -> None:
        for name in words:
            self._disk(name).newborn = True

    def _leases(self, words: list[str]) -> None:
        self.world.options = replace(self.world.options, lease=words != ["off"])

    def _clock(self, words: list[str]) -> None:
        self.clocks[words[0]] = int(words[1])

    def _start(self, words: list[str]) -> None:
        world = self.world
        down = words[words.index("with") + 1 : -1] if "with" in words else []
        names = words[: words.index("with")] if down else words
        base = Membership(tuple(names), addresses={name: f"{name}:1" for name in names})
        for position, name in enumerate(names):
            timeouts = self.timeouts.get(name, [150 + 50 * position])
            server = Server(name, list(timeouts), self._disk(name), base)
            server.clock_percent = self.clocks.get(name, 100)
            world.servers[name] = server
        for name in names:
            if name not in down:
                world.boot(world.servers[name])

    def _join(self, words: list[str]) -> None:
        world, name = self.world, words[0]
        if name in world.servers:
            world.servers[name].base = NOBODY
            self._lose_all(words)
            return
        timeouts, disk = self.timeouts.get(name, [150 + 50 * len(world.servers)]), self._disk(name)
        disk.newborn = disk == Disk()
        world.servers[name] = Server(name, list(timeouts), disk)
        world.boot(world.servers[name])

    # --- afterwards -----------------------------------------------------------------------

    def _line(self, to: str, sender: str, text: str) -> None:
        if sender.startswith("client"):
            self.world.request(to, sender, text)
        else:
            self.world.receive(sender, to, text)

    def _wait(self, words: list[str]) -> None:
        world = self.world
        until = world.now_ms + _milliseconds(words[0]) if words else world.next_wake_ms()
        world.wait(until, deliver=False)

    def _settle(self, words: list[str]) -> None:
        world = self.world
        if words:
            world.wait(world.now_ms + _milliseconds(words[0]), deliver=True)
        world.deliver_until_quiet()

    def _deliver(self, words: list[str], *, drop: bool) -> None:
        match words:
            case ["all"]:
                count = self.world.deliver(lambda sender, to: True, drop=drop)
            case [name]:
                count = self.world.deliver(lambda sender, to: to == name, drop=drop)
            case [first, "->", second]:
                count = self.world.deliver(
                    lambda sender, to: (sender, to) == (first, second), drop=drop
                )
            case _:
                raise AssertionError(f"deliver what? {words}")
        assert count, f"nothing is on its way that fits {' '.join(words)}"

    def _cut(self, words: list[str]) -> None:
        if "->" in words:
            sides = " ".join(words).split(" -> ")
            pairs = [tuple(sides)]
        else:
            sides = [*" ".join(words).split(" | "), "all"][:2]
            pairs = [tuple(sides), (sides[1], sides[0])]
        every = " ".join(self.world.servers)
        for senders, receivers in pairs:
            self.world.cuts |= {
                (sender, receiver)
                for sender in senders.replace("all", every).split()
                for receiver in receivers.replace("all", every).split()
            }

    def _restart(self, words: list[str]) -> None:
        server = self.world.servers[words[0]]
        if server.node is not None:
            self.world.crash(server)
        self.world.boot(server)
        state = server.disk.hard_state
        last = server.disk.base[0] + len(server.disk.entries)
        ends = f"log ends at {last}" if last else "empty log"
        self.world.say(
            "disk",
            f"{server.name} starts in term {state.term}"
            + (f" vote {state.vote}" if state.vote else "")
            + f", {ends}"
            + (", without vote" if server.disk.recovering else ""),
        )

    def _lose_log(self, words: list[str]) -> None:
        server = self.world.servers[words[0]]
        self.world.crash(server)
        server.disk.entries.clear()
        server.disk.base = (0, 0)
        server.disk.snapshot, server.disk.snapshot_text = None, ""
        server.disk.recovering = True
        self._restart(words)

    def _lose_storage(self, words: list[str]) -> None:
        """The term is that of the last entry, the vote is forgotten."""
        server = self.world.servers[words[0]]
        self.world.crash(server)
        disk = server.disk
        term = disk.entries[-1].term if disk.entries else disk.base[1]
        disk.hard_state, disk.recovering = HardState(term, None), True
        self.world.checks.forgot(server.name)
        self._restart(words)

    def _lose_all(self, words: list[str]) -> None:
        server = self.world.servers[words[0]]
        self.world.crash(server)
        server.disk = Disk(newborn=True, lives=server.disk.lives)
        self.world.checks.forgot(server.name)
        self._restart(words)

    def _new(self, words: list[str]) -> None:
        disk = self.world.servers[words[0]].disk
        assert disk.newborn or disk.may_be_new, f"{words[0]} ran before"
        disk.newborn = disk.recovering = disk.may_be_new = False
        self._restart(words)

    def _hold_disk(self, words: list[str]) -> None:
        self.world.servers[words[0]].disk_held = True

    def _status(self, words: list[str]) -> None:
        for server in self.world.servers.values():
            self.world.say("answer", self.world.status(server))


def _milliseconds(word: str) -> int:
    assert word.endswith("ms"), f"a time is written 150ms, not {word}"
    return int(word[:-2])


def perform(transcript: str) -> str:
    """Return the transcript with what really happens behind each act."""
    with patch.object(sessions, "SESSIONS_MAX", sessions.SESSIONS_MAX):
        return _perform(transcript)


def _perform(transcript: str) -> str:
    player = Player()
    lines: list[str] = []
    for line in transcript.splitlines():
        if line.startswith("> "):
            lines.append(line)
            try:
                lines += player.play(line[2:])
            except Exception as error:
                lines.append(f"{type(error).__name__}: {error}")
                raise TranscriptError("\n".join(lines)) from error
        elif not line or line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"
