"""The queue of requests: it keeps each batch until it is answered."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heapreplace
from operator import itemgetter

from ...net.protocol.host import SHORT, Batch, RequestRoom
from ...wire.limits import (
    BATCHES_HELD,
    LONG_BYTES,
    LONG_REST_S,
    LONG_TOGETHER,
    LONG_TURNS,
    LONG_UNDER_WAY_BYTES,
    LONG_WORK_BYTES,
    QUEUED_BYTES,
    QUICK_TURNS,
    READS_TOGETHER,
    WRITES_TOGETHER,
)
from ...wire.refusal import NO_LEADER, STOPPING, TOO_MUCH_WAITS, Refusal, outcome_unknown
from ..clock import SYSTEM, Clock
from .measures import Histogram, Measures


class LongWrites:
    """Runs of writes that take a long time to apply; only a few are proposed at a time.

    Entries are applied in order, so long writes that are proposed delay every short write after
    them. Long runs that wait here delay only later runs of the same connection. The users take
    turns, and so do the connections of each user.

    If short writes of others arrive while a long run is under way, the next one rests for as long
    as this one takes. So half of the time is left to those who write little. Any thread may call.
    """

    def __init__(
        self, is_long: Callable[[Sequence[str]], bool], now_s: Callable[[], float]
    ) -> None:
        self._is_long = is_long  # whether commands take a long time to apply
        self._now_s = now_s
        self._lock = threading.Lock()
        # The runs of each user, by connection, with their bytes; the first user's turn is next.
        self.waiting: OrderedDict[object, OrderedDict[object, deque[tuple[Batch, int]]]]
        self.waiting = OrderedDict()
        self.under_way: list[tuple[Batch, int, float]] = []  # with their bytes and beginning
        self.count = 0  # of waiting runs
        self._rests_until_s = 0.0
        self._delays_others = False  # a short write of another user waits for these

    def holds_back(self, batch: Batch) -> bool:
        """Take a run if it has to wait; return whether it was taken."""
        size = batch.bytes if batch.bytes > LONG_BYTES else 0
        if not size and self._is_long(batch.commands):
            size = LONG_WORK_BYTES
        account, sink = batch.account, batch.asker or batch
        if not size and sink not in self.waiting.get(account, ()):
            self.note_short(batch)
            return False
        with self._lock:
            if not self.waiting and self._may_go(size):
                self.under_way.append((batch, size, self._now_s()))
                return False
            own = self.waiting.setdefault(account, OrderedDict())
            own.setdefault(sink, deque()).append((batch, size))
            self.count += 1
        return True

    def note_short(self, batch: Batch) -> None:
        """Note a short write, which waits for the long runs that are under way."""
        if any([long.account != batch.account for long, _, _ in self.under_way]):
            self._delays_others = True

    @property
    def rests_until_s(self) -> float:
        """The time at which a waiting run may be proposed; infinite if none rests."""
        return self._rests_until_s if self.count and not self.under_way else math.inf

    def _forget_ended(self) -> None:
        if not any([batch.room is None for batch, _, _ in self.under_way]):
            return
        now_s, left = self._now_s(), list[tuple[Batch, int, float]]()
        for batch, size, begun_s in self.under_way:
            if batch.room is not None:
                left.append((batch, size, begun_s))
            elif size and self._delays_others:
                rest_s = min(now_s - begun_s, LONG_REST_S)
                self._rests_until_s = max(self._rests_until_s, now_s + rest_s)
        self.under_way = left
        if not left:
            self._delays_others = False

    def _may_go(self, size: int) -> bool:
        self._forget_ended()
        if size and self._now_s() < self._rests_until_s:
            return False
        used = sum([bytes_here for _, bytes_here, _ in self.under_way])
        return not (used and size) or used + size <= LONG_UNDER_WAY_BYTES

    def forget_answered(self) -> None:
        """Forget the runs that were given up."""
        with self._lock:
            for account, own in list(self.waiting.items()):
                for sink, runs in list(own.items()):
                    own[sink] = deque([run for run in runs if not run[0].is_answered])
                    self.count -= len(runs) - len(own[sink])
                    if not own[sink]:
                        del own[sink]
                if not own:
                    del self.waiting[account]

    def hold(self, until_ms: int) -> None:
        """Refuse the waiting runs from that time on, as there is no leader."""
        with self._lock:
            for runs in [runs for own in self.waiting.values() for runs in own.values()]:
                for batch, _ in runs:
                    batch.hold_until_ms = batch.hold_until_ms or until_ms

    def release(self, writes: deque[Batch], *, every: bool = False) -> None:
        """Move the runs that may be proposed, or `every` run, to the end of `writes`. Forget the
        runs that ended."""
        with self._lock:
            self._forget_ended()
            while self.waiting:
                account, own = next(iter(self.waiting.items()))
                sink, runs = next(iter(own.items()))
                batch, size = runs[0]
                if not (every or batch.room is None or self._may_go(size)):
                    return
                runs.popleft()
                self.count -= 1
                if batch.room is not None:  # else it was late, and has been refused
                    writes.append(batch)
                    if size:
                        self.under_way.append((batch, size, self._now_s()))
                if runs:
                    own.move_to_end(sink)
                else:  # only after the batch is in `writes`, so that a later one follows it
                    del own[sink]
                if own:
                    self.waiting.move_to_end(account)
                else:
                    del self.waiting[account]


Waiting = dict[object, deque[Batch]]  # of one user, by connection; the first one is next


class UserTurns:
    """Fair turns for users when more requests wait than one group may have.

    Without users, the connections take turns. The connections of one user take turns among
    themselves.

    Half of each group is chosen by start-time fair queueing (Goyal, Vin and Cheng, 1996): the next
    run comes from the user that was served least. The other half is for the shortest runs, one of
    each user. So a user with one request at a time is served at once, however many requests others
    send on however many connections, and no user starves.
    """

    def __init__(self, judge: Callable[[Batch], None]) -> None:
        """`judge` marks a run as quick, or not, by the pairs of now."""
        self._judge = judge
        self._now = 0  # requests served so far to a user who always had some waiting
        self._served: dict[object, int] = {}  # the count of each user, where it exceeds `_now`

    def leave_some(self, batches: list[Batch], waiting: deque[Batch], together: int) -> list[Batch]:
        """Return the runs that are served now; put the others back at the head of `waiting`."""
        if self._go_together(batches, together):
            self._served.clear()
            return batches
        users = dict[object, Waiting]()
        for batch in batches:
            own = users.setdefault(batch.account, {})
            own.setdefault(batch.asker or batch, deque()).append(batch)
        chosen = self._in_turn(users, together // 2)
        short = sorted([(*_shortest(own), user) for user, own in users.items()], key=itemgetter(0))
        count = together // 2
        for _, sink, user in short:
            count -= self._judged(users[user][sink][0])
            if count < 0:
                break
            self._serve(user, users[user], sink, chosen)
        self._served = {user: count for user, count in self._served.items() if count > self._now}
        rest = [batch for own in users.values() for runs in own.values() for batch in runs]
        waiting.extendleft(reversed(rest))
        return chosen

    def _judged(self, batch: Batch) -> int:
        """Return the size of a run that is about to be served."""
        if batch.may_be_long:
            self._judge(batch)
        return _turns(batch)

    def _go_together(self, batches: list[Batch], together: int) -> bool:
        count = 0
        for batch in batches:
            count += self._judged(batch) if batch.may_be_long else len(batch.commands)
            if count > together:
                return False
        return True

    def _in_turn(self, users: dict[object, Waiting], together: int) -> list[Batch]:
        """Take this many requests from the users that were served least."""
        turns = [(self._start(user), place, user) for place, user in enumerate(users)]
        heapify(turns)
        chosen = list[Batch]()
        count = 0
        while turns and count < together:
            self._now, place, user = turns[0]
            own = users[user]
            sink, runs = next(iter(own.items()))
            count += self._judged(runs[0])
            self._serve(user, own, sink, chosen)
            if own:
                heapreplace(turns, (self._start(user), place, user))
            else:
                heappop(turns)
                del users[user]
        return chosen

    def _start(self, user: object) -> int:
        return max(self._now, self._served.get(user, 0))

    def _serve(self, user: object, own: Waiting, sink: object, chosen: list[Batch]) -> None:
        """Take the next run of a connection, which was judged, and move the connection behind the
        user's other ones."""
        runs = own.pop(sink)
        batch = runs.popleft()
        if runs:
            own[sink] = runs
        self._served[user] = self._start(user) + _turns(batch)
        chosen.append(batch)


