"""A watch as a machine: it connects, moves to another node, and detects that a node is silent.

A thread (`watch.py`), an asyncio task (`aio_watch.py`) or a schedule of simulated nodes carries out
its steps. In each case, a `WatchCursor` makes sure that each event is returned once.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic

from raftline.common.address import Address
from raftline.common.no_copies import NoCopies
from raftline.wire.limits import KEY_BYTES
from raftline.wire.protocol import ProtocolError, split_sender
from raftline.wire.refusal import TOO_MANY
from raftline.wire.replies.refusals import code_of, refusal_in, sentence_of
from raftline.wire.replies.replies import Reply

from ..calls.kv_errors import TooManyWatches
from ..calls.value_codec import Data
from ..connections.client_tls import tls_trouble
from ..connections.node_connection import (
    CONNECT_TIMEOUT_S,
    ClientError,
    Deadline,
    LoginFailed,
    NoLeader,
    Unreachable,
    in_words,
    line_of,
    unreachable,
)
from ..requests.addresses import MEMBERS, Addresses
from ..requests.one_node import Connect, HangUp, NextLine, NodeStep, Rest, Send
from ..requests.pool import PARTS
from ..requests.search import NodeTurns, are_gone, note_gone, other_cluster, took_all_its_time
from .liveness import MEMBERS_ID, PROBE_ID, PROBE_KEY, Liveness
from .watch_events import Event, WatchCursor, WatchEnded

PAUSES_S = (0.05, 1.0)
LEAST_CONNECT_S = 0.2  # a shorter time would not suffice for TLS and a login
SYNC_ID = "3"  # of the watch that shows the end of the log, on the same connection
SYNC_KEY = "raftline/sync"  # after the prefix; no such key exists
_AS_OF = re.compile(r"WATCH response: [0-9]+ keys? as of ([0-9]+)", re.ASCII)
_ENDED = re.compile(r"UNWATCH response: ended after ([0-9]+)", re.ASCII)


WatchSteps = Generator[NodeStep, Any, bool]


class _Sync:
    """The index that a watch has to reach, once a node has answered with the end of the log."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.is_ending = False  # the watch was ended, to learn its position


