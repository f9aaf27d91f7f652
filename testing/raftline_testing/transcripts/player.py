"""Play a transcript: `>` lines act on a cluster of cores, and the lines after each are all its
events.

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
    > trail 1000                      before the start: bytes of entries kept that a snapshot holds
    > cut s1, > cut s1 -> s2, > cut s1 -> all, > cut s1 s2 | s3 s4 s5, > heal
    > crash s1, > restart s1, > hold disk s1, > release disk s1
    > hold check s1, > release check s1               a snapshot that has arrived is checked, and
                                      the core learns of it later
    > lose log s1, > lose storage s1, > lose all s1     its files are deleted, and it starts
    > newborn s1 s2 s3                before the start: they never ran, entries are by hand
    > new s3                          it is started again by an operator's word that it never ran
    > patience none                   before the start: servers without files wait for all members
    > begin s1 without s3             an operator's word at s1 that s3 never ran; > begin s1: alone
    > s2 loses its connection to s1
    > s1 hands over to s3, > s1 hands over
    > s1 <- client4@set b 5           a line arrives, of a client or of a peer
    > s1 <- client4#17@set b 5        a client's line with a request's number
    > identity s1 s2 s3               these give a log an identity, from their next starts on;
                                      > floor s3: it does not, and announces no build
    > s3 tells s1                     its build; > s3 tells s1 nothing: the connection broke
    > s2 s3 are another cluster       from their next starts on: two clusters are judged apart
    > sessions 2                      before the start: sessions that a cluster remembers
    > status
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from raftline.raft.effects import HardState
from raftline.raft.inputs import Begin, PeerBuild, PeerDisconnected, Transfer
from raftline.raft.log import Entry
from raftline.raft.newborn import BeginRefused
from raftline.state import sessions
from raftline.wire.limits import SESSIONS_MAX

from ..invariants import Invariants
from ..virtual.collecting import Collector
from ..virtual.failing import draw_failure
from ..virtual.nodes.simulated_disk import Disk
from ..virtual.script import ScriptedCluster, ScriptedHost

SHORT = ("note", "apply", "answer")
_LINE = re.compile(r"(\w+) <- ([\w#-]+)@(.*)")
_LOSES = re.compile(r"(\w+) loses its connection to (\w+)")
_TELLS = re.compile(r"(\w+) tells (\w+)( nothing)?")
_HANDS_OVER = re.compile(r"(\w+) hands over(?: to (\w+))?")


class TranscriptError(AssertionError):
    """An impossible act or a broken invariant; the text is the transcript up to that point."""


class Player:
    """Acts on one cluster, as the lines of a transcript say."""

    def __init__(
        self, collector: Collector | None = None, cluster: ScriptedCluster | None = None
    ) -> None:
        self.cluster, self._collector = cluster or ScriptedCluster(collector), collector
        self._entries: dict[str, list[Entry]] = {}  # of logs before the start
        self._states: dict[str, HardState] = {}
        self._newborn: set[str] = set()

    def play(self, act: str) -> list[str]:
        """Do one act and return all its events."""
        cluster = self.cluster
        cluster.world.said.clear()
        if match := _LINE.fullmatch(act):
            self._line(*match.groups())
        elif match := _LOSES.fullmatch(act):
            self._host([match[1]]).take(PeerDisconnected(match[2]))
        elif match := _TELLS.fullmatch(act):
            self._tell(cluster.hosts[match[1]], self._host([match[2]]), is_lost=bool(match[3]))
        elif act.endswith(" are another cluster"):
            self._judge_apart(act.removesuffix(" are another cluster").split())
        elif match := _HANDS_OVER.fullmatch(act):
            self._host([match[1]]).take(Transfer(match[2]))
        else:
            words = act.split()
            if " ".join(words[:2]) in (
                "lose log",
                "lose storage",
                "lose all",
                "hold disk",
                "release disk",
                "hold check",
                "release check",
            ):
                words = [f"{words[0]}_{words[1]}", *words[2:]]
            self._acts()[words[0]](words[1:])
        short = act.startswith("settle")
        return [
            text
            for kind, text in cluster.world.said
            if not short or (kind in SHORT and " its PreVote to " not in text)
        ]

    def comment(self, text: str) -> None:
        """Show a comment on the page, with the next event."""
        if text and self._collector is not None and self.cluster.hosts:
            self._collector.caption(text, self.cluster.world.now_ms / 1000)

    def fail(self, error: Exception) -> None:
        """Show the error of an act on the page, where it occurred."""
        if self.cluster.hosts:
            draw_failure(self._collector, error, self.cluster.world.acting)

    def _acts(self) -> dict[str, Callable[[list[str]], None]]:
        return {
            "timeouts": self._set_timeouts,
            "log": self._log,
            "entry": self._entry,
            "state": self._state,
            "batch": lambda words: self._set_options(batch_entries=int(words[0])),
            "chunk": lambda words: self._set_options(chunk_bytes=int(words[0])),
            "trail": lambda words: self._set_options(trailing_bytes=int(words[0])),
            "leases": lambda words: self._set_options(lease=words != ["off"]),
            "patience": lambda words: self._set_options(patience=None),
            "begin": self._begin,
            "identity": self._identity,
            "floor": self._floor,
            "sessions": self._sessions,
            "newborn": lambda words: self._newborn.update(words),
            "new": self._new,
            "snapshot": lambda words: self._host(words).snapshots.work.ask(compacts=True),
            "clock": self._clock,
            "start": self._start,
            "join": self._join,
            "wait": self._wait,
            "settle": self._settle,
            "deliver": lambda words: self._deliver(words, drop=False),
            "drop": lambda words: self._deliver(words, drop=True),
            "cut": self._cut,
            "heal": lambda words: self.cluster.network.heal(),
            "crash": lambda words: self.cluster.crash(words[0]),
            "restart": self._restart,
            "lose_log": lambda words: self._lose(words, lambda disk: disk.lose_log(snapshot=True)),
            "lose_storage": lambda words: self._lose(words, lambda disk: disk.lose_storage()),
            "lose_all": lambda words: self._lose(words, lambda disk: disk.lose_all(trace=True)),
            "hold_disk": lambda words: self._host(words).hold_disk(True),
            "release_disk": lambda words: self._host(words).hold_disk(False),
            "hold_check": lambda words: self._host(words).hold_check(True),
            "release_check": lambda words: self._host(words).hold_check(False),
            "status": self._status,
        }

    def _host(self, words: list[str]) -> ScriptedHost:
        host = self.cluster.hosts[words[0]]
        assert host.node is not None, f"{host.name} is down"
        return host

    # --- before the start -----------------------------------------------------------------

    def _set_timeouts(self, words: list[str]) -> None:
        timeouts = self.cluster.timeouts
        name = ""
        for word in words:
            if word.isdigit():
                timeouts[name].append(int(word))
            else:
                name = word
                timeouts[name] = []

    def _set_options(self, **options: int | None) -> None:
        self.cluster.options = replace(self.cluster.options, **options)  # type: ignore[arg-type]

    def _log(self, words: list[str]) -> None:
        for index, term in enumerate(words[1:], start=1):
            self._entry([words[0], str(index), term, "set", "x", f"{index}.{term}"])

    def _entry(self, words: list[str]) -> None:
        name, index, term = words[:3]
        entries = self._entries.setdefault(name, [])
        assert int(index) == len(entries) + 1, f"entry {index} is not the next of {name}"
        entries.append(Entry(int(index), int(term), " ".join(words[3:])))

    def _state(self, words: list[str]) -> None:
        vote = words[2] if len(words) > 2 else None
        self._states[words[0]] = HardState(int(words[1]), vote)

    def _sessions(self, words: list[str]) -> None:
        vars(sessions)["SESSIONS_MAX"] = int(words[0])  # until the transcript ends: see `perform`

    def _identity(self, words: list[str]) -> None:
        self.cluster.above_floor |= {*words}
        self._change_builds()

    def _floor(self, words: list[str]) -> None:
        self.cluster.above_floor -= {*words}
        self._change_builds()

    def _change_builds(self) -> None:
        for name, host in self.cluster.hosts.items():
            host.is_at_floor = name not in self.cluster.above_floor

    def _clock(self, words: list[str]) -> None:
        self.cluster.clocks[words[0]] = int(words[1])

    def _start(self, words: list[str]) -> None:
        down = words[words.index("with") + 1 : -1] if "with" in words else []
        names = words[: words.index("with")] if down else words
        self.cluster.begin(names)
        for name in names:
            self._fill_disk(self.cluster.hosts[name])
        for name in names:
            if name not in down:
                self.cluster.hosts[name].start()

    def _fill_disk(self, host: ScriptedHost) -> None:
        entries = self._entries.get(host.name, [])
        if host.name in self._newborn:
            host.disk.newborn = True
            host.disk.bring(entries)
        else:
            state = self._states.get(host.name, HardState(0, None))
            if entries and entries[-1].term > state.term:
                state = HardState(entries[-1].term, None)
            host.disk.fill(host.base.addresses, state, entries)

    def _join(self, words: list[str]) -> None:
        name = words[0]
        if name in self.cluster.hosts:
            self.cluster.hosts[name].join()
            self._lose(words, lambda disk: disk.lose_all(trace=True))
            return
        host = self.cluster.add(name, {})
        if name in self._entries or name in self._states:
            self._fill_disk(host)
        else:
            host.disk.newborn = True
        host.start()

    def _judge_apart(self, names: list[str]) -> None:
        invariants = Invariants()
        for name in names:
            self.cluster.hosts[name].judge_by(invariants)

    def _tell(self, sender: ScriptedHost, receiver: ScriptedHost, *, is_lost: bool) -> None:
        if not receiver.answered_by(sender.name, sender.cluster):
            applies = None if is_lost else frozenset[str]()
            receiver.take(PeerBuild(sender.name, applies, sender.is_at_floor))

    # --- afterwards -----------------------------------------------------------------------

    def _line(self, to: str, sender: str, text: str) -> None:
        if sender.startswith("client"):
            self.cluster.request(to, sender, text)
        else:
            self.cluster.receive(sender, to, text)

    def _wait(self, words: list[str]) -> None:
        cluster = self.cluster
        now_ms = cluster.world.now_ms
        until = now_ms + _milliseconds(words[0]) if words else cluster.next_wake_ms()
        cluster.wait(until, deliver=False)

    def _settle(self, words: list[str]) -> None:
        cluster = self.cluster
        if words:
            cluster.wait(cluster.world.now_ms + _milliseconds(words[0]), deliver=True)
        cluster.deliver_until_quiet()

    def _deliver(self, words: list[str], *, drop: bool) -> None:
        sender, to = (words[0], words[2]) if words[1:2] == ["->"] else ("all", words[0])
        count = self.cluster.deliver(sender, to, drop=drop)
        assert count, f"nothing is on its way that fits {' '.join(words)}"

    def _cut(self, words: list[str]) -> None:
        if "->" in words:
            sides = " ".join(words).split(" -> ")
            pairs = [tuple(sides)]
        else:
            sides = [*" ".join(words).split(" | "), "all"][:2]
            pairs = [tuple(sides), (sides[1], sides[0])]
        every = " ".join(self.cluster.hosts)
        for senders, receivers in pairs:
            self.cluster.network.cut(
                senders.replace("all", every).split(), receivers.replace("all", every).split()
            )

    def _restart(self, words: list[str], *, never_ran: bool = False) -> None:
        host = self.cluster.hosts[words[0]]
        if host.node is not None:
            self.cluster.crash(host.name)
        host.start(never_ran=never_ran)
        view = host.view
        assert view is not None
        last = view.log.last_index
        self.cluster.world.tell(
            "disk",
            f"{host.name} starts in term {view.term}"
            + (f" vote {view.vote}" if view.vote else "")
            + (f", log ends at {last}" if last else ", empty log")
            + (", without vote" if view.recovering else ""),
        )

    def _new(self, words: list[str]) -> None:
        view = self.cluster.hosts[words[0]].view
        assert view is not None, f"{words[0]} was never started"
        assert view.newborn or view.may_be_new, f"{words[0]} ran before"
        self._restart(words, never_ran=True)

    def _begin(self, words: list[str]) -> None:
        try:
            self._host(words).take(Begin(tuple(words[2:])))
        except BeginRefused as refused:
            self.cluster.world.tell("answer", f"{words[0]} does not begin: {refused}")

    def _lose(self, words: list[str], lose: Callable[[Disk], None]) -> None:
        self.cluster.crash(words[0])
        lose(self.cluster.hosts[words[0]].disk)
        self._restart(words)

    def _status(self, words: list[str]) -> None:
        for host in self.cluster.hosts.values():
            self.cluster.world.tell("answer", _status_of(host))


def _status_of(host: ScriptedHost) -> str:
    if host.node is None:
        return f"{host.name} is down"
    view = host.node.view
    base = view.log.base_index
    terms = [str(view.log.term_at(i)) for i in range(base + 1, view.log.last_index + 1)]
    if base:
        terms.insert(0, f"from {base}:")
    has_changed = view.configurations.index > base or view.membership != host.base
    return (
        f"{host.name} {view.role.value}, term {view.term}, "
        f"log {' '.join(terms) or 'empty'}, commit {view.commit_index}"
        + (", without vote" if view.recovering else "")
        + (f", {view.membership.describe()}" if has_changed else "")
        + ("" if host.manager.store.is_at_floor else ", above the floor")
    )


def _milliseconds(word: str) -> int:
    assert word.endswith("ms"), f"a time is written 150ms, not {word}"
    return int(word[:-2])


def perform(transcript: str, collector: Collector | None = None) -> str:
    """Return the transcript with the actual events after each act. A `collector` gets the steps of
    all servers."""
    with patch.object(sessions, "SESSIONS_MAX", SESSIONS_MAX):
        return _perform(transcript, Player(collector))


def _perform(transcript: str, player: Player) -> str:
    lines: list[str] = []
    for line in transcript.splitlines():
        if line.startswith("> "):
            lines.append(line)
            player.cluster.world.acting = ""
            try:
                lines += player.play(line[2:])
            except Exception as error:
                player.fail(error)
                lines.append(f"{type(error).__name__}: {error}")
                raise TranscriptError("\n".join(lines)) from error
        elif not line or line.startswith("#"):
            lines.append(line)
            player.comment(line[1:].strip())
    return "\n".join(lines) + "\n"
