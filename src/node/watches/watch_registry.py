"""The watches of a node, from the point of view of their connections: their start, restart and
end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...common.process.guarded_thread import begin_thread
from ...logmanager import LogManager
from ...net.protocol.host import EventSink
from ...raft.node_view import NodeView
from ...state.user_table import UserTable
from ...wire.commands import watch_lines as words
from ...wire.commands.watch_lines import WatchAsked
from ...wire.limits import KEPT_PART, USER_SHARE, WATCH_BYTES, WATCHES_MAX
from ...wire.refusal import DIVERGED, REMOVED, STOPPING
from ..clock import SYSTEM, Clock
from .prefix_watch import PrefixWatch, WatchMode
from .watch_feed import Feed
from .watch_listing import KeyListing, Lister


class WatchRegistry:
    """All watches of a node; `net.protocol.host.Watchers` documents its methods."""

    def __init__(
        self, logmanager: LogManager, wake_owner: Callable[[], None], clock: Clock = SYSTEM
    ) -> None:
        """Begin after the entries that recovery has applied."""
        self._clock = clock
        self._name = logmanager.name
        self._store = logmanager.store
        self._users = logmanager.store.users  # as of the last entry whose events are noted
        # Watches whose rights were checked by later users, in place of those up to then.
        self._judged_ahead: dict[PrefixWatch, UserTable] = {}
        self._lister = Lister(logmanager)
        self._watches: dict[EventSink, dict[str, PrefixWatch]] = {}
        self.count = 0  # of running watches
        self._of_topics = 0  # running watches of messages
        self._weight = 0  # of the running watches
        self._weight_of: dict[str, int] = {}  # by user, if there are users
        # What subscriptions count as in addition to their watches: their user and this number.
        self._kept: dict[EventSink, dict[str, tuple[str | None, int]]] = {}
        self.watches_max = WATCHES_MAX
        self.are_used = False  # there was a watch
        self._is_relisting = False  # a thread restarts watches
        self._is_closed = False
        self._is_cut_off = False  # this node was removed, and hears no leader, or its state differs
        self._differs = False
        self.feed = Feed(
            logmanager, wake_owner, self._relist, self._forget, self._users_changed, clock
        )
        self.run_beside = self._in_a_thread  # a schedule replaces this
        self.on_failure: Callable[[Exception], None] = _raise  # the driver replaces this
        self.hand_out = self.feed.hand_out

    @property
    def weight(self) -> int:
        """The watches, and all that is kept for subscriptions, as a number of watches."""
        return self._weight

    @property
    def last(self) -> int:
        with self.feed.lock:
            return self.feed.history.last

    # --- a watch begins --------------------------------------------------------------------------

    def needs_confirming(self, asked: WatchAsked) -> bool:
        if asked.after is None:
            return True
        with self.feed.lock:
            history = self.feed.history
            return asked.after > history.last or not history.place_of(asked.after).is_covered

    def open(self, sink: EventSink, asked: Sequence[tuple[str, WatchAsked]]) -> list[list[str]]:
        self.are_used = True
        with self.feed.lock:
            resets = self.feed.history.resets
            new = [self._begin(sink, request_id, one) for request_id, one in asked]
        to_list = [
            watch for watch, _ in new if watch is not None and watch.mode is WatchMode.RELISTING
        ]
        listings = dict(
            zip(to_list, self._lister.take([watch.prefix for watch in to_list]), strict=True)
        )
        # This comes before the reply is made: if a watch ends from here on, its last line is sent
        # after the reply.
        sink.add_backlogs([one for one, _ in new if one is not None])
        first_lines: list[list[str]] = []
        with self.feed.lock:
            for watch, lines in new:
                if watch is not None and watch.mode is WatchMode.RELISTING:
                    lines = [*lines, self._list(watch, listings[watch], resets)]
                elif watch is not None and watch.mode is WatchMode.ENDED:
                    lines = []  # its last line was sent meanwhile
                first_lines.append(lines)
        return first_lines

    def _begin(
        self, sink: EventSink, request_id: str, asked: WatchAsked
    ) -> tuple[PrefixWatch | None, list[str]]:
        """Return a new watch, in mode RELISTING if it begins with the keys, and its first lines;
        None and the refusal if it can't begin."""
        history, after = self.feed.history, asked.after
        running = self._watches.get(sink, {})
        if refusal := self._why_not(sink.user, running, request_id):
            return None, [refusal]
        users = self._store.users
        if why := sink.denial_by_now(line_of(asked.prefix)):  # by these users, or later ones
            return None, [why]  # the right has ended since the line was admitted
        if after is not None and after > history.last:
            return None, [words.from_the_future(after, history.last)]
        head = f"{self._name}#{request_id}@" if request_id else f"{self._name}@"
        watch = PrefixWatch(asked.prefix, request_id, sink, head, self.feed.next_piece)
        watch.resets, watch.mode = history.resets, WatchMode.RELISTING
        lines: list[str] = []
        if after is not None:
            place = history.place_of(after)
            watch.position = after
            if not place.is_known:
                lines = [words.never_was(asked.prefix, after)]
            elif not place.is_covered:
                lines = [words.gone(asked.prefix, history.floor)]
            else:
                watch.mode, lines = WatchMode.LAGGING, [words.goes_on(after)]
        if users and users is not self._users:
            self._judged_ahead[watch] = users
        self._watches.setdefault(sink, running)[request_id] = watch
        self.count += 1
        self._count_topics(watch, 1)
        self._weigh(watch.user, watch.weight)
        self.feed.enter(watch, self._clock.now_s())
        return watch, lines

    def _weigh(self, user: str | None, weight: int) -> None:
        """Add to the weight of all watches, and of those of this user."""
        self._weight += weight
        if user is not None:
            own = self._weight_of.pop(user, 0) + weight
            if own:
                self._weight_of[user] = own

    def _count_topics(self, watch: PrefixWatch, change: int) -> None:
        """Count a watch of messages. The store notes none while there is no such watch."""
        if words.is_of_topics(watch.prefix):
            self._of_topics += change
            self._store.notes_messages = self._of_topics > 0

    def keep(self, sink: EventSink, request_id: str, size: int, *, is_watch: bool) -> str:
        weight = size // WATCH_BYTES + (not is_watch)
        with self.feed.lock:
            if refusal := self._why_not(sink.user, self._watches.get(sink, {}), request_id):
                return refusal
            self._kept.setdefault(sink, {})[request_id] = (sink.user, weight)
            self._weigh(sink.user, weight)
        return ""

    def _give_back(self, sink: EventSink, request_id: str) -> None:
        """Forget what a subscription counts as, with the lock held."""
        kept = self._kept.get(sink, {})
        user, weight = kept.pop(request_id, (None, 0))
        self._weigh(user, -weight)
        if not kept:
            self._kept.pop(sink, None)

    def _why_not(self, user: str | None, running: dict[str, PrefixWatch], request_id: str) -> str:
        """Return why another watch can't begin; "" if it can."""
        if self._is_closed or self._is_cut_off:
            return STOPPING if self._is_closed else DIVERGED if self._differs else REMOVED
        if request_id in running:
            return words.runs_already(request_id)
        if self._weight >= self.watches_max:
            return words.too_many(self.watches_max)
        if user is None or self._is_admin(user):
            return ""
        left = max(0, self.watches_max - self.watches_max // KEPT_PART - self._weight)
        own_max = USER_SHARE * left  # so some are left for the next user, as with keys (Quota)
        if self._weight_of.get(user, 0) >= own_max:
            return words.too_many(own_max, of_user=True)
        return ""

    def _is_admin(self, user: str) -> bool:
        found = self._store.users.find(user)
        return found is not None and found.identity.is_admin

    def _list(self, watch: PrefixWatch, listing: KeyListing, resets: int) -> str:
        """Start a watch with the keys; return the line that reports this, or why it can't start."""
        if listing.failure:
            self.feed.leave(watch, WatchMode.ENDED)
            self._forget(watch)
            return listing.failure
        # The rights of now are not older than this state. The events of its last entries, and a
        # change of users among them, may not be noted yet.
        if listing.number > watch.until or watch.sink.denial_by_now(line_of(watch.prefix)):
            last_line = self.feed.end(watch, words.RIGHTS)
            self._forget(watch)
            return last_line
        watch.begin(listing)
        watch.resets = resets
        return words.begins(listing.count, listing.number)

    # --- a watch restarts -------------------------------------------------------------------------

    def _relist(self) -> None:
        """Start a thread that lists the keys again for the stranded watches, and then ends."""
        if self.feed.stranded and not self._is_relisting:
            self._is_relisting = self.run_beside(self._run_relisting)

    def _in_a_thread(self, run: Callable[[], None]) -> bool:
        """Start a thread; return False if none can be started: then `look` tries again."""
        try:
            begin_thread(run, f"{self._name} watches again", self.on_failure)
        except RuntimeError:
            return False
        return True

    def look(self, view: NodeView) -> None:
        """Check for watches that need a keepalive or wait for a thread. If this node was removed,
        and so gets no more entries, or if its state differs from that of the others, end all
        watches; accept new ones once it is added again, or its state was replaced."""
        is_removed = view.removed_by > 0 and not view.is_member and view.leader is None
        self._differs = view.differs > 0
        was_cut_off, self._is_cut_off = self._is_cut_off, is_removed or self._differs
        if self._is_cut_off and not was_cut_off:
            self._end_all(words.DIFFERS if self._differs else words.IS_REMOVED)
        self.feed.mark_keepalives_due()
        with self.feed.lock:
            self._relist()

    def _run_relisting(self) -> None:
        feed = self.feed
        while True:
            with feed.alone(), feed.lock:  # no more lines are on their way to these watches
                watches, feed.stranded = feed.stranded, []
                if not watches:
                    self._is_relisting = False
                    return
                resets, floor = feed.history.resets, feed.history.floor
            listings = self._lister.take([watch.prefix for watch in watches])
            restarted: dict[EventSink, list[PrefixWatch]] = {}
            with feed.lock:
                for watch, listing in zip(watches, listings, strict=True):
                    if watch.mode is WatchMode.RELISTING:
                        notice = watch.refused(words.gone(watch.prefix, floor))
                        watch.lines = [notice, self._list(watch, listing, resets)]
                        restarted.setdefault(watch.sink, []).append(watch)
            for sink, own in restarted.items():
                sink.resume(own)  # the replies to these watches were sent before

    # --- a watch ends ----------------------------------------------------------------------------

    def unwatch(self, sink: EventSink, request_id: str) -> str:
        feed = self.feed
        with feed.alone():
            feed.push_to(sink)
            with feed.lock:
                self._give_back(sink, request_id)
                watch = self._watches.get(sink, {}).get(request_id)
                if watch is None:
                    return words.no_watch(request_id)
                amid_keys, position = watch.is_listing, feed.position_of(watch)
                feed.leave(watch, WatchMode.ENDED)
                watch.lines = []
                self._forget(watch)
                return words.ENDED_AMID_KEYS if amid_keys else words.ended(position)

    def _users_changed(self, number: int, users: UserTable) -> None:
        """End the watches that these users do not allow after the entry with this number."""
        self._users, ahead = users, self._judged_ahead
        self._judged_ahead = {watch: until for watch, until in ahead.items() if until is not users}
        if not users:  # the nodes were open before, or are again
            return
        for sink, watches in self._watches.items():
            prefixes = sink.reads_by(users)
            for watch in watches.values():
                if not watch.keys.startswith(prefixes) and watch not in ahead:
                    self.feed.bound(watch, number)

    def end_refused(self, sink: EventSink, why_not: Callable[[str], str]) -> None:
        feed = self.feed
        with feed.lock:
            for watch in self._watches.get(sink, {}).values():
                if why_not(line_of(watch.prefix)):
                    feed.bound(watch, feed.history.last)
        while feed.has_work:
            self.hand_out()

    def drop(self, sink: EventSink) -> None:
        with self.feed.lock:
            for watch in list(self._watches.get(sink, {}).values()):
                self.feed.leave(watch, WatchMode.ENDED)
                self._forget(watch)
            for request_id in list(self._kept.get(sink, {})):
                self._give_back(sink, request_id)

    def close(self) -> None:
        """End every watch, since this node stops; accept none from now on."""
        self._is_closed = True
        self._end_all(words.IS_STOPPING)

    def _end_all(self, why: str) -> None:
        """Send every watch the applied events, then the line that it ends here, and why."""
        feed = self.feed
        with feed.alone():
            with feed.lock:
                sinks = list(self._watches)
            for sink in sinks:  # first, since a watch that has ended gets only its last line
                feed.push_to(sink)
            with feed.lock:
                for watches in list(self._watches.values()):
                    for watch in list(watches.values()):
                        feed.say_last(watch, feed.end(watch, why))
                        self._forget(watch)
        while self.feed.has_work:
            self.hand_out()

    def _forget(self, watch: PrefixWatch) -> None:
        """Remove a watch that has ended from the list, and drop its keys; with the lock held."""
        watch.listing = None
        self._judged_ahead.pop(watch, None)
        watches = self._watches.get(watch.sink)
        if watches is not None and watches.get(watch.request_id) is watch:
            del watches[watch.request_id]
            self.count -= 1
            self._count_topics(watch, -1)
            self._weigh(watch.user, -watch.weight)
            if not watches:
                del self._watches[watch.sink]


def line_of(prefix: str) -> str:
    """Return the command that begins a watch of a prefix, as rights are checked."""
    return words.format_watch(WatchAsked(words.named(prefix)))


def _raise(error: Exception) -> None:
    raise error