class WatchMachine(Generic[Data]):
    """The state of a watch, and its next steps."""

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        cursor: WatchCursor[Data],
        open_s: float,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Initialize without connecting. If no node serves the watch within `open_s` of its first
        use, that use raises an error with the reason. Once served, the watch continues until it is
        closed, also at members that `addresses` learns. It starts at a random named node, so that
        many watches are spread over the nodes."""
        self.name = name
        self.cursor = cursor
        self.ready: deque[Event[Data]] = deque()
        self.is_closed = False
        self._nodes = NodeTurns(random.sample(addresses.named, len(addresses.named)), addresses)
        self._health = addresses.health
        self._now = time.monotonic if now is None else now
        self._open_s = open_s
        self._opening: Deadline | None = None  # from its first use until the first node serves it
        self._was_served = False
        self._is_open = False
        self._pause_s = PAUSES_S[0]
        self._failed: set[Address] = set()  # since it was served
        self._kept_out: set[Address] = set()  # since a node let this client in
        self._lasting: set[Address] = set()  # these nodes will not serve it soon either
        self._gone: dict[Address, str] = {}  # for `are_gone`, since it was served
        self._why_too_many = ""
        self._sync: _Sync | None = None
        self._asked: _Sync | None = None  # it awaits an answer on this connection

    @property
    def known(self) -> list[Address]:
        """The nodes at which the watch may continue."""
        return self._nodes.known

    def take_line(self, until_s: float | None) -> WatchSteps:
        """Process one line; return False if no line came in time, or the watch was closed.

        Raises:
            ClientError: no node would serve the watch, or no node did within the time to begin.
        """
        while not self.is_closed:
            try:
                if not self._is_open:
                    yield from self._connect(until_s)
                return (yield from self._take(until_s))
            except (OSError, WatchEnded, ClientError) as problem:
                self._is_open = False
                yield HangUp()
                pause_s = self._move_on(problem)
                left_s = pause_s if until_s is None else max(0.0, until_s - self._now())
                yield Rest(min(pause_s, left_s))
                if until_s is not None and self._now() >= until_s:
                    return False
        return False

    def reconnect(self) -> None:
        """Continue on a new connection: a line of this connection may be lost or half sent."""
        self._is_open = False

    def sync(self, until_s: float | None) -> WatchSteps:
        """Process lines until the events of all acknowledged writes have arrived; return False if
        they did not arrive in time, or the watch was closed. Raises ClientError as `take_line`
        does."""
        sync = self._sync = _Sync()
        try:
            while not self.is_closed:
                position = self.cursor.position
                if sync.target is not None and position is not None and position >= sync.target:
                    return not sync.is_ending or (yield from self._resume_after_sync(until_s))
                if not (yield from self.take_line(until_s)):
                    return False
            return False
        finally:
            self._sync = None

    def _resume_after_sync(self, until_s: float | None) -> WatchSteps:
        """Wait for the answer to `unwatch`, after which the watch begins again."""
        while self._sync is not None and self._sync.is_ending:
            if not (yield from self.take_line(until_s)):
                return False
        return True

    def _ask_to_sync(self) -> Generator[NodeStep, Any, None]:
        """Ask for the end of the log; then end the watch, which shows its position."""
        sync = self._sync
        if sync is None or not self.cursor.is_listed_or_follows:
            return
        if sync.target is None and self._asked is None:  # an abandoned sync is awaited first
            self._asked = sync
            yield Send(line_of(f"{self.name}#{SYNC_ID}", f"watch {self._below_prefix(SYNC_KEY)}"))
        elif sync.target is not None and not sync.is_ending:
            sync.is_ending = True
            yield Send(line_of(self.name, "unwatch"))

    def _below_prefix(self, key: str) -> str:
        """Return a key that every user who may watch this prefix may read."""
        prefix = self.cursor.prefix
        return f"{prefix}{key}" if len(prefix) + len(key) <= KEY_BYTES else prefix

    def _take_sync(self, text: str) -> Generator[NodeStep, Any, None]:
        """Handle a line of the watch that shows the end of the log."""
        if refusal_in(text) is not None:
            raise WatchEnded(text)
        if match := _AS_OF.fullmatch(text):
            if self._asked is not None:
                self._asked.target = int(match[1])
            self._asked = None
            yield Send(line_of(f"{self.name}#{SYNC_ID}", "unwatch"))

    def _connect(self, until_s: float | None) -> Generator[NodeStep, Any, None]:
        address, opening = self._nodes.current, self._opening_deadline()
        limit_s = CONNECT_TIMEOUT_S if opening is None else opening.connect_s
        if until_s is not None:
            limit_s = min(limit_s, until_s - self._now())
        limit_s = max(limit_s, LEAST_CONNECT_S)
        try:
            others = self._nodes.besides({address, *self._failed})
            reached = yield Connect(address, limit_s, others)
        except ClientError:
            raise
        except OSError as error:
            raise unreachable(address, error, limit_s) from None
        self._is_open = True
        if reached != address:
            self._nodes.turn_to(reached, address)
        self._asked = None
        if self._sync is not None:
            self._sync.is_ending = False
        self._liveness = Liveness(self._now(), self._health.silence_s)
        self._attempt_s = math.inf if opening is None else opening.attempt_s
        self._attempt_until_s = self._now() + self._attempt_s
        yield from self._ask_for_members()  # before any event, so that they are known by then
        yield Send(line_of(self.name, self.cursor.command))

    def _opening_deadline(self) -> Deadline | None:
        """Return the time within which a first node has to serve the watch; None once a node
        did."""
        if self._opening is None and not self._was_served:
            attempt_s = self._open_s / PARTS
            self._opening = Deadline(self._open_s, attempt_s=attempt_s, now=self._now)
        return self._opening

    def _ask_for_members(self) -> Generator[NodeStep, Any, None]:
        if self._nodes.addresses.asks(self._now()):
            yield Send(line_of(f"{self.name}#{MEMBERS_ID}", MEMBERS))

    def _take(self, until_s: float | None) -> WatchSteps:
        liveness = self._liveness
        due_s = min(liveness.due_s, self._attempt_until_s)
        yield from self._ask_for_members()
        yield from self._ask_to_sync()
        try:
            raw = yield NextLine(due_s if until_s is None else min(due_s, until_s))
        except TimeoutError:
            now_s = self._now()
            if now_s >= self._attempt_until_s:
                raise TimeoutError(f"no answer within {self._attempt_s:.3g} s") from None
            if liveness.is_dead(now_s):
                raise WatchEnded("it was silent for too long") from None
            if liveness.begin_probe(now_s):
                probe = f"get {self._below_prefix(PROBE_KEY)} read index"
                yield Send(line_of(f"{self.name}#{PROBE_ID}", probe))
            return until_s is None or now_s < until_s
        text, number = text_and_id(raw)
        now_s = self._now()
        liveness.heard(now_s)
        yield from self._take_text(text, number, now_s)
        return True

    def _take_text(self, text: str, number: str, now_s: float) -> Generator[NodeStep, Any, None]:
        if number == PROBE_ID:
            if refusal_in(text) is not None:
                raise WatchEnded(text)
            self._liveness.confirmed(now_s)
        elif number == MEMBERS_ID:
            self._nodes.addresses.take(text, now_s)
        elif number == SYNC_ID:
            yield from self._take_sync(text)
        elif ended := _ENDED.fullmatch(text):  # `_ask_to_sync` asked for it
            self.cursor.take(f"EVENT {ended[1]}")
            if self._sync is not None:
                self._sync.is_ending = False
            yield Send(line_of(self.name, self.cursor.command))
        else:
            events = self.cursor.take(text)
            self.ready.extend(events)
            if events or text.startswith("WATCH "):
                self._served(now_s)

    def _served(self, now_s: float) -> None:
        self._liveness.confirmed(now_s)
        self._was_served, self._opening, self._attempt_until_s = True, None, math.inf
        self._pause_s = PAUSES_S[0]
        self._failed.clear()
        self._kept_out.clear()
        self._gone.clear()
        self._health.served(now_s)

    def _may_be_let_in(self, problem: ClientError) -> bool:
        """Return whether another node may accept this client. If the login failed here, another
        node may know other users."""
        if not isinstance(problem, LoginFailed):
            return isinstance(problem, Unreachable)
        is_again = self._nodes.current in self._kept_out  # all others have been tried since
        self._kept_out.add(self._nodes.current)
        is_hopeless = is_again or self._kept_out.issuperset(self._nodes.known)
        return not (problem._was_not_tried or is_hopeless)

    def _move_on(self, problem: Exception) -> float:
        """Turn to the next node; return the seconds to wait first. Raise a problem that every node
        would have."""
        if self.is_closed:
            return 0.0
        if isinstance(problem, ClientError) and not self._may_be_let_in(problem):
            raise problem
        if isinstance(problem, WatchEnded):
            self.cursor.refused(str(problem))
            self._kept_out.clear()
        why, _, lasts = _explained(problem)
        if code_of(str(problem)) == TOO_MANY:
            self._why_too_many = why
        self._failed.add(self._nodes.current)
        if lasts:
            self._lasting.add(self._nodes.current)
        why = self._check_cluster(problem, why)
        self._nodes.move_on(self._nodes.current, None)
        now_s, where = self._now(), in_words(self._nodes.known)
        is_hopeless = self._lasting.issuperset(self._nodes.known)
        opening = self._opening
        if opening is not None and (
            isinstance(problem, TimeoutError) or took_all_its_time(problem)
        ):
            opening.was_late()
        if opening is not None and (is_hopeless or not opening.left_s):
            if self._why_too_many:  # other nodes may be down: this node is up, and refuses
                raise TooManyWatches(self._why_too_many) from None
            raise _nobody_serves(problem, where, is_hopeless=is_hopeless) from None
        if code_of(str(problem)) != TOO_MANY and self._failed.issuperset(self._nodes.known):
            self._health.failed(now_s, where, why)
        pause_s = self._pause_s
        self._pause_s = min(PAUSES_S[1], 1.5 * pause_s)
        return pause_s

    def _check_cluster(self, problem: Exception, why: str) -> str:
        """Raise OtherCluster if the cluster is gone. Return the reason to report: nodes of another
        cluster explain more than the silence of others."""
        addresses = self._nodes.addresses
        answer = problem if isinstance(problem, OSError) else Reply("", str(problem))
        note_gone(self._gone, self._nodes.current, answer)
        replaced = [node for node, cluster in self._gone.items() if cluster]
        if not replaced:
            return why
        if are_gone(self._gone, addresses):
            raise other_cluster(addresses.cluster) from None
        there, mine = in_words(replaced), addresses.cluster
        return (
            f"{there} is part of another cluster than {mine}; connect again if the cluster was "
            "restored, recovered or begun again"
        )


def _nobody_serves(problem: Exception, where: str, *, is_hopeless: bool) -> ClientError:
    """Return the error of a watch that no node serves; `problem` is the last node's reason."""
    why, advice, _ = _explained(problem)
    if isinstance(problem, WatchEnded):
        return NoLeader(why)
    nobody = Unreachable(f"no node serves it at {where}. The last: {why.removesuffix('.')}.")
    nobody.advice, nobody.lasts = advice, is_hopeless
    return nobody