def _shortest(own: Waiting) -> tuple[int, object]:
    """Return the size of the shortest run that is next on a connection, and the connection."""
    return min([(_turns(runs[0]), sink) for sink, runs in own.items()], key=itemgetter(0))


def _turns(batch: Batch) -> int:
    """Return the size of a run in requests."""
    return len(batch.commands) + _additional_turns(batch)


def _additional_turns(batch: Batch) -> int:
    """Return how many more requests a run counts as: a long transaction takes as long as many sets
    do. A quick one may become long by the entries before it, so it counts as some, too."""
    turns = QUICK_TURNS if batch.is_quick else LONG_TURNS
    return -(-batch.may_be_long // LONG_TOGETHER) * turns


class RequestQueue:
    """Keeps every batch in one place until it is answered or handed out again.

    Any thread may call `put`; callers of the other methods hold the driver's `core` lock.
    """

    def __init__(
        self,
        hold_ms: int,
        measures: Measures | None = None,
        bytes_max: int = QUEUED_BYTES,
        clock: Clock = SYSTEM,
        is_long: Callable[[Sequence[str]], bool] = lambda _: False,
        is_quick: Callable[[Sequence[str]], bool] = lambda _: False,
    ) -> None:
        """`is_long` and `is_quick` judge the commands of one run by the pairs."""
        self._now_s = clock.reader_s()
        self._hold_ms = hold_ms
        self._long, self._is_quick = LongWrites(is_long, self._now_s), is_quick
        self._write_turns, self._read_turns = UserTurns(self._judge), UserTurns(self._judge)
        self.room = RequestRoom(bytes_max)
        self._measures = measures or Measures()
        # New batches, each kind in its order; only `put`, `take` and `leave_some` change these.
        self.writes: deque[Batch] = deque()  # may share the next write of the disk
        self.reads: deque[Batch] = deque()  # may share the next round
        self.others: deque[Batch] = deque()  # need not wait
        self.held: list[Batch] = []  # wait for a leader, at most for `hold_ms`
        self.pending: deque[Batch] = deque()  # proposed in `_pending_term`, in index order
        self._pending_term = 0
        self.additional_pending = 0  # as how many more requests these count

    def put(self, *batches: Batch) -> None:
        """Queue batches that arrived together for the next step of the core. A batch is refused if
        too much waits, unless it was queued before. A batch that was given up is dropped."""
        size = 0
        for batch in batches:
            if batch.room is None and not batch.is_answered:
                size += batch.bytes
        if size and not self.room.take(size):
            if len(batches) == 1:
                batches[0].answer_all(TOO_MUCH_WAITS)
            else:
                for batch in batches:  # some of them may fit
                    self.put(batch)
            return
        for batch in batches:
            if not batch.is_answered:
                self._add(batch)

    def _add(self, batch: Batch) -> None:
        batch.room, long = self.room, self._long
        if batch.may_be_long and not batch.is_quick:  # as far as its connection knows
            batch.is_quick = self._is_quick(batch.commands)
        may_be_long = batch.may_be_long and not batch.is_quick
        is_short = not (may_be_long or batch.bytes > LONG_BYTES or long.waiting)
        if batch.change is not None or batch.reading.by_lease:
            self.others.append(batch)
        elif batch.is_read:
            self.reads.append(batch)
        elif is_short:
            if long.under_way:
                long.note_short(batch)
            self.writes.append(batch)
        elif not long.holds_back(batch):
            self.writes.append(batch)

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting batches, by reason."""
        return {
            "writes": len(self.writes) + self._long.count, "reads": len(self.reads),
            "others": len(self.others), "leader": len(self.held), "commit": len(self.pending),
        }  # fmt: skip

    @property
    def long_due_s(self) -> float:
        """The time at which a long write that rests may be proposed; infinite if none does."""
        return self._long.rests_until_s

    @property
    def held_until_ms(self) -> int | None:
        """The time at which the first waiting batch is given up; None without one."""
        return self.held[0].hold_until_ms if self.held else None

    def take(self, *, writes: bool, reads: bool) -> list[Batch]:
        """Hand out the held batches, then the new ones of these kinds, each in its order."""
        batches, self.held = self.held, []
        for new in (self.others, *([self.writes] * writes), *([self.reads] * reads)):
            if new:
                batches += _all_of(new)
        # A batch that was given up must never be proposed: its reply was that nothing was done.
        return [batch for batch in batches if not batch.is_answered]

    def drop_answered(self) -> None:
        """Forget the batches that were given up before they were proposed. They no longer count as
        queued bytes, so they must not stay until the next `take`."""
        for new in (self.others, self.writes, self.reads):
            rest = [batch for batch in _all_of(new) if not batch.is_answered]
            new.extendleft(reversed(rest))  # before batches that arrived since
        self.held = [batch for batch in self.held if not batch.is_answered]
        if self._long.count:
            self._long.forget_answered()

    def leave_writes(self, writes: list[Batch]) -> list[Batch]:
        """Return the writes that are proposed now; queue the others again."""
        return self._write_turns.leave_some(writes, self.writes, WRITES_TOGETHER)

    def leave_reads(self, reads: list[Batch], waiting: deque[Batch]) -> list[Batch]:
        """Return the reads that share the next round; queue the others again."""
        return self._read_turns.leave_some(reads, waiting, READS_TOGETHER)

    def _judge(self, batch: Batch) -> None:
        """Mark a run as quick, or not. While a long write is under way, none is: its value is not
        among the pairs yet."""
        batch.is_quick = not self._long.under_way and self._is_quick(batch.commands)

    def let_long_go(self) -> None:
        """Move long writes to the queue, up to the in-flight limit."""
        if self._long.count or self._long.under_way:
            self._long.release(self.writes)

    def hold(self, batches: Sequence[Batch], now: int, refusal: Refusal = NO_LEADER) -> None:
        """Keep batches until there is a leader; refuse batches that waited too long."""
        for batch in batches:
            if batch.hold_until_ms == 0:
                batch.hold_until_ms = now + self._hold_ms
            if now >= batch.hold_until_ms or len(self.held) >= BATCHES_HELD:
                batch.answer_all(refusal)
            else:
                self.held.append(batch)
        if self._long.count:
            self._long.hold(now + self._hold_ms)

    def enter(self, batches: Sequence[Batch], first_index: int, term: int) -> list[str]:
        """Note that these batches get the entries from `first_index` on, in `term`; return their
        commands in that order."""
        commands: list[str] = []
        for batch in batches:
            batch.first_index = first_index + len(commands)
            commands += batch.commands
            if batch.may_be_long:
                self.additional_pending += _additional_turns(batch)
        self._pending_term = term
        self.pending.extend(batches)
        return commands

    def are_pending_beside(self, term: int | None) -> bool:
        """Whether batches wait for entries of a term other than `term`, which this server leads;
        None means that it does not lead."""
        return bool(self.pending) and self._pending_term != term

    def answer_applied(self, replies: list[str], first: int, last: int) -> None:
        """Give the replies of the entries `first` to `last` to their requests. Pending batches are
        in index order, so no search is needed."""
        answered: list[Batch] = []
        while self.pending and self.pending[0].first_index <= last:
            batch = self.pending[0]
            start = batch.first_index + len(batch.replies) - first
            own = replies[start : start + len(batch.commands) - len(batch.replies)]
            sink = batch.reply_sink
            if sink is not None and sum(map(len, own)) > SHORT:
                own = sink.keep(batch, own)
            batch.replies += own
            if len(batch.replies) < len(batch.commands):
                break
            answered.append(self.pending.popleft())
            if batch.may_be_long:
                self.additional_pending -= _additional_turns(batch)
        if answered:
            self._wake(answered, self._measures.writes)
            self.let_long_go()

    def confirmed(self, batches: Sequence[Batch]) -> None:
        """Release reads that were confirmed, so that they are served."""
        self._wake(batches, self._measures.reads)

    def _wake(self, batches: Sequence[Batch], times: Histogram) -> None:
        """Release the replies, and count their times; requests with equal times count at once."""
        now_s = self._now_s()
        size = count = 0
        asked_s = 0.0  # when these `count` requests arrived
        for batch in batches:
            if batch.room is not None:
                batch.room = None
                size += batch.bytes
            if count and batch.asked_s != asked_s:
                times.add(now_s - asked_s, count)
                count = 0
            asked_s = batch.asked_s
            count += len(batch.commands)
            batch.wake()
        if count:
            times.add(now_s - asked_s, count)
        self.room.release(size)

    def give_up_pending(self, why: str, after: int = 0) -> None:
        """Answer the requests of entries after this index: their outcome is unknown here."""
        while self.pending:
            batch = self.pending[-1]
            if batch.first_index + len(batch.commands) - 1 <= after:
                return
            self.pending.pop()
            self.additional_pending -= _additional_turns(batch)
            batch.leave_room()
            batch.answer_rest(outcome_unknown(why))
        self.let_long_go()

    def turn_all_away(self, why: str) -> None:
        """Answer all requests. The outcome of proposed ones is unknown; of the others nothing was
        done."""
        self.give_up_pending(why)
        self._long.release(self.writes, every=True)
        for batch in self.take(writes=True, reads=True):
            batch.answer_all(STOPPING)


def _all_of(new: deque[Batch]) -> list[Batch]:
    """Take the batches that are there now; any thread may add more at the end."""
    return [new.popleft() for _ in range(len(new))]
