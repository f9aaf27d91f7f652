"""The effect of the commands for locks and queues: `hold`, `unhold`, `abandon`, `enqueue`,
`requeue` and `dequeue`. Deterministic and total.

Each is one entry, so nobody else acts between its steps. All of their state is in keys, those of
waiting claims in the order of their entries (recipes-as-entries.md). All that one
entry frees, the same entry gives to those that wait, also if it ends a lease. So nobody waits for
something free, unless a person has deleted or set one of these keys: then the next of these
commands at the same PREFIX puts that right.

The order of arrival is the order of entries, as for the sequential nodes of ZooKeeper (Hunt et al.,
2010, section 2.4). The fencing token of a holder is the index of the entry that made it one, as the
sequencer of Chubby (Burrows, 2006, section 2.4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from raftline.common.text import NUMBER
from raftline.state.commands.key_commands import applies, whole_number
from raftline.state.commands.lease_commands import ENDINGS, LeaseEnding
from raftline.state.store import Store
from raftline.wire.done_reply import NO_SUCH_LEASE, with_word
from raftline.wire.limits import TAKEN_BYTES
from raftline.wire.protocol import real

from .command_rows import ABANDONED, IN_LINE, NO_SUCH_CLAIM, NO_SUCH_JOB, NOT_FREE
from .recipe_keys import keys_of, lock_of, waiting_at
from .recipe_operands import (
    ALONE,
    CLAIM,
    SHARED,
    TOGETHER,
    Dequeue,
    dequeue_in,
    hold_in,
    is_claim,
    is_prefix,
    lease_of,
)

_DIGITS: Final = 19  # of a number of an entry, so that keys are in the order of the numbers
_SEATED: Final = 500  # between two pauses: some ms of work
_ORPHANS: Final = 100  # waiting jobs without a value that one look drops, at most
_OF_LOCKS: Final = "held/", f"held/{TOGETHER}/", "line/"  # groups, besides those of one key a claim
_IDLE: Final = "idle/"
_HELD_JOB: Final = re.compile(rf"(.*/)held/({CLAIM})/([0-9]{{19}})", re.ASCII | re.DOTALL)
_JOB_NUMBER: Final = re.compile(NUMBER, re.ASCII)


# --- how long an entry takes (state/work.py) ----------------------------------------------------


def _in_line(store: Store, command: str) -> int:
    """Return the number of claims that wait in the line that an entry serves."""
    return waiting_at(store, command.split(" ", 2)[1])


def _of_claim(store: Store, command: str) -> int:
    """Return that number, and that of the keys under the lease of the claim."""
    leased = store.leased.get(lease_of(command.rpartition(" ")[2]), ())
    return _in_line(store, command) + len(leased)


def _waiting_for(store: Store, keys: Sequence[str]) -> int:
    """Return the number of claims that wait for one of these keys."""
    locks = {lock_of(key) for key in keys if "/held/" in key or "/line/" in key}
    return sum([waiting_at(store, prefix) for prefix in locks])


# --- locks, elections, semaphores ---------------------------------------------------------------


@applies("hold", measure=_in_line)
def _hold(store: Store, operands: str) -> str | None:
    """Execute `hold PREFIX MODE [now] CLAIM VALUE`: take a seat, or a place in line."""
    asked = hold_in(operands)
    if asked is None:
        return None
    prefix, mode, claim, value, is_now = asked
    lease = lease_of(claim)
    if lease not in store.leases.granted:
        return with_word("HOLD", NO_SUCH_LEASE, lease)
    if _is_gone(store, prefix, claim):
        return with_word("HOLD", ABANDONED, claim)
    key = _key_of(store, prefix, claim)
    if key is None and not keys_of(store).count(f"{prefix}line/"):
        seat = _free_seat(store, prefix, mode, 1)
        if seat:
            key = f"{prefix}held/{seat}/{claim}"
            store.put_under(lease, key, value)
            return f"HOLD response: {key} {store.number}"
    if key is None and is_now:
        return with_word("HOLD", NOT_FREE, prefix)
    if key is None:
        key = f"{prefix}line/{_indexed(store.number)}/{mode}/{claim}"
        store.put_under(lease, key, value)
    _seat_line(store, prefix)
    key = _key_of(store, prefix, claim) or key
    facts = store.facts(key)
    if key.startswith(f"{prefix}line/") or facts is None:
        return with_word("HOLD", IN_LINE, key)
    return f"HOLD response: {key} {facts.changed}"


@applies("unhold", measure=_in_line)
def _unhold(store: Store, operands: str) -> str | None:
    """Execute `unhold PREFIX CLAIM`: give up the seat, or the place in line."""
    prefix, _, claim = operands.partition(" ")
    if not (is_prefix(prefix) and is_claim(claim)):
        return None
    key = _key_of(store, prefix, claim)
    if key is not None:
        del store[key]
    _seat_line(store, prefix)
    return with_word("UNHOLD", NO_SUCH_CLAIM, claim) if key is None else f"UNHOLD response: {key}"


@applies("abandon", measure=_of_claim)
def _abandon(store: Store, operands: str) -> str | None:
    """Execute `abandon PREFIX CLAIM`: give up the seat, the places and the jobs of a claim, which
    gets nothing more at PREFIX."""
    prefix, _, claim = operands.partition(" ")
    if not (is_prefix(prefix) and is_claim(claim)):
        return None
    lease = lease_of(claim)
    if lease not in store.leases.granted:
        return with_word("ABANDON", NO_SUCH_LEASE, lease)
    for key in _keys_at(store, prefix, claim):
        del store[key]
    jobs = _jobs_of(store, prefix, claim)
    counts = [store.pop(job) for job in jobs]
    if not _is_gone(store, prefix, claim):
        store.put_under(lease, f"{prefix}gone/{claim}", "")
    _seat_line(store, prefix)
    for job, count in zip(jobs, counts, strict=True):
        _give_back(store, prefix, job[-_DIGITS:], count)
    _serve(store, prefix)
    return f"ABANDON response: {claim}"


def _is_gone(store: Store, prefix: str, claim: str) -> bool:
    """Return whether a claim was abandoned: it gets nothing more at PREFIX."""
    return f"{prefix}gone/{claim}" in store.held


def _indexed(index: int) -> str:
    return f"{index:0{_DIGITS}}"


def _key_of(store: Store, prefix: str, claim: str) -> str | None:
    """Return the key of a claim's seat, or of its place in line; None if it has neither."""
    for seat in (ALONE, SHARED):
        if f"{prefix}held/{seat}/{claim}" in store:
            return f"{prefix}held/{seat}/{claim}"
    return min(_numbered(store, prefix, claim, *_OF_LOCKS), default=None)