def _explained(problem: Exception) -> tuple[str, str, bool]:
    """Return why a node did not serve the watch, advice for the user, and whether that will
    last."""
    if isinstance(problem, Unreachable):
        return str(problem), problem.advice, problem.lasts
    trouble = tls_trouble(problem) if isinstance(problem, OSError) else None
    if trouble is not None:
        return trouble.why, trouble.advice, True
    return sentence_of(str(problem)), "", code_of(str(problem)) == TOO_MANY


class BaseWatch(NoCopies, Generic[Data]):
    """The part of a watch that never waits."""

    def __init__(self, machine: WatchMachine[Data]) -> None:
        self._machine = machine

    def __repr__(self) -> str:
        state = "closed" if self._machine.is_closed else "open"
        return f"<a watch of {self._machine.name}, {state}>"

    @property
    def position(self) -> int | None:
        """The index after which `kv.watch(after=…)` would continue; None while the first keys
        arrive."""
        return self._machine.cursor.position

    @property
    def is_listed(self) -> bool:
        """Whether all keys that existed at its beginning have arrived."""
        return self._machine.cursor.is_listed

    @property
    def _is_closed(self) -> bool:
        return self._machine.is_closed

    def _take_ready(self) -> list[Event[Data]]:
        """Return the events that have arrived."""
        events = list(self._machine.ready)
        self._machine.ready.clear()
        return events


def text_and_id(raw: bytes) -> tuple[str, str]:
    """Return the text of a line, without the node's name, and the id.

    Raises:
        ConnectionError: the line was not written by a node.
    """
    try:
        name, number, text = split_sender(raw.decode("utf-8", "surrogateescape"))
    except ProtocolError:
        name = ""
    if not name:
        raise ConnectionError("answered something that is not raftline")
    return text, number
