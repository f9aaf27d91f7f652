"""Requests that wait together, and the node as its connections see it.

`Host` is a protocol, which `node/server.py` fulfils.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Final, Protocol

from ..access.login import Access
from ..access.secret import PeerAuth
from ..access.tls import Tls
from ..common.derived import mypyc_attr
from ..raft.change import Change
from ..raft.messages import Message
from ..storage.snapshotlines import MachineState
from ..wire.commands import Request
from ..wire.limits import CROWDED_BYTES, LONG_BYTES, LONG_QUEUED_BYTES, QUEUED_BYTES
from ..wire.observing import ObserveAsked
from ..wire.operands import Limits
from ..wire.parsing import BY_ROUND, Reading, Readings
from ..wire.rights import LeaseKeys
from ..wire.watches import WatchAsked
from .backups import Backups
from .levels import Foreigners
from .peers import Speakers
from .reply_room import ReplyRoom

EVERY: Final = 1 << 62  # characters: no reply is left out
SHORT: Final = 4096  # characters of a batch's replies that are not counted
COUNTED_BYTES: Final = LONG_QUEUED_BYTES // 2  # of one batch among the requests that wait


@mypyc_attr(allow_interpreted_subclasses=True)
class ReplySink(Protocol):
    """The connection that the replies of a batch leave from."""

    user: str | None  # that is logged in, "" if nobody is; None: the node has no users

    def mark_ready(self) -> None:
        """Note that replies can leave; `flush` is called after that step of the core."""

    def flush(self) -> None:
        """Send them."""

    def break_off(self) -> None:
        """End the connection: no reply leaves any more, and nobody waits for one."""

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        """Return the replies to entries as they may wait here with their batch: those that are too
        long for the room there is are answered otherwise. With the driver's `core` held; of
        replies that are SHORT together nobody asks this."""


class Backlog(Protocol):
    """A watch that lags, and sends what happened in pieces."""

    def next_piece(self) -> bytes:
        """Return the next whole lines, some of them at a time; b"" if there are none now."""


class EventSink(Protocol):
    """The connection that the lines of a watch leave from."""

    @property
    def user(self) -> str | None:
        """The user that is logged in, "" if nobody is; None: the node has no users."""

    @property
    def puts_codes(self) -> bool:
        """Whether it asked for a code before each refusal."""

    def push(self, data: bytes, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Send whole lines without waiting, or make the watches backlogs that send them later."""

    def push_later(self, to_backlogs: Callable[[], Sequence[Backlog]]) -> None:
        """Make the watches backlogs at once: what they have to send is too long to be pushed."""

    def add_backlogs(self, backlogs: Sequence[Backlog]) -> None:
        """Take watches that begin: their lines leave once the replies to their requests have."""

    def go_on(self, backlogs: Sequence[Backlog]) -> None:
        """Take backlogs that began before, and send what they have; never waits for the reader."""

    def break_off(self) -> None:
        """End the connection."""


class Watchers(Protocol):
    """The watches of a node, each on its connection."""

    def needs_confirming(self, asked: WatchAsked) -> bool:
        """Whether this watch may begin only after a confirmed read."""

    def open(self, sink: EventSink, asked: Sequence[tuple[str, WatchAsked]]) -> list[list[str]]:
        """Begin watches, each with a request's id; return the first lines of each. Those that have
        begun are backlogs of `sink` from then on, which are sent after these."""

    def unwatch(self, sink: EventSink, request_id: str) -> str:
        """End a watch, once all its lines are on their way; return the reply."""

    def end_refused(self, sink: EventSink, why_not: Callable[[str], str]) -> None:
        """End the watches of a connection whose commands are refused by now, and report that."""

    def drop(self, sink: EventSink) -> None:
        """Forget the watches of a connection that ends."""


class Observers(Protocol):
    """The observers of a node, each on its connection."""

    def open(self, sink: EventSink, request_id: str, asked: ObserveAsked) -> str:
        """Begin to send steps; return why that can't be, "" if it has begun."""

    def close(self, sink: EventSink) -> str:
        """End what a connection observes, if it does; return the reply."""