def _numbered(store: Store, prefix: str, claim: str, *groups: str) -> list[str]:
    """Return the keys of a claim in groups whose keys have numbers."""
    keys = keys_of(store)
    return [key for group in groups for key in keys.of_claim(f"{prefix}{group}", claim)]


def _keys_at(store: Store, prefix: str, claim: str) -> list[str]:
    """Return the keys of a claim's seats, and of its places in both lines. There may be as many as
    a lease has keys, since any client may set one."""
    seats = [f"{prefix}held/{seat}/{claim}" for seat in (ALONE, SHARED)]
    places = sorted(_numbered(store, prefix, claim, *_OF_LOCKS))
    idle = sorted(_numbered(store, prefix, claim, _IDLE))
    return [*[seat for seat in seats if seat in store], *places, *idle]


def _free_seat(store: Store, prefix: str, mode: str, waiting: int, begin: int = 1) -> str:
    """Return the seat that a claim of this mode may take now, "" if there is none. Seats of
    different modes exclude one another. `waiting` is the number of claims in line, with this
    one; `begin` a seat of a semaphore before which all are taken."""
    keys, held = keys_of(store), f"{prefix}held/"
    kind, _, number = mode.rpartition(":")
    of_kind = {ALONE: ALONE, SHARED: SHARED}.get(mode, kind)
    taken = [each for each in (ALONE, SHARED, TOGETHER, "") if keys.count(_seats(prefix, each))]
    if taken and (taken != [of_kind] or of_kind == ALONE):
        return ""
    if mode in (ALONE, SHARED):
        return mode
    if kind == TOGETHER:
        first = keys.first(_seats(prefix, TOGETHER), store.held)
        if first is not None:  # they are inside, and it joins them
            return first[len(held) :][: len(TOGETHER) + 1 + _DIGITS]
        return f"{TOGETHER}/{_indexed(store.number)}" if waiting >= int(number) else ""
    for place in range(begin, int(mode) + 1):
        if not keys.is_seat_taken(held, f"{place:04}"):
            return f"{place:04}"
    return ""


