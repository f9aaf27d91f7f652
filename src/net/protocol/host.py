"""Batches of requests, and the interface of a node for its connections.

Each part of a connection sees only what it needs of the node: a door `DoorHost`, replies
`ReplyHost`, and so on. `Host` is all of these parts, and `node/program/node_server.py` implements
it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Final, Protocol

from ...access.login import Access
from ...access.secret import PeerAuth
from ...access.tls import Tls
from ...common.mypyc_compat import mypyc_attr
from ...raft.change import Change
from ...raft.messages import Message
from ...state.user_table import UserTable
from ...storage.snapshot_lines import MachineState
from ...wire.commands.command_table import Request
from ...wire.commands.observe_lines import ObserveAsked
from ...wire.commands.parsing import BY_ROUND, Reading, ReadSettings
from ...wire.commands.rights import LeaseKeys
from ...wire.commands.watch_lines import WatchAsked
from ...wire.limits import CROWDED_BYTES, LONG_BYTES, LONG_QUEUED_BYTES, QUEUED_BYTES
from ...wire.operands.operands import Limits
from ..peers.build_exchange import Foreigners
from ..peers.peers import Speakers
from ..reply_budget import ReplyRoom
from ..state_copies import Backups
from .refusal_counts import RefusalCounts
from .turns import Turns

EVERY: Final = 1 << 62  # characters: all replies fit
SHORT: Final = 4096  # characters; shorter replies of a batch are not counted
COUNTED_BYTES: Final = LONG_QUEUED_BYTES // 2  # the most that one batch counts as queued bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class ReplySink(Protocol):
    """The connection that sends the replies of a batch."""

    user: str | None  # the user that is logged in, or ""; None if the node has no users

    def mark_ready(self) -> None:
        """Note that replies can be sent; `flush` is called after that step of the core."""

    def flush(self) -> None:
        """Send the replies that are ready."""

    def break_off(self) -> None:
        """End the connection: no more replies are sent, and no thread waits for one."""

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        """Return the replies to entries, to be stored with their batch until they are sent.

        A reply that is too long for the available room is replaced. The driver's `core` is held.
        This is not called for replies of no more than SHORT characters in all.
        """


class Backlog(Protocol):
    """A lagging watch, whose events are sent in pieces."""

    def next_piece(self) -> bytes:
        """Return a piece of the next lines, all of them whole; b"" if there are none now."""


class EventSink(Protocol):
    """The connection that sends the lines of a watch."""

    @property
    def user(self) -> str | None:
        """The user that is logged in, or "" if nobody is; None if the node has no users."""

    @property
    def puts_codes(self) -> bool:
        """Whether the connection asked for a code before each refusal."""

    @property
    def uses_positions(self) -> bool:
        """Whether it sends lines that only have a position; see docs/use/watch.md."""

    def reads_by(self, users: UserTable, /) -> tuple[str, ...]:
        """Return the prefixes of the keys that its login may read by these users."""

    def denial_by_now(self, command: str, /) -> str:
        """Return why its rights of now refuse a command, or ""."""

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Send whole lines without waiting, or turn the watches into backlogs that send them
        later."""

    def push_later(self, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Turn the watches into backlogs at once: their lines are too long to be pushed."""

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        """Add new watches: their lines are sent after the replies to their requests."""

    def resume(self, backlogs: Sequence[Backlog]) -> None:
        """Add backlogs of earlier watches, and send their lines; never wait for the reader."""

    def break_off(self) -> None:
        """End the connection."""


class Watchers(Protocol):
    """The watches of a node, each on its connection."""

    @property
    def last(self) -> int:
        """The last entry that was applied here, after which a watch may resume."""

    def needs_confirming(self, asked: WatchAsked) -> bool:
        """Whether this watch may begin only after a confirmed read."""

    def open(self, sink: EventSink, asked: Sequence[tuple[str, WatchAsked]]) -> list[list[str]]:
        """Begin watches, each with a request's id; return the first lines of each. Watches that
        have begun are backlogs of `sink`, whose lines are sent after these."""

    def keep(self, sink: EventSink, request_id: str, size: int, *, is_watch: bool) -> str:
        """Count the memory of a subscription as that of watches, in addition to its own watch if it
        has one; `unwatch` and `drop` give it back. Return a refusal, or ""."""

    def unwatch(self, sink: EventSink, request_id: str) -> str:
        """End a watch after all its lines were sent; return the reply."""

    def end_refused(self, sink: EventSink, why_not: Callable[[str], str]) -> None:
        """End the watches of a connection that are no longer allowed, and report this on it."""

    def drop(self, sink: EventSink) -> None:
        """Forget the watches of a connection that ends."""


class Observers(Protocol):
    """The observers of a node, each on its connection."""

    def open(self, sink: EventSink, request_id: str, asked: ObserveAsked) -> str:
        """Begin sending steps; return why this is refused, or "" if it has begun."""

    def close(self, sink: EventSink) -> str:
        """End the observation of a connection, if there is one; return the reply."""


class ReadableState(Protocol):
    """The state that reads are served from."""

    def read(self, commands: Sequence[str], room: int = EVERY, *, waits: bool = True) -> list[str]:
        """Return the replies to the first commands, until they have `room` characters. Return no
        replies if they are not available soon, unless the caller `waits`."""


class RequestRoom:
    """The memory for the waiting requests of a node; any thread may take bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._crowded = min(CROWDED_BYTES, bytes_max // 4)
        self._lock = threading.Lock()
        self.used = 0

    @property
    def is_crowded(self) -> bool:
        """Whether so many requests wait that no more lines are read from a connection with waiting
        requests."""
        return self.used > self._crowded

    def take(self, size: int) -> bool:
        """Take bytes; return False, and take none, if not enough are left. Long runs leave some
        bytes for the others."""
        bytes_max = self._bytes_max
        if size > LONG_BYTES:
            bytes_max = bytes_max * LONG_QUEUED_BYTES // QUEUED_BYTES
        with self._lock:
            if self.used + size > bytes_max:
                return False
            self.used += size
            return True

    def release(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.used -= size


class Batch:
    """A run of writes, or of reads, in the order of their lines.

    With a `reply_sink` no thread waits: the sink sends the replies. Without one, a thread waits on
    a plain lock, which it acquires to wait and which is released to wake it.
    """

    __slots__ = (
        "_done", "asked_ms", "asked_s", "asker", "bytes", "change", "commands", "first_index",
        "hold_until_ms", "ids", "is_answered", "is_quick", "is_read", "kept", "may_be_long",
        "reader", "reading", "replies", "reply_sink", "rights", "room", "sent", "size", "writer",
    )  # fmt: skip

    def __init__(
        self,
        commands: Sequence[str],
        is_read: bool,
        reading: Reading = BY_ROUND,
        ids: Sequence[str] = (),
        reply_sink: ReplySink | None = None,
        change: Change | None = None,
        asker: ReplySink | None = None,
    ) -> None:
        """`asker` is the connection whose turn the batch uses, if no sink sends its replies."""
        self.commands = commands
        self.is_read = is_read
        self.reading = reading
        self.ids = ids  # of the requests, "" for one without; for `reply_sink`
        self.reply_sink = reply_sink
        self.asker = reply_sink or asker
        self.change = change  # a change of members, which is the only command of its batch
        self.may_be_long = 1  # so many of the commands may take a long time to apply
        self.is_quick = False  # they may, but the pairs showed that they do not
        # The user whose share of the store these writes use; None: an admin's, or no users.
        self.writer: str | None = None
        self.rights: object = None  # the users by whose rights these requests were admitted
        self.replies: list[str] = []
        self.reader: ReadableState | None = None  # of confirmed reads: the state to read from
        self.sent = 0  # replies that were sent
        self.size = 0  # characters of the commands, as its sink counts them
        self.kept = 0  # characters of replies, as its sink counts them
        self.first_index = 0
        self.asked_ms = 0
        self.asked_s = 0.0  # by time.monotonic, for measures
        self.hold_until_ms = 0  # 0: not held for lack of a leader
        self.is_answered = False
        # The memory of the commands. The longest batch counts less, so that it fits as well.
        self.bytes = min(sum(map(getsizeof, commands)), COUNTED_BYTES)
        self.room: RequestRoom | None = None  # the room that these bytes are taken from
        self._done: threading.Lock | None = None
        if reply_sink is None:
            self._done = threading.Lock()
            self._done.acquire()

    @property
    def asks_leader(self) -> bool:
        """Whether a follower may confirm these reads by asking its leader."""
        return self.is_read and self.reading.may_ask

    @property
    def account(self) -> object:
        """The account whose turn this batch uses: its user or, without users, its connection."""
        asker = self.asker
        if asker is None:
            return self
        return asker if asker.user is None else asker.user

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer, in a batch without a reply sink; return whether it is in time."""
        return self._done is not None and self._done.acquire(timeout=timeout_s)

    def leave_room(self) -> None:
        """Give the bytes back: the batch no longer waits. With the driver's `core` held."""
        if self.room is not None:
            room, self.room = self.room, None
            room.release(self.bytes)

    def wake(self) -> None:
        """Release the replies, or the thread that waits for them. Reads without replies are
        confirmed by this: they may be served from now on."""
        self.is_answered = True
        if self.room is not None and not self.first_index:  # else its entries are still pending
            self.leave_room()
        if self.reply_sink is not None:
            self.reply_sink.mark_ready()
        else:
            self.stop_waiting()

    def stop_waiting(self) -> None:
        """Release the thread that waits, if there is one; any thread may call this."""
        if self._done is not None:
            with contextlib.suppress(RuntimeError):  # it was released before
                self._done.release()

    def answer_all(self, reply: str) -> None:
        """Give every request of the batch this reply."""
        self.replies = [reply] * len(self.commands)
        self.wake()

    def answer_rest(self, reply: str) -> None:
        """Give this reply to every request that has none yet."""
        self.replies += [reply] * (len(self.commands) - len(self.replies))
        self.wake()


class Origin(Protocol):
    """The source of a peer's message; the answer goes back there."""

    def answer(self, messages: Sequence[Message]) -> None: ...


class Traffic(Protocol):
    """The console lines about connections and their requests."""

    def connected(self, address: object) -> None: ...
    def requested(self, sender: str, text: str) -> None: ...
    def shows_requests(self, count: int) -> bool: ...
    def received(self, sender: str, text: str | None, message: Message) -> None: ...


class AnsweredOrder(Protocol):
    @property
    def line(self) -> str: ...


class Orders(Protocol):
    """Orders that a node of the course obeys, in addition to commands
    (course/docs/controller.md)."""

    def is_order(self, text: str) -> bool: ...
    def is_allowed(self, sender: str, host: str) -> bool: ...
    def why_no_order(self, sender: str, text: str) -> str: ...
    def obey(self, request: Request, host: str) -> AnsweredOrder: ...
    def facts(self) -> dict[str, object]: ...


class AppliedState(ReadableState, Protocol):
    """The applied state, for reads that need no confirmation and for backups."""

    @property
    def folder_path(self) -> str: ...
    def freeze(self) -> MachineState: ...
    def try_out(self, command: str) -> str:
        """Return why a command is too much for one entry, judged by the present pairs, or ""."""


class ReplyHost(Protocol):
    """The node as the replies of its connections see it."""

    name: str
    access: Access | None  # its users, and their rights; None: everybody may do everything
    reply_room: ReplyRoom  # of all connections
    refusals: RefusalCounts  # sent to all connections

    @property
    def request_room(self) -> RequestRoom:
        """The room of the requests of all connections."""

    def mark_ready(self, sink: ReplySink) -> None:
        """Schedule a `flush` of `sink` after this step of the core."""

    def why_late(self) -> str:
        """Return the refusal of a request that was not served in time; with the driver's `core`
        held."""

    def warn(self, what: str) -> None:
        """Print a warning about something that failed; the node continues."""


class RequestHost(Protocol):
    """The node as the requests that a connection waits for see it."""

    patience_s: float  # for the answer to a request
    reply_room: ReplyRoom
    calls: Turns  # of the users whose calls and local lines compute

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        """Queue requests, and serve them. With `more_come`, this thread does not serve them in this
        call; another thread may."""

    def not_confirmed(self) -> str:
        """Return the refusal of a read that no quorum confirmed in time."""


class WatchHost(RequestHost, Protocol):
    """The node as watches and observations see it."""

    @property
    def watchers(self) -> Watchers: ...
    @property
    def observers(self) -> Observers: ...


class LocalHost(RequestHost, Protocol):
    """The node as the commands that a connection answers by itself see it."""

    foreigners: Foreigners
    backups: Backups  # of all connections

    @property
    def announces_build(self) -> bool: ...
    @property
    def orders(self) -> Orders | None: ...
    @property
    def logmanager(self) -> AppliedState: ...
    def transfer(self, to: str | None) -> Batch:
        """Begin a leadership transfer; the batch's only reply reports how the transfer ended."""

    def begin_without(self, names: Sequence[str]) -> str:
        """Take an operator's claim that these members never ran; return the reply."""

    def members(self) -> dict[str, object]:
        """Return the configuration that is in use here, for the reply to `members`."""

    def why_elsewhere(self, change: Change) -> str:
        """Return why this leader would dial a new member at another address; "" if it would not."""

    def with_build(self, change: Change) -> Change:
        """Return a change of members, with what the new member's build tells if that matters.

        Raises:
            RequestRefused: one of the two does not accept the certificate of the other.
        """


class DoorHost(RequestHost, Protocol):
    """The node as a door to it sees it (doors.py)."""

    limits: Limits
    readings: ReadSettings
    refusals: RefusalCounts

    @property
    def is_at_floor(self) -> bool:
        """Whether the log has no identity at the last entry that was applied here."""

    @property
    def logmanager(self) -> AppliedState: ...
    @property
    def watchers(self) -> Watchers: ...
    def is_quick(self, commands: Sequence[str]) -> bool:
        """Whether these take little time to apply, judged by slightly older or newer pairs."""

    def needs_trial(self, command: str, grown: int) -> bool:
        """Whether a command may be too much for one entry, judged likewise. Requests under way may
        have made each value longer by so many characters."""


class LineHost(DoorHost, Protocol):
    """The node as the bytes of a connection see it, before they are at a door."""

    name: str

    @property
    def traffic_log(self) -> Traffic: ...


class PeerHost(Protocol):
    """The node as the lines of servers see it before they are admitted."""

    name: str
    speakers: Speakers
    peer_auth: PeerAuth  # the proof that members need
    foreigners: Foreigners  # the servers of other clusters that appear under a member's name

    @property
    def announces_build(self) -> bool:
        """False with --floor."""

    def is_peer(self, name: str) -> bool:
        """Whether `name` is the leader, or a member that this node talks to."""

    def hears_from_leader(self) -> bool:
        """Whether this node heard from a leader within an election timeout."""

    def peer_refusal(self, sender: str, message: Message | None) -> str:
        """Return why messages from `sender` are refused; "" for a peer, or for a message that the
        core accepts."""


class ClientHost(Protocol):
    """The node as the lines of clients see it before they are admitted."""

    access: Access | None
    limits: Limits
    is_down: bool  # an order has stopped the node: only orders are obeyed

    @property
    def is_at_floor(self) -> bool: ...
    @property
    def orders(self) -> Orders | None: ...
    @property
    def traffic_log(self) -> Traffic: ...
    def status(self) -> str:
        """Return the reply to `status`."""

    def keys_of_lease(self, lease: str) -> LeaseKeys | None:
        """Return the keys that are attached to a lease, at the last entry that was applied here.
        None unless this node leads and has applied an entry of its term, and so all entries that
        were committed before."""

    def not_here(self) -> str:
        """Return the reply that sends a client to the leader, or to try again."""

    def why_at_floor(self) -> str:
        """Return the refusal of a request beyond the floor. If the identity is about to be
        applied, wait, and return "" once it is."""

    def without_machine(self, command: str) -> str:
        """Return the refusal of a command for a state machine that this node lacks, or ""."""

    def new_token(self, size: int) -> str:
        """Return `size` random bytes, which nobody can guess, as hexadecimal digits."""

    def warn(self, what: str) -> None: ...


class AdmissionHost(PeerHost, ClientHost, Protocol):
    """The node as every line sees it before it is admitted."""


class ServingHost(WatchHost, LocalHost, Protocol):
    """The node as the admitted lines of a connection see it, of servers and of clients."""

    name: str

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step messages of peers; return a complaint for each refused message."""


class Host(LineHost, AdmissionHost, ServingHost, ReplyHost, Protocol):
    """The node that connections belong to, as they and their listener see it."""

    tls: Tls | None

    def peer_disconnected(self, peer: str) -> None:
        """Report to the core that a peer's connection broke."""

    def fail(self, error: BaseException) -> None:
        """Stop the node for good: it can't work without a thread that has ended."""