class Reader(Protocol):
    """The state that reads are served from."""

    def read(self, commands: Sequence[str], room: int = EVERY, *, waits: bool = True) -> list[str]:
        """Return the replies to the first commands, up to the one with which there are `room`
        characters. None if they are not to be had soon, unless the caller `waits`."""


class RequestRoom:
    """The bytes of the requests of a node that wait; any thread may take some."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._crowded = min(CROWDED_BYTES, bytes_max // 4)
        self._lock = threading.Lock()
        self.used = 0

    @property
    def is_crowded(self) -> bool:
        """Whether the requests that wait are so many that a connection with some among them is not
        read further."""
        return self.used > self._crowded

    def take(self, size: int) -> bool:
        """Take bytes; return False, and take none, if there are not enough left. Long runs leave
        some to the others."""
        bytes_max = self._bytes_max
        if size > LONG_BYTES:
            bytes_max = bytes_max * LONG_QUEUED_BYTES // QUEUED_BYTES
        with self._lock:
            if self.used + size > bytes_max:
                return False
            self.used += size
            return True

    def let_go(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.used -= size


class Batch:
    """A run of writes, or of reads, in the order of their lines.

    With a `reply_sink` no thread waits: the replies leave from there. Without one a thread waits on
    a bare lock of its own, acquired to wait and released to wake.
    """

    __slots__ = (
        "_done", "asked_ms", "asked_s", "bytes", "change", "commands", "first_index",
        "hold_until_ms", "ids", "is_answered", "is_read", "kept", "may_be_long", "reader",
        "reading", "replies", "reply_sink", "room", "sent", "size",
    )  # fmt: skip

    def __init__(
        self,
        commands: Sequence[str],
        is_read: bool,
        reading: Reading = BY_ROUND,
        ids: Sequence[str] = (),
        reply_sink: ReplySink | None = None,
        change: Change | None = None,
    ) -> None:
        self.commands = commands
        self.is_read = is_read
        self.reading = reading
        self.ids = ids  # of the requests, "" if one has none; for `reply_sink`
        self.reply_sink = reply_sink
        self.change = change  # a change of members: then it is the batch's one command
        self.may_be_long = True  # False: none of the commands takes long to apply
        self.replies: list[str] = []
        self.reader: Reader | None = None  # of confirmed reads: of the state that confirmed them
        self.sent = 0  # replies that have left
        self.size = 0  # characters of the commands, as its sink counts them
        self.kept = 0  # characters of replies, as its sink counts them
        self.first_index = 0
        self.asked_ms = 0
        self.asked_s = 0.0  # by time.monotonic, for what is measured
        self.hold_until_ms = 0  # 0: not held for want of a leader
        self.is_answered = False
        # Of the commands, in memory. The longest one counts less: it fits as well.
        self.bytes = min(sum(map(getsizeof, commands)), COUNTED_BYTES)
        self.room: RequestRoom | None = None  # of which these are taken
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
        """Whose turn it is with this batch: a user's, or a connection's without users."""
        sink = self.reply_sink
        if sink is None:
            return self
        return sink if sink.user is None else sink.user

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; return whether it came in time. Not with a reply sink."""
        return self._done is not None and self._done.acquire(timeout=timeout_s)

    def leave_room(self) -> None:
        """Give the bytes back: it waits no longer. With the driver's `core` held."""
        if self.room is not None:
            room, self.room = self.room, None
            room.let_go(self.bytes)

    def wake(self) -> None:
        """Let the replies leave, or the thread go on that waits for them. Reads without replies
        are confirmed by that: they may be served from now on."""
        self.is_answered = True
        if self.room is not None and not self.first_index:  # else its entries wait yet
            self.leave_room()
        if self.reply_sink is not None:
            self.reply_sink.mark_ready()
        elif self._done is not None and self._done.locked():
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
    """The lines of the console about connections and what they ask."""

    def connected(self, address: object) -> None: ...
    def requested(self, sender: str, text: str) -> None: ...
    def shows_requests(self, count: int) -> bool: ...
    def received(self, sender: str, text: str | None, message: Message) -> None: ...