def _seats(prefix: str, kind: str) -> str:
    """Return the group of the seats of a mode (`recipe_keys.py`); "" is that of a semaphore."""
    return f"{prefix}held/{kind}/" if kind else f"{prefix}held/"


def _seat_line(store: Store, prefix: str) -> None:
    """Give seats to the first in line, in strict order: who does not fit lets nobody pass."""
    line, count, begin = f"{prefix}line/", 0, 1
    while (place := keys_of(store).first(line, store.held)) is not None:
        _, mode, claim = place[len(line) :].split("/", 2)
        seat = _free_seat(store, prefix, mode, keys_of(store).count(line), begin)
        if not seat:
            return
        begin = int(seat) + 1 if seat.isdigit() else begin  # a search from 1 takes the square
        store.move(place, f"{prefix}held/{seat}/{claim}")
        count += 1
        if count % _SEATED == 0:
            store.pause()


# --- queues -------------------------------------------------------------------------------------


class _Job(NamedTuple):
    """A waiting job: its digits in keys, how often it was delivered, its value."""

    digits: str
    deliveries: int
    value: str


@applies("enqueue", measure=_in_line)
def _enqueue(store: Store, operands: str) -> str | None:
    """Execute `enqueue PREFIX VALUE`: add a job. Its number is that of this entry, or the next one
    after the last job's, since a transaction may add several."""
    prefix, space, value = operands.partition(" ")
    if not (space and is_prefix(prefix)):
        return None
    last = f"{prefix}last"
    number = max(store.number, (whole_number(store.get(last, "")) or 0) + 1)
    while f"{prefix}jobs/{_indexed(number)}" in store:  # it came from another cluster
        number += 1
    if number > store.number:
        store[last] = str(number)
    else:
        store.pop(last, None)
    store[f"{prefix}jobs/{_indexed(number)}"] = value
    _add(store, prefix, _indexed(number))
    return f"ENQUEUE response: {number}"


@applies("requeue", measure=_in_line)
def _requeue(store: Store, operands: str) -> str | None:
    """Execute `requeue PREFIX NUMBER`: let a dead job wait again, as a job never delivered."""
    prefix, _, number = operands.partition(" ")
    if not (is_prefix(prefix) and _JOB_NUMBER.fullmatch(number)):
        return None
    digits = _indexed(int(number))
    was_dead = store.pop(f"{prefix}dead/{digits}", None) is not None
    if not was_dead or f"{prefix}jobs/{digits}" not in store:
        return with_word("REQUEUE", NO_SUCH_JOB, number)
    _add(store, prefix, digits)
    return f"REQUEUE response: {number}"


@applies("dequeue", measure=_in_line)
def _dequeue(store: Store, operands: str) -> str | None:
    """Execute `dequeue PREFIX COUNT MAX [now | as CLAIM] CLAIM [NUMBER:TOKEN[:back | :CLAIM] ...]`:
    end jobs or take them over, then take others or a place in line."""
    asked = dequeue_in(operands)
    if asked is None:
        return None
    prefix, count, deliveries_max, claim, _, is_now, waits_as = asked
    waiter = waits_as or claim
    for each in (claim, waiter):
        if lease_of(each) not in store.leases.granted:
            return with_word("DEQUEUE", NO_SUCH_LEASE, lease_of(each))
        if _is_gone(store, prefix, each):
            return with_word("DEQUEUE", ABANDONED, each)
    ended = _end_jobs(store, asked)
    waits = count > 0 and not is_now
    if not waits:
        _leave_line(store, prefix, waiter)
    _serve(store, prefix)
    worker = _Worker(claim, count, deliveries_max, store.user, lease_of(claim))
    taken, size = _take_over(store, asked, worker), 0
    while len(taken) < count and (job := _next_job(store, prefix, deliveries_max)) is not None:
        value = real(job.value)
        size += len(json.dumps(value))
        if taken and size > TAKEN_BYTES:
            break
        _deliver(store, prefix, job.digits, job.deliveries + 1, worker)
        taken.append(_shown(job.digits, job.deliveries + 1, value))
    if taken:
        _leave_line(store, prefix, waiter)
    place = _place_in_line(store, prefix, waiter)
    if waits and not (place or taken or keys_of(store).count(f"{prefix}wait/")):
        place = f"{prefix}idle/{_indexed(store.number)}/{count}.{deliveries_max}/{waiter}"
        store.put_under(lease_of(waiter), place, "")
    shown = None if place is None else real(place)
    answer = {"index": store.number, "ended": ended, "jobs": taken, "place": shown}
    return f"DEQUEUE response: {json.dumps(answer)}"


