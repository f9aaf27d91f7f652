"""A watch: its position in the events, and the lines that wait for its reader."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from ...net.protocol.host import EventSink
from ...state.key_events import BareEvent
from ...wire.commands.watch_lines import named
from ...wire.limits import WATCH_BYTES
from ...wire.replies.refusals import with_code
from .watch_listing import KeyListing

NO_END: Final = 1 << 64  # an entry that never comes, in any epoch


class WatchMode(Enum):
    """How a watch gets its lines."""

    LAGGING = auto()  # it is a backlog of its connection: first the keys, then the history
    LIVE = auto()  # it is pushed each event as it is applied
    RELISTING = auto()  # its events are gone; it waits for a listing of the keys
    ENDED = auto()


class PrefixWatch:
    """The watch of one prefix on one connection.

    Its attributes are changed under the lock of the `WatchRegistry`. The position in the listing
    is the exception: only one thread at a time reads a backlog.
    """

    __slots__ = (
        "_next_piece", "_place", "head", "lines", "listing", "mode", "position", "prefix",
        "request_id", "resets", "sent_s", "sink", "until", "user",
    )  # fmt: skip

    def __init__(
        self,
        prefix: str,
        request_id: str,
        sink: EventSink,
        head: str,
        next_piece: Callable[[PrefixWatch], bytes],
    ) -> None:
        """`head` begins each line: the node's name, and the id if there is one. `next_piece`
        returns the next lines to send."""
        self.prefix = prefix
        self.request_id = request_id
        self.sink = sink
        self.user = sink.user  # whose quota it counts against
        self.head = head
        self._next_piece = next_piece
        self.mode = WatchMode.LAGGING
        self.position = 0  # events up to this entry were sent, or are not wanted
        self.until = NO_END  # its user has no right to the events after this entry
        self.resets = 0  # of the history, when `position` was known to be in it
        self.lines: list[str] = []  # sent before anything else
        self.listing: KeyListing | None = None  # the keys, while they are sent
        self.sent_s = 0.0  # when it last sent anything, by the clock's now_s
        self._place = 0  # in the listing

    def begin(self, listing: KeyListing) -> None:
        """Begin with the keys of a listing."""
        self.listing, self._place, self.position = listing, 0, listing.number
        self.mode = WatchMode.LAGGING

    @property
    def weight(self) -> int:
        """The number of watches that it counts as. The prefix is in memory twice: as it is written
        on the line, and decoded."""
        return 1 + 2 * len(self.prefix.encode(errors="replace")) // WATCH_BYTES

    @property
    def keys(self) -> str:
        """The prefix of the keys that its user must have the right to read. A topic counts as the
        key of its name."""
        return named(self.prefix)

    @property
    def is_listing(self) -> bool:
        """Whether some keys were not sent yet, so that a watch can't resume at its position."""
        return self.mode is WatchMode.RELISTING or (
            self.mode is WatchMode.LAGGING and self.listing is not None
        )

    def next_piece(self) -> bytes:
        """Return the next whole lines; see `Backlog`."""
        return self._next_piece(self)

    def next_keys(self) -> bytes:
        """Return the next keys of the listing; b"" after the last.

        Raises:
            GivenUp, OSError: see `KeyListing.piece`.
        """
        listing = self.listing
        piece = b"" if listing is None else listing.piece(self._place)
        if not piece:
            self.listing = None
            return b""
        self._place += len(piece)
        head = self.head.encode()
        return head + piece[:-1].replace(b"\n", b"\n" + head) + b"\n"

    def refused(self, refusal: str) -> str:
        """Return a refusal that is sent between events, with its code if the connection wants
        codes."""
        return with_code(refusal) if self.sink.puts_codes else refusal

    def formatted(self, lines: list[str]) -> bytes:
        """Return lines as bytes to send."""
        head = self.head
        return "".join([f"{head}{line}\n" for line in lines]).encode("utf-8", "replace")


class Group:
    """The live watches of one prefix."""

    __slots__ = ("pending", "prefix", "watches")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.watches: dict[PrefixWatch, None] = {}
        self.pending: list[BareEvent] = []  # applied, but not handed out yet


# Lines for one watch, and the entry after which it resumes if they can't be sent.
Delivery = tuple[PrefixWatch, int, list[str]]
LAST = -1  # instead of an entry: the last line of a watch
