"""The scene of one check: the node under test, the peers and clients that the kit plays."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from raftline.net import line_connection
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    RequestVote,
    RequestVoteReply,
)
from raftline_course.conform.played.clients import KitClient
from raftline_course.conform.played.rules import KitFollower
from raftline_course.conform.played.wires import KitPeer, Rule, Wire, dial, silent
from raftline_course.conform.tested.syncs import Syncs
from raftline_course.conform.tested.tested_node import KitSettings, TestedNode, ports_of
from raftline_course.conform.transcript import Line, Transcript
from raftline_course.conform.verdicts import Failed

ME = "s1"
AGAIN_S = 0.05
STOOD_S = 0.2
Kind = TypeVar("Kind")
Entries = Sequence[tuple[int, str]]  # (term, command)


class Scene:
    """The tools of a check. On exit, it ends the node and removes its folder."""

    def __init__(
        self, settings: KitSettings, size: int = 3, *, watches_syncs: bool = False
    ) -> None:
        self.settings = settings
        self.transcript = Transcript()
        self.folder = Path(tempfile.mkdtemp(prefix="raftline-conform-"))
        ports = ports_of(size)
        self.peers = {
            name: KitPeer(name, self.transcript, port) for name, port in ports.items() if name != ME
        }
        self.syncs = Syncs(self.folder) if watches_syncs else None
        prefix = self.syncs.prefix if self.syncs else ()
        self.node = TestedNode(ME, ports[ME], self.folder / ME, ports, settings.command, prefix)
        self.round = 0
        self._rounds: set[int] = set()  # the rounds of requests
        self._may_stand = False  # the check needs an election by the node
        self._clients: list[Wire] = []

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        if self.syncs:
            self.syncs.close()
        self.node.kill()
        for wire in self._clients:
            wire.close()
        for peer in self.peers.values():
            peer.cut()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def patience_s(self) -> float:
        return self.settings.patience_s

    def start(self, rule: Rule = silent) -> Scene:
        """Start the node among peers that are up and follow one rule."""
        self.all_do(rule)
        for peer in self.peers.values():
            peer.listen()
        self.transcript.act(f"{ME} starts")
        self.node.start()
        self.show_no_history()
        return self

    def show_no_history(self) -> None:
        """Ask for PreVotes as each peer, without entries: a node of raftline that begins without
        files votes once all members have shown that. Any other node may refuse the line."""
        for name in self.peers:
            with contextlib.suppress(OSError):
                line_connection.ask(self.node.port, f"{name}@PreVote 1-0-0", self.patience_s)

    def kill(self) -> None:
        """End the node by kill -9."""
        self.transcript.is_calm = False
        self.node.kill()
        self.transcript.act(f"{ME} is killed by kill -9")
        for peer in self.peers.values():
            peer.hang_up()

    def restart(self) -> None:
        """Kill the node, and restart it on its files, among silent peers."""
        self.kill()
        self.all_do(silent)
        self.transcript.act(f"{ME} starts again")
        self.transcript.is_calm = True
        self.node.start()

    def end(self) -> None:
        """End the node permanently."""
        self.node.kill()

    def said(self) -> str:
        """Return the end of the node's output."""
        return self.node.said()

    def all_do(self, rule: Rule) -> None:
        """Make each peer follow a rule."""
        for peer in self.peers.values():
            peer.rule = rule

    def newcomer(self, name: str) -> KitPeer:
        """Return a peer that is up, but not a member yet."""
        (port,) = ports_of(1).values()
        self.peers[name] = KitPeer(name, self.transcript, port)
        self.peers[name].rule = KitFollower()
        self.peers[name].listen()
        return self.peers[name]

    # --- expectations --------------------------------------------------------------------------

    def expect(self, truth: object, problem: str) -> None:
        """Fail the check unless this is true."""
        if not truth:
            raise Failed(problem)

    def await_line(self, fits: Callable[[Line], bool], missing: str, since: int = 0) -> Line:
        """Return the node's first matching line from a number on; fail without it."""
        found = self.transcript.wait(fits, since, self.patience_s)
        if found is None:
            raise Failed(missing)
        return found

    def await_message(
        self,
        kind: type[Kind],
        missing: str,
        fits: Callable[[Kind], bool] = lambda _: True,
        since: int = 0,
    ) -> Kind:
        """Return the first matching message of a kind."""
        line = self.await_line(
            lambda line: isinstance(line.message, kind) and fits(line.message), missing, since
        )
        assert isinstance(line.message, kind)
        return line.message

    def messages(self, kind: type[Kind], since: int = 0) -> list[Kind]:
        """Return the messages of a kind that the node has sent since this line."""
        return [
            line.message for line in self.transcript.lines[since:] if isinstance(line.message, kind)
        ]

    # --- the kit as a peer ---------------------------------------------------------------------

    def call(self, peer: str, text: str, round_now: int = 0) -> Line:
        """Send a line as a peer; return the answer on that connection, but not to an earlier
        round."""
        earlier = self._rounds - {round_now} if round_now else set[int]()
        self._rounds |= {round_now} - {0}
        until_s = time.monotonic() + self.patience_s
        while True:
            try:
                wire = self.peers[peer].wire_to(self.node.port)
            except OSError as error:
                raise Failed(f"the node takes no connection: {error.strerror}") from None
            asked = self.transcript.end
            wire.say(f"{peer}@{text}")
            line = wire.next_line(self.patience_s, earlier)
            if line is None:
                self.transcript.forgive(asked)
                raise Failed(f"no answer to {text[:80]}")
            # A node may take a while to notice that the previous connection has ended.
            if "another connection" not in line.text or time.monotonic() > until_s:
                return line
            time.sleep(AGAIN_S)

    def asked(self, kind: type[Kind], peer: str, text: str) -> Kind:
        """Send a line as a peer; return the answer, which must be of this kind."""
        line = self.call(peer, text)
        if not isinstance(line.message, kind):
            raise Failed(f"the answer to {text[:80]!r} is {line.text[:120]!r}")
        return line.message

    def vote(self, peer: str, term: int, last: tuple[int, int] = (0, 0)) -> RequestVoteReply:
        """Ask for a vote with a log that ends at (index, term)."""
        text = f"RequestVote {term}-{last[0]}-{last[1]}"
        reply = self.asked(RequestVoteReply, peer, text)
        if not reply.granted and reply.term >= term and not self._may_stand:
            self._blame_its_election(reply.term)
        return reply

    def _blame_its_election(self, term: int) -> None:
        """Count it as a disturbance if the node stood in this term, in which it refuses the kit.
        Its own requests are on other connections than its answer, and may follow it."""

        def stands(line: Line) -> bool:
            message = line.message
            if not isinstance(message, RequestVote):
                return False
            return message.term == term and not message.pre_vote

        if self.transcript.wait(stands, 0, STOOD_S):
            self.transcript.disturb()

    def granted(self, peer: str, term: int, last: tuple[int, int] = (0, 0)) -> None:
        """Ask for a vote that must be granted."""
        reply = self.vote(peer, term, last)
        self.expect(reply.granted, f"{ME} gives {peer} no vote in term {term}")

    def denied(
        self, peer: str, term: int, last: tuple[int, int] = (0, 0), why: str = ""
    ) -> RequestVoteReply:
        """Ask for a vote that must be denied."""
        reply = self.vote(peer, term, last)
        self.expect(not reply.granted, f"{ME} votes for {peer} in term {term}" + why)
        return reply

    def send_append(
        self, peer: str, term: int, prev: tuple[int, int], entries: Entries = (), commit: int = 0
    ) -> Line:
        """Send an AppendEntries whose previous entry is (index, term); return the answer."""
        self.round += 1
        listed = [
            {"index": prev[0] + offset, "term": at, "command": command}
            for offset, (at, command) in enumerate(entries, start=1)
        ]
        formatted = json.dumps(listed, ensure_ascii=False)
        text = f"{term}-{prev[0]}-{prev[1]}-{formatted} commit {commit} round {self.round}"
        line = self.call(peer, f"AppendEntries {text}", self.round)
        if line.message is not None and line.message.term > term and not self._may_stand:
            self._blame_its_election(line.message.term)
        return line

    def append(
        self, peer: str, term: int, prev: tuple[int, int], entries: Entries = (), commit: int = 0
    ) -> None:
        """Append entries that the node must accept, and have on its disk when it answers."""
        line = self.send_append(peer, term, prev, entries, commit)
        end = prev[0] + len(entries)
        answer = line.message
        self.expect(
            isinstance(answer, AppendAccepted) and answer.index == end and answer.term == term,
            f"the log agrees at {prev[0]}, yet {line.text[:120]!r} is not: I am up to date term "
            f"{term} index {end}",
        )

    def rejected(
        self, peer: str, term: int, prev: tuple[int, int], entries: Entries = ()
    ) -> AppendRejected:
        """Append entries that the node must reject, since its log differs before them."""
        line = self.send_append(peer, term, prev, entries)
        if not isinstance(line.message, AppendRejected):
            raise Failed(
                f"the log has no entry {prev[0]} of term {prev[1]}, yet the answer is "
                f"{line.text[:120]!r}, which is no refusal"
            )
        return line.message

    def be_led(self, peer: str = "s2", term: int = 1) -> None:
        """Make the node elect a peer, which then leads it."""
        self.transcript.is_calm = True
        self.granted(peer, term)
        self.append(peer, term, (0, 0))

    def follow(self) -> None:
        """Start the node, and let s2 lead it in term 1."""
        self.start()
        self.be_led()

    # --- the node as a leader ------------------------------------------------------------------

    def let_stand(self, leader: str = "", term: int = 0) -> int:
        """Make the node a candidate: at once if its leader may order it, else by its timeout.
        Return the number of the next transcript line."""
        self.transcript.is_calm, self._may_stand = False, True
        mark = self.transcript.end
        if leader:
            self.peers[leader].wire_to(self.node.port).say(f"{leader}@TimeoutNow {term}")
            self.peers[leader].hang_up()  # a node that does not know the word may answer
        return mark

    def lead(
        self, log: Entries = (), peer: str = "s2", term: int = 1, deaf: Sequence[str] = ()
    ) -> int:
        """Make the node the leader over peers that hold its log; return the term in which it leads.

        A peer first leads a fresh node, gives it the log, and may order it to stand at once. Deaf
        peers give their vote, but never answer the leader.
        """
        if not self.transcript.is_calm:
            self.be_led(peer, term)
            if log:
                self.append(peer, term, (0, 0), log)
        for name, other in self.peers.items():
            other.rule = KitFollower.deaf(list(log)) if name in deaf else KitFollower(list(log))
        return self.await_leader(self.let_stand(peer, term))

    def await_leader(self, since: int) -> int:
        """Wait until the node sends AppendEntries; return its term."""
        problem = f"{ME} has a quorum of votes, and does not lead"
        with self.settings.elections.awaited(problem):
            return self.await_message(AppendEntries, problem, since=since).term

    def await_candidate(self, since: int, above: int = 0) -> RequestVote:
        """Wait until the node asks for a vote (no PreVote) in a term above this one."""
        with self.settings.elections.awaited(f"{ME} hears nobody, and does not stand"):
            return self.await_message(
                RequestVote,
                f"{ME} hears nobody, and does not stand in a term above {above}",
                lambda message: not message.pre_vote and message.term > above,
                since,
            )

    def answer_late(
        self, peer: str, since: int, fits: Callable[[Message], bool], text: str
    ) -> None:
        """Answer, on its connection, a message that the node sent to a peer and that the peer's
        rule left unanswered."""
        line = self.await_line(
            lambda line: line.other == peer and line.message is not None and fits(line.message),
            f"{ME} sends {peer} nothing that could be answered",
            since,
        )
        assert isinstance(line.wire, Wire)
        self.peers[peer].answer(line.wire, text)

    def all_hold(self) -> list[tuple[int, str]]:
        """Return the longest log that any peer was sent."""
        rules = [peer.rule for peer in self.peers.values()]
        logs = [rule.entries for rule in rules if isinstance(rule, KitFollower)]
        return sorted(logs, key=len)[-1].copy()

    # --- clients -------------------------------------------------------------------------------

    def client(self, who: str = "client1") -> KitClient:
        """Return a new client of the node."""
        wire = dial(self.node.port, who, self.transcript)
        self._clients.append(wire)
        return KitClient(wire, who, self.transcript, self.patience_s)