def _shown(digits: str, deliveries: int, value: str) -> dict[str, object]:
    return {"number": int(digits), "deliveries": deliveries, "value": value}


def _take_over(store: Store, asked: Dequeue, worker: _Worker) -> list[dict[str, object]]:
    """Take jobs over from other claims that hold them by these tokens; return them. They stay with
    their claims if all of them would be too long for a reply."""
    taken, size = list[dict[str, object]](), 0
    for number, token, _, holder in asked.named:
        digits = _indexed(int(number))
        key = f"{asked.prefix}held/{holder}/{digits}"
        facts = store.facts(key) if holder else None
        value = store.get(f"{asked.prefix}jobs/{digits}")
        if facts is None or facts.changed != token:
            continue
        if value is None:  # nothing else is left of the job
            del store[key]
        else:
            size += len(json.dumps(real(value)))
            if taken and size > TAKEN_BYTES:
                break
            deliveries = whole_number(store.pop(key).partition("/")[0]) or 0
            _deliver(store, asked.prefix, digits, deliveries, worker)
            taken.append(_shown(digits, deliveries, real(value)))
    return taken


def _place_in_line(store: Store, prefix: str, claim: str) -> str | None:
    """Return the key of a worker that waits; None if it does not wait."""
    return min(_numbered(store, prefix, claim, _IDLE), default=None)


def _leave_line(store: Store, prefix: str, claim: str) -> None:
    place = _place_in_line(store, prefix, claim)
    if place is not None:
        del store[place]


def _jobs_of(store: Store, prefix: str, claim: str) -> list[str]:
    """Return the keys of the jobs that a worker holds, in the order of their numbers. They are
    among the keys of its lease."""
    held, keys = f"{prefix}held/{claim}/", list[str]()
    for key in store.leased.get(lease_of(claim), ()):
        match = _HELD_JOB.fullmatch(key) if key.startswith(held) else None
        if match is not None and match[2] == claim:  # and not one with a number after the lease
            keys.append(key)
    return sorted(keys)


def _end_jobs(store: Store, asked: Dequeue) -> list[int]:
    """End the jobs that a worker holds by these tokens; return their numbers."""
    numbers = []
    for number, token, is_back, holder in asked.named:
        digits = _indexed(int(number))
        key = f"{asked.prefix}held/{asked.claim}/{digits}"
        facts = store.facts(key)
        if facts is None or facts.changed != token or holder:
            continue
        count = store.pop(key)
        if is_back:
            _give_back(store, asked.prefix, digits, count)
        else:
            store.pop(f"{asked.prefix}jobs/{digits}", None)
        numbers.append(int(number))
    return numbers


def _give_back(store: Store, prefix: str, digits: str, count: str) -> None:
    """Make a held job wait again; `count` is the value of that key. If it was delivered as
    often as its worker allowed, it is dead."""
    deliveries, _, limit = count.partition("/")
    made, most = whole_number(deliveries) or 0, whole_number(limit) or 0
    if 0 < most <= made:
        _set_for_job(store, prefix, "dead", digits, made)
    else:
        _let_wait(store, prefix, digits, made)


def _let_wait(store: Store, prefix: str, digits: str, deliveries: int) -> None:
    _set_for_job(store, prefix, "wait", digits, deliveries)


