"""The path of an event to the watches that it matches, and the threads on that path.

* The thread that took a step notes the applied events, with the core's lock held. It looks the key
  up in an index by prefix, and touches no watch that does not match.
* After the step the same thread hands the lines out (`hand_out`), with one send for each
  connection, without waiting. Only one thread at a time does so, so the lines of a connection stay
  in order. That thread may be the one that hears a member. So it stops after a slice, which is
  bounded in connections and in time, and the owner thread does the rest, and keeps time in between.
* If its reader is slow, a watch can't be pushed more lines, and lags: from then on its connection
  asks it for pieces, which it takes from the history. At the end of the history it is pushed again.
  If the history has dropped its events, the watch is ended.
* An entry may take a user's right away. The watches of that user get the events up to this entry,
  and then end.

Locks are taken in this order: `handing`, a connection's lock, `lock`. While a thread holds `lock`,
it neither waits nor sends.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from ...logmanager import LogManager
from ...net.protocol.host import Backlog, EventSink
from ...raft.log import Entry
from ...state.event_history import EventHistory
from ...state.key_events import BareEvent, KeyEvent
from ...state.prefixes import PrefixIndex
from ...state.sessions import entry_number, entry_numbers_of
from ...state.user_table import UserTable
from ...wire.commands import watch_lines as words
from ...wire.limits import PUSHED_BYTES
from ..clock import SYSTEM, Clock
from .prefix_watch import LAST, NO_END, Delivery, Group, PrefixWatch, WatchMode
from .watch_listing import GivenUp

SLICE = 200  # connections that one call of `hand_out` sends to
SLICE_S = 0.01  # after this time such a call sends to no further connection
PIECE_EVENTS = 500  # of its prefix that a lagging watch takes at once
PIECE_LINES_BYTES = 64 << 10  # the size of a piece
SILENT_S = 5.0  # after this time, a watch is sent its position at the next check
CHECK_S = 3.0  # so no silence lasts 10 s
FORMATTED_MAX = 100  # encoded lists of lines, for watches with the same lines and head
# Instead of lines that are too long to push: the watches then read the history.
TOO_LONG: Final[list[str]] = []


class Feed:
    """The latest events, the watches by prefix, and the lines on their way to them.

    Watches that can't continue are put in `stranded`, and `is_stranded` is called. `has_ended` is
    called with each watch that the feed ends. `users_changed` is called with the number of an entry
    and the users since then, before an event of a later entry is handed out. All are called with
    `lock` held.
    """

    def __init__(
        self,
        logmanager: LogManager,
        wake_owner: Callable[[], None],
        is_stranded: Callable[[], None],
        has_ended: Callable[[PrefixWatch], None],
        users_changed: Callable[[int, UserTable], None],
        clock: Clock = SYSTEM,
    ) -> None:
        """Begin after the entries that recovery has applied."""
        self.lock = threading.Lock()
        self.handing = threading.Lock()
        self.history = EventHistory()
        self.stranded: list[PrefixWatch] = []
        self._logmanager = logmanager
        self._wake_owner = wake_owner
        self._is_stranded = is_stranded
        self._has_ended = has_ended
        self._users_changed = users_changed
        self._clock, self._now_s = clock, clock.reader_s()
        self._index: PrefixIndex[Group] = PrefixIndex()
        self._dirty: deque[Group] = deque()
        self._ready: dict[EventSink, list[Delivery]] = {}
        self._quiet: deque[tuple[float, PrefixWatch]] = deque()  # each once, and its next check
        self._is_late = False  # a check of the quiet watches is due
        self._refused: list[PrefixWatch] = []  # with an end, which is not sent yet
        self._handed = 0  # live watches were given all events up to this entry
        logmanager.store.notes_events = True
        logmanager.take_events()
        self.history.reset(entry_number(*logmanager.applied))

    # --- with the core's lock held ---------------------------------------------------------------

    def applied(self, entries: Sequence[Entry]) -> None:
        """Note the events of these entries, or that a snapshot has replaced the state."""
        store = self._logmanager.store
        new = self._logmanager.take_events()
        with self.lock:
            numbers: Sequence[int] = range(store.number + 1 - len(entries), store.number + 1)
            if store.number - self.history.last != len(entries):  # rarely: not consecutive
                numbers = entry_numbers_of(entries)
            if new.lost_up_to > self.history.floor:
                self._forget_all(new.lost_up_to)
                numbers = [number for number in numbers if number > new.lost_up_to]
            self.history.add(new.runs, numbers)
            for number, users in new.users:
                self._users_changed(number, users)
            if self._index.lengths:
                for event in new.events:
                    for group in self._index.matching(event[2]):
                        if not group.prefix and event[1] == words.MESSAGE:
                            continue
                        if not group.pending:
                            self._dirty.append(group)
                        group.pending.append(event)

    def _forget_all(self, last: int) -> None:
        """Restart every watch: the events up to this entry are gone."""
        self.history.reset(last)
        self._dirty.clear()
        self._ready = {t: [d for d in due if d[1] == LAST] for t, due in self._ready.items()}
        for group in self._index.values():
            group.pending = []
            for watch in list(group.watches):
                self.leave(watch, WatchMode.RELISTING)
                self.stranded.append(watch)
        self._is_stranded()

    def mark_keepalives_due(self) -> None:
        """Schedule keepalives for quiet watches; called about once a second."""
        if self._quiet:
            self._is_late = True

    # --- after a step, by any thread -------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether any lines or keepalives wait to be handed out."""
        return bool(self._dirty or self._ready or self._is_late or self._refused)

    def hand_out(self) -> None:
        """Send a slice of the waiting lines, and leave the rest to the owner. If another thread is
        already sending, leave all of them to it."""
        left, end_s, encoded, is_first = SLICE, 0.0, EncodedLines(), True
        while self.has_work:
            if left <= 0 or (end_s and self._now_s() >= end_s):
                self._wake_owner()
                return
            if not self.handing.acquire(blocking=False):
                return
            end_s = end_s or self._now_s() + SLICE_S
            try:
                left -= self._hand_out_to_next(encoded, is_first=is_first)
                is_first = False
            finally:
                self.handing.release()

    def _hand_out_to_next(self, encoded: EncodedLines, *, is_first: bool) -> int:
        """Send the waiting lines of a connection; return the number of connections. The first call
        of a slice, and one that leaves no lines, also ends the watches that have lost their
        right."""
        with self.lock:
            self.distribute()
            sink = next(iter(self._ready), None)
            if sink is not None:
                deliveries = self._ready.pop(sink)
            refused: list[PrefixWatch] = []
            if is_first or not self._ready:
                refused, self._refused = self._refused, []
        if sink is not None:
            self._push(sink, deliveries, encoded)
        if refused:
            self._end_refused(refused)
        return int(sink is not None)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold `handing` for a while. Then wake the owner thread for the lines that other threads
        could not hand out meanwhile."""
        with self.handing:
            yield
        if self.has_work:
            self._wake_owner()

    def push_to(self, sink: EventSink) -> None:
        """Send the waiting lines of one connection; with `handing` held."""
        with self.lock:
            self.distribute()
            deliveries = self._ready.pop(sink, [])
        self._push(sink, deliveries, EncodedLines())

    def _push(self, sink: EventSink, deliveries: list[Delivery], encoded: EncodedLines) -> None:
        """Send lines to one connection, or leave them to its own thread."""
        to_backlogs = partial(self._to_backlogs, deliveries)
        parts, size, now_s = list[bytes](), 0, self._now_s()
        for watch, before, lines in deliveries:
            if watch.mode is WatchMode.ENDED and before != LAST:
                continue
            if lines is TOO_LONG:
                size = PUSHED_BYTES + 1
            if size > PUSHED_BYTES:
                break
            watch.sent_s = now_s
            parts.append(encoded.of(watch, lines))
            size += len(parts[-1])
        if size > PUSHED_BYTES:  # the watches send the same lines in pieces
            sink.push_later(to_backlogs)
        elif parts:
            sink.push(b"".join(parts), to_backlogs)

    def _end_refused(self, refused: Sequence[PrefixWatch]) -> None:
        """End watches whose users lost the right before the last call of `distribute`, after the
        events that they may still have; with `handing` held."""
        with self.lock:
            for watch in refused:
                due = self._ready.get(watch.sink, ())
                if watch.mode is WatchMode.LIVE and any([one[0] is watch for one in due]):
                    self._refused.append(watch)  # its events wait for the next slice
                elif watch.mode is not WatchMode.ENDED:
                    self.say_last(watch, self.end(watch, words.RIGHTS))
                    self._has_ended(watch)

    def distribute(self) -> None:
        """Give each watch the events of its group; with `handing` and `lock` held."""
        event_lines = EventLines()
        while self._dirty:
            group = self._dirty.popleft()
            events, group.pending = group.pending, []
            lines = TOO_LONG if _are_long(events) else event_lines.lines_of(events)
            first, last = events[0][0], events[-1][0]
            before = self.history.before(first)
            for watch in group.watches:
                if first > watch.position and last <= watch.until:
                    self._ready.setdefault(watch.sink, []).append((watch, before, lines))
                elif last > watch.position and first <= watch.until:
                    after, until = watch.position, watch.until
                    new = event_lines.lines_of([one for one in events if after < one[0] <= until])
                    new = TOO_LONG if lines is TOO_LONG else new
                    delivery = (watch, max(before, after), new)
                    self._ready.setdefault(watch.sink, []).append(delivery)
        self._handed = self.history.last
        if self._is_late:
            self._is_late = False
            self._send_keepalives(self._clock.now_s())

    def _send_keepalives(self, now_s: float) -> None:
        """Send the position of this node to watches that got nothing for a long time."""
        last, quiet = self.history.last, self._quiet
        lines = [words.nothing_until(last)]
        while quiet and quiet[0][0] <= now_s:
            watch = quiet.popleft()[1]
            if watch.mode is WatchMode.ENDED:
                continue
            is_live = watch.mode is WatchMode.LIVE and last <= watch.until
            if is_live and watch.sink.uses_positions and now_s - watch.sent_s >= SILENT_S:
                self._ready.setdefault(watch.sink, []).append((watch, last, lines))
            quiet.append((now_s + CHECK_S, watch))

    def _to_backlogs(self, deliveries: Sequence[Delivery]) -> Sequence[Backlog]:
        """Turn watches that could not be pushed these lines into backlogs; the connection's lock is
        held."""
        backlogs: list[PrefixWatch] = []
        with self.lock:
            for watch, before, lines in deliveries:
                if watch.mode is WatchMode.LIVE:
                    self.leave(watch, WatchMode.LAGGING)
                    watch.position = before
                elif watch.mode is WatchMode.ENDED and before == LAST:
                    watch.lines = lines
                else:
                    continue
                backlogs.append(watch)
        return backlogs

    # --- a watch that lags -----------------------------------------------------------------------

    def next_piece(self, watch: PrefixWatch) -> bytes:
        """Return the next whole lines of a watch; see `Backlog`. Another thread may restart it
        meanwhile: its lines come first, then the keys, then the events after them."""
        with self.lock:
            lines, watch.lines = watch.lines, []
            has_keys = watch.mode is WatchMode.LAGGING and watch.listing is not None
        if lines:
            return watch.formatted(lines)
        try:
            keys = watch.next_keys() if has_keys else b""
        except GivenUp:
            with self.lock:
                self._end_slow(watch)
            keys = b""
        return keys or self._catch_up(watch)

    def _catch_up(self, watch: PrefixWatch) -> bytes:
        """Return the next lines from the history; at its end the watch goes live again."""
        lines: list[str] = []
        size = 0
        while size < PIECE_LINES_BYTES and (events := self._next_events(watch)) is not None:
            for event in events:
                lines.append(words.event(*event))
                size += len(lines[-1])
        with self.lock:
            lines += watch.lines
            watch.lines = []
        if lines:
            watch.sent_s = self._clock.now_s()
        return watch.formatted(lines)

    def _next_events(self, watch: PrefixWatch) -> Sequence[KeyEvent] | None:
        """Return the next events for a watch to check; None if it no longer lags."""
        with self.lock:
            if watch.mode is not WatchMode.LAGGING or self._has_lost_events(watch):
                return None
            if watch.lines or watch.listing is not None:  # it has just been restarted
                return None
            if watch.position >= watch.until:  # `hand_out` ends it
                return None
            if watch.position < self.history.last:
                events, watch.position = self.history.after(
                    watch.position, PIECE_EVENTS, PIECE_LINES_BYTES, watch.prefix
                )
                if watch.position > watch.until:
                    watch.position = watch.until
                    return [event for event in events if event[0] <= watch.until]
                return events
            self._join(watch)
            return None

    def _has_lost_events(self, watch: PrefixWatch) -> bool:
        """Whether the history no longer has the next events of a watch. Then restart the watch if
        the state was replaced, and end it if its reader was too slow."""
        if watch.position >= self.history.floor:
            return False
        if watch.resets != self.history.resets:
            watch.mode = WatchMode.RELISTING
            self.stranded.append(watch)
            self._is_stranded()
        else:
            self._end_slow(watch)
        return True

    def _end_slow(self, watch: PrefixWatch) -> None:
        """End a watch whose reader was too slow, unless it has ended or restarts."""
        if watch.mode is WatchMode.LAGGING:
            watch.lines = [self.end(watch, words.TOO_SLOW)]
            self._has_ended(watch)

    def _join(self, watch: PrefixWatch) -> None:
        """Make a watch live: push it the events of its prefix from now on."""
        group = self._index.get(watch.prefix)
        if group is None:
            group = Group(watch.prefix)
            self._index.put(watch.prefix, group)
        group.watches[watch] = None
        watch.mode, watch.resets = WatchMode.LIVE, self.history.resets

    def leave(self, watch: PrefixWatch, mode: WatchMode) -> None:
        """Stop pushing events to a watch."""
        group = self._index.get(watch.prefix)
        if watch.mode is WatchMode.LIVE and group is not None:
            del group.watches[watch]
            if not group.watches:
                self._index.remove(watch.prefix)
        watch.mode = mode

    # --- the beginning and the end, with `lock` held ---------------------------------------------

    def enter(self, watch: PrefixWatch, now_s: float) -> None:
        """Add a watch, which begins as a lagging one."""
        watch.sent_s = now_s
        self._quiet.append((now_s + CHECK_S, watch))

    def bound(self, watch: PrefixWatch, until: int) -> None:
        """Send a watch no event of a later entry, and end it: its user has lost the right."""
        if watch.until == NO_END:
            watch.until = until
            self._refused.append(watch)

    def end(self, watch: PrefixWatch, why: str) -> str:
        """Stop sending events to a watch; return its last line."""
        amid_keys, position = watch.is_listing, self.position_of(watch)
        self.leave(watch, WatchMode.ENDED)
        watch.lines = []
        if amid_keys:
            return watch.refused(words.amid_keys(why, watch.prefix))
        return watch.refused(words.continue_elsewhere(why, watch.prefix, position))

    def position_of(self, watch: PrefixWatch) -> int:
        """Return the entry up to which a watch was given all events, and none after it. For a live
        watch, `handing` is held as well."""
        if watch.mode is WatchMode.LIVE:
            return max(watch.position, min(self._handed, watch.until))
        return watch.position

    def say_last(self, watch: PrefixWatch, line: str) -> None:
        """Queue the last line of a watch, after all its other lines; with `handing` held."""
        self._ready.setdefault(watch.sink, []).append((watch, LAST, [line]))


class EventLines:
    """The line of each event, which all groups that it matches share: a key may match as many
    prefixes as it has characters."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[BareEvent, str]] = {}

    def lines_of(self, events: Sequence[BareEvent]) -> list[str]:
        return [self._line_of(event) for event in events]

    def _line_of(self, event: BareEvent) -> str:
        kept = self._lines.get(id(event))
        if kept is None:
            kept = self._lines[id(event)] = event, words.event(*event)  # kept, or its id may return
        return kept[1]


class EncodedLines:
    """The latest lists of lines that were encoded, for watches with the same lines and head."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, str], tuple[list[str], bytes]] = {}

    def of(self, watch: PrefixWatch, lines: list[str]) -> bytes:
        """Return these lines of a watch as bytes to send."""
        key = id(lines), watch.head
        kept = self._parts.get(key)
        if kept is None:
            if len(self._parts) >= FORMATTED_MAX:
                self._parts.clear()
            kept = self._parts[key] = lines, watch.formatted(lines)  # kept, or its id may return
        return kept[1]


def _are_long(events: Sequence[BareEvent]) -> bool:
    """Whether the lines of these events exceed the size of one push."""
    return sum([len(event[2]) + len(event[3]) for event in events]) > PUSHED_BYTES