class AnsweredOrder(Protocol):
    @property
    def line(self) -> str: ...


class Orders(Protocol):
    """Orders that a node of the course obeys beside the commands (course/docs/controller.md)."""

    def is_order(self, text: str) -> bool: ...
    def is_allowed(self, sender: str, host: str) -> bool: ...
    def why_no_order(self, sender: str, text: str) -> str: ...
    def obey(self, request: Request, host: str) -> AnsweredOrder: ...
    def facts(self) -> dict[str, object]: ...


class AppliedState(Reader, Protocol):
    """The applied state, for reads that need no confirmation and for backups."""

    @property
    def folder_path(self) -> str: ...
    def freeze(self) -> MachineState: ...


class Host(Protocol):
    """The node that connections belong to."""

    name: str
    limits: Limits
    readings: Readings
    patience_s: float  # for the answer to a request
    is_down: bool  # between two lives, by an order: nothing else is heard
    speakers: Speakers
    access: Access | None  # its users, and their rights; None: everybody may do everything
    peer_auth: PeerAuth  # what a member has to prove
    tls: Tls | None
    foreigners: Foreigners  # the servers of other clusters that appear under a member's name
    reply_room: ReplyRoom  # of all connections
    backups: Backups  # that they fetch

    @property
    def request_room(self) -> RequestRoom:
        """The room of the requests of all connections."""

    @property
    def level(self) -> int:
        """The level of the cluster, as of the last entry applied here."""

    @property
    def traffic_log(self) -> Traffic: ...
    @property
    def orders(self) -> Orders | None: ...
    @property
    def logmanager(self) -> AppliedState: ...
    @property
    def watchers(self) -> Watchers: ...
    @property
    def observers(self) -> Observers: ...

    def submit(self, *batches: Batch, more_come: bool = False) -> None:
        """Queue requests and have them served. With `more_come` this thread does not serve them in
        this call; another may."""

    def mark_ready(self, sink: ReplySink) -> None:
        """Have `sink` flushed after this step of the core."""

    def transfer(self, to: str | None) -> Batch:
        """Begin to hand the leadership over; the batch's one reply reports how that ended."""

    def members(self) -> dict[str, object]:
        """Return the configuration in use here, as `members` prints it."""

    def status(self) -> str:
        """Return the reply to `status`."""

    def why_level(self, needed: int) -> str:
        """Return the reply to a request above the level of the cluster. This waits if the cluster
        is about to reach that level, and returns "" once it has."""

    def with_level(self, change: Change) -> Change:
        """Return a change of members with the level of the new member's build, if it counts."""

    def keys_of_lease(self, lease: str) -> LeaseKeys | None:
        """Return the keys that go with a lease, as of the last entry applied here. None unless this
        node leads and has applied an entry of its term, so all that was committed before."""

    def not_here(self) -> str:
        """Return the reply that sends a client to the leader, or to try again."""

    def without_machine(self, command: str) -> str:
        """Return the reply to a command for a state machine that is not here, else ""."""

    def is_peer(self, name: str) -> bool:
        """Whether `name` is a member that this node talks to, or leads it."""

    def hears_from_leader(self) -> bool:
        """Whether a leader was heard within an election timeout."""

    def why_not_heard(self, sender: str, message: Message | None) -> str:
        """Return why nothing is taken from `sender`; "" for a peer, or a message that counts."""

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step what peers send; return a complaint for each message that was refused."""

    def peer_disconnected(self, peer: str) -> None:
        """Report to the core that a peer's connection broke."""

    def new_token(self, size: int) -> str:
        """Return random bytes that nobody can guess, `size` of them, as hexadecimal digits."""

    def warn(self, what: str) -> None:
        """Report that something did not work, and that the node goes on."""

    def fail(self, error: BaseException) -> None:
        """Stop the node for good: it can't go on without a thread that ended."""