def _set_for_job(store: Store, prefix: str, kind: str, digits: str, deliveries: int) -> None:
    """Set a key of a job to the count of its deliveries. It counts for the user of the job."""
    facts = store.facts(f"{prefix}jobs/{digits}")
    if facts is not None:  # else nothing is left of the job
        store.put_for(facts.user, "", f"{prefix}{kind}/{digits}", str(deliveries))


def _next_job(store: Store, prefix: str, deliveries_max: int) -> _Job | None:
    """Return the first job that waits and was not delivered as often as that; 0 means no limit. A
    job that was is dead, and a waiting one without a value is removed, some at each look."""
    wait = f"{prefix}wait/"
    for _ in range(_ORPHANS):
        key = keys_of(store).first(wait, store.held)
        if key is None:
            return None
        digits = key[len(wait) :]
        value = store.get(f"{prefix}jobs/{digits}")
        deliveries = max(0, whole_number(store[key]) or 0)
        if value is not None and not 0 < deliveries_max <= deliveries:
            return _Job(digits, deliveries, value)
        del store[key]
        _set_for_job(store, prefix, "dead", digits, deliveries)
    return None


def _deliver(store: Store, prefix: str, digits: str, deliveries: int, to: _Worker) -> None:
    """Hand a job to a worker."""
    held = f"{prefix}held/{to.claim}/{digits}"
    store.put_for(to.user, to.lease, held, f"{deliveries}/{to.deliveries_max}")
    store.pop(f"{prefix}wait/{digits}", None)


class _Worker(NamedTuple):
    """A worker in line: its claim, how many jobs it takes, and for what its keys count."""

    claim: str
    jobs_max: int
    deliveries_max: int
    user: str
    lease: str


def _first_worker(store: Store, prefix: str) -> tuple[str, _Worker] | None:
    """Return the first place in line, and its worker."""
    idle = f"{prefix}idle/"
    place = keys_of(store).first(idle, store.held)
    facts = None if place is None else store.facts(place)
    if place is None or facts is None:
        return None
    _, wanted, claim = place[len(idle) :].split("/", 2)
    count, _, most = wanted.partition(".")
    return place, _Worker(claim, max(1, int(count)), int(most), facts.user, facts.lease)


def _add(store: Store, prefix: str, digits: str) -> None:
    """Hand a job that counts as never delivered to the first worker in line, or let it wait."""
    first = _first_worker(store, prefix)
    if first is None or keys_of(store).count(f"{prefix}wait/"):
        _let_wait(store, prefix, digits, 0)
        _serve(store, prefix)
        return
    place, worker = first
    _deliver(store, prefix, digits, 1, worker)
    del store[place]


def _serve(store: Store, prefix: str) -> None:
    """Hand waiting jobs to the workers in line, in strict order; each leaves the line."""
    while (first := _first_worker(store, prefix)) is not None:
        place, worker = first
        taken = 0
        while taken < worker.jobs_max:
            job = _next_job(store, prefix, worker.deliveries_max)
            if job is None:
                break
            _deliver(store, prefix, job.digits, job.deliveries + 1, worker)
            taken += 1
        if not taken:
            return
        del store[place]


# --- the end of a lease -------------------------------------------------------------------------


def _ending(store: Store, leases: Sequence[str]) -> Callable[[], None]:
    """Note the seats, the places and the jobs under these leases. Afterwards, give what is free to
    those that wait."""
    lines, jobs = set[str](), list[tuple[str, str, str]]()
    for lease in leases:
        for key in store.leased.get(lease, ()):
            match = _HELD_JOB.fullmatch(key)
            if match is not None:
                jobs.append((match[1], match[3], store[key]))
            elif prefix := lock_of(key):
                lines.add(prefix)
    return partial(_give_to_waiting, store, sorted(lines), sorted(jobs))


def _give_to_waiting(
    store: Store, lines: Sequence[str], jobs: Sequence[tuple[str, str, str]]
) -> None:
    for prefix in lines:
        _seat_line(store, prefix)
    for prefix, digits, count in jobs:
        _give_back(store, prefix, digits, count)
    for prefix in sorted({prefix for prefix, _, _ in jobs}):
        _serve(store, prefix)


ENDINGS.append(LeaseEnding(_ending, _waiting_for))
