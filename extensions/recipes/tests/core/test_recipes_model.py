"""After any sequence of holds, jobs, ends of leases and deletions by hand, keys and replies are
those of a small model, which has lists where the state machine has keys and an index of them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import pytest

from raftline.state.commands.key_commands import execute
from raftline.state.lease_table import format_expiry
from raftline.state.store import Store
from raftline.wire.commands.transaction_line import format_word
from raftline_testing.runner.at_night import at_night

PREFIXES = ("a/", "a/line/", "b/")
QUEUES = ("q/", "q/jobs/")
MODES = (
    "alone",
    "alone",
    "shared",
    "shared",
    "1",
    "2",
    "3",
    "together:1",
    "together:2",
    "together:3",
)
OF_ONE_KIND = (("2", "3"), ("together:2", "together:3"), ("shared", "shared", "alone"))
TERM = 4
STEPS = 150


class Line:
    """One lock: its seats in the order in which they were taken, and its line."""

    def __init__(self) -> None:
        self.seats: dict[str, str] = {}  # by claim
        self.tokens: dict[str, int] = {}  # the entries that gave these
        self.values: dict[str, str] = {}  # of all claims that hold it or wait
        self.places: list[tuple[int, str, str]] = []  # the entry, the mode, the claim

    def hold(self, number: int, mode: str, claim: str, is_now: bool) -> None:
        if self.key_of(claim):
            self.serve(number)
        elif not self.places and (seat := self._free(number, mode, 1)):
            self.seats[claim], self.tokens[claim] = seat, number
            self.values[claim] = f"of {number}"
        elif not is_now:
            self.places.append((number, mode, claim))
            self.values[claim] = f"of {number}"
            self.serve(number)

    def drop(self, claim: str) -> None:
        if self.seats.pop(claim, None) is None:
            self.places = [place for place in self.places if place[2] != claim]

    def serve(self, number: int) -> None:
        while self.places and (seat := self._free(number, self.places[0][1], len(self.places))):
            claim = self.places.pop(0)[2]
            self.seats[claim], self.tokens[claim] = seat, number

    def key_of(self, claim: str) -> str:
        """Return the key of the seat of a claim, or of its place; "" if it has neither."""
        if claim in self.seats:
            return f"held/{self.seats[claim]}/{claim}"
        return next((f"line/{n:019}/{mode}/{each}" for n, mode, each in self.places
                     if each == claim), "")  # fmt: skip

    def _free(self, number: int, mode: str, waiting: int) -> str:
        taken = set(self.seats.values())
        if mode.startswith("together:"):
            if taken:
                return max(taken) if max(taken).startswith("together") else ""
            return f"together/{number:019}" if waiting >= int(mode[9:]) else ""
        if mode == "alone":
            return "" if taken else "alone"
        if mode == "shared":
            return "" if taken - {"shared"} else "shared"
        numbers = [f"{number:04}" for number in range(1, int(mode) + 1)]
        free = [number for number in numbers if number not in taken]
        return free[0] if free and all(each.isdecimal() for each in taken) else ""

    def expected(self) -> dict[str, str]:
        claims = [*self.seats, *(claim for _, _, claim in self.places)]
        return {self.key_of(claim): self.values[claim] for claim in claims}

    def changed(self) -> dict[str, int]:
        """Return the entries that set these keys."""
        entries = {claim: number for number, _, claim in self.places}
        entries |= {claim: self.tokens[claim] for claim in self.seats}
        return {self.key_of(claim): number for claim, number in entries.items()}

    def check(self) -> None:
        """At most one alone, never along with others; each seat of a semaphore once; one round."""
        seats = list(self.seats.values())
        kinds = {"seats" if seat.isdecimal() else seat for seat in seats}
        assert len(kinds) <= 1
        assert kinds - {"alone", "seats"} or len(seats) == len(set(seats))


class Jobs:
    """One queue: its jobs by number, and the workers that wait."""

    def __init__(self) -> None:
        self.waiting: dict[int, int] = {}  # deliveries
        self.held: dict[int, tuple[str, int, int, int]] = {}  # claim, token, deliveries, most
        self.dead: dict[int, int] = {}
        self.idle: list[tuple[int, int, int, str]] = []  # the entry, count, most, claim
        self.put: set[int] = set()
        self.ended: set[int] = set()
        self.last = ""  # the number of the newest job, if it is not that of its entry

    def next_number(self, number: int) -> int:
        """Return the number of the next job, if it is put by this entry."""
        return max([number, *(job + 1 for job in self.put)])

    def add(self, number: int) -> int:
        """Put a job by this entry; return its number."""
        job = self.next_number(number)
        self.last = str(job) if job > number else ""
        self.put.add(job)
        self.waiting[job] = 0
        self.serve(number)
        return job

    def take(self, number: int, claim: str, count: int, most: int) -> list[int]:
        taken: list[int] = []
        for job in sorted(self.waiting):
            if len(taken) < count:
                deliveries = self.waiting.pop(job)
                if most and deliveries >= most:
                    self.dead[job] = deliveries
                else:
                    self.held[job] = claim, number, deliveries + 1, most
                    taken.append(job)
        return taken

    def serve(self, number: int) -> None:
        while self.idle:
            _, count, most, claim = self.idle[0]
            if not self.take(number, claim, count, most):
                return
            self.idle.pop(0)

    def leave(self, claim: str) -> None:
        self.idle = [each for each in self.idle if each[3] != claim]

    def end_claims(self, number: int, claims: Callable[[str], bool]) -> None:
        """Take all from these claims."""
        self.idle = [each for each in self.idle if not claims(each[3])]
        for job in sorted(job for job, each in self.held.items() if claims(each[0])):
            self.give_back(job)
        self.serve(number)

    def give_back(self, job: int) -> None:
        _, _, deliveries, most = self.held.pop(job)
        if most and deliveries >= most:
            self.dead[job] = deliveries
        else:
            self.waiting[job] = deliveries

    def expected(self) -> dict[str, str]:
        keys = {f"jobs/{job:019}": value_of(job) for job in self.put - self.ended}
        keys |= {f"wait/{job:019}": str(count) for job, count in self.waiting.items()}
        keys |= {f"dead/{job:019}": str(count) for job, count in self.dead.items()}
        for job, (claim, _, count, most) in self.held.items():
            keys[f"held/{claim}/{job:019}"] = f"{count}/{most}"
        keys |= {"last": self.last} if self.last else {}
        return keys | dict.fromkeys(filter(None, map(self.place_of, self.claims_in_line)), "")

    @property
    def claims_in_line(self) -> list[str]:
        return [each[3] for each in self.idle]

    def place_of(self, claim: str) -> str:
        """Return the key of the place in line of a claim, "" if it has none."""
        return next((f"idle/{number:019}/{count}.{most}/{each}"
                     for number, count, most, each in self.idle if each == claim), "")  # fmt: skip

    def changed(self) -> dict[str, int]:
        """Return the entries that set the keys of jobs that are held, and of places in line."""
        held = self.held.items()
        entries = {f"held/{claim}/{job:019}": token for job, (claim, token, _, _) in held}
        return entries | {self.place_of(each[3]): each[0] for each in self.idle}

    def check(self) -> None:
        """Each job is in one place, and none is lost."""
        places = [*self.waiting, *self.held, *self.dead, *self.ended]
        assert sorted(places) == sorted(self.put)


def value_of(job: int) -> str:
    return f"job {job}" if job % 5 else ""


def lease_of(key: str) -> str:
    """Return the lease in a key, "" if it has none."""
    found = re.search(r"lease-[0-9]+", key)
    return found[0] if found else ""


class World:
    """The state machine and the model, with the same entries."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.store = Store(is_at_floor=False)
        self.number = 0
        self.leases: list[str] = []
        self.lines = {prefix: Line() for prefix in PREFIXES}
        self.queues = {prefix: Jobs() for prefix in QUEUES}
        self.ended: list[str] = []  # leases
        self.gone: dict[str, int] = {}  # the keys of claims that were abandoned, and their entries
        self.modes = {prefix: chance.choice((MODES, *OF_ONE_KIND)) for prefix in PREFIXES}

    def do(self, command: str) -> str:
        self.number += 1
        self.store.number, self.store.term = self.number, TERM
        return execute(self.store, command)

    def claim(self) -> str:
        leases = self.ended if self.ended and self.chance.random() < 0.05 else self.leases
        return self.chance.choice(leases) + self.chance.choice(("", "/1", "/2"))

    def refusal(self, verb: str, prefix: str, *claims: str) -> str:
        """Return the reply to a request of claims that may do nothing, "" if they may."""
        for claim in claims:
            if lease_of(claim) not in self.leases:
                return f"{verb} response, no such lease: {lease_of(claim)}"
            if f"{prefix}gone/{claim}" in self.gone and verb != "ABANDON":
                return f"{verb} response, abandoned: {claim}"
        return ""

    def step(self) -> None:
        if len(self.leases) < 2 or (len(self.leases) < 5 and self.chance.random() < 0.1):
            self.do("lease 10")
            self.leases.append(f"lease-{self.number}")
            return
        steps = [self.hold, self.hold, self.unhold, self.by_hand, self.enqueue, self.enqueue]
        steps += [self.dequeue, self.dequeue, self.dequeue, self.requeue, self.end, self.reload]
        steps += [self.abandon, self.transaction, self.transaction]
        self.chance.choice(steps)()

    def hold(self) -> None:
        prefix, claim = self.chance.choice(PREFIXES), self.claim()
        mode, is_now = self.chance.choice(self.modes[prefix]), self.chance.random() < 0.2
        value = f"of {self.number + 1}"
        reply = self.do(f"hold {prefix} {mode} {'now ' * is_now}{claim} {value}")
        line = self.lines[prefix]
        if refusal := self.refusal("HOLD", prefix, claim):
            assert reply == refusal
            return
        line.hold(self.number, mode, claim, is_now)
        key = f"{prefix}{line.key_of(claim)}"
        if claim in line.seats:
            assert reply == f"HOLD response: {key} {line.tokens[claim]}"
        else:
            assert reply == f"HOLD response, {'not free' if key == prefix else 'in line'}: {key}"

    def unhold(self) -> None:
        prefix, claim = self.chance.choice(PREFIXES), self.claim()
        key = self.lines[prefix].key_of(claim)
        done = f": {prefix}{key}" if key else f", no such claim: {claim}"
        assert self.do(f"unhold {prefix} {claim}") == f"UNHOLD response{done}"
        self.lines[prefix].drop(claim)
        self.lines[prefix].serve(self.number)

    def abandon(self) -> None:
        prefix, claim = self.chance.choice([*PREFIXES, *QUEUES]), self.claim()
        jobs = self.queues.get(prefix)
        if jobs is not None:
            having = [*jobs.claims_in_line]
            having += [each[0] for each in jobs.held.values()]
        else:
            having = [*self.lines[prefix].seats]
        if having and self.chance.random() < 0.7:
            claim = self.chance.choice(having)
        refusal = self.refusal("ABANDON", prefix, claim)
        assert self.do(f"abandon {prefix} {claim}") == (refusal or f"ABANDON response: {claim}")
        if refusal:
            return
        self.gone.setdefault(f"{prefix}gone/{claim}", self.number)
        if jobs is not None:
            jobs.end_claims(self.number, claim.__eq__)
        else:
            self.lines[prefix].drop(claim)
            self.lines[prefix].serve(self.number)

    def by_hand(self) -> None:
        """A person deletes the key of a seat or of a place, which serves nobody."""
        prefix = self.chance.choice(PREFIXES)
        keys = sorted(self.lines[prefix].expected())
        if keys:
            key = self.chance.choice(keys)
            assert self.do(f"delete {prefix}{key}").endswith("deleted")
            self.lines[prefix].drop(key[key.index("lease-") :])

    def end(self) -> None:
        ending = self.chance.sample(self.leases, self.chance.randint(1, 2))
        if len(ending) == 1 and self.chance.random() < 0.5:
            self.do(f"release {ending[0]}")
        else:
            self.do(format_expiry(TERM, ending))
        for lease in ending:
            self.leases.remove(lease)
            self.ended.append(lease)
        for line in self.lines.values():
            lost = [each for each in [*line.seats, *(place[2] for place in line.places)]
                    if each.partition("/")[0] in ending]  # fmt: skip
            for claim in lost:
                line.drop(claim)
            if lost:
                line.serve(self.number)
        for jobs in self.queues.values():
            jobs.end_claims(self.number, lambda claim: claim.partition("/")[0] in ending)
        self.gone = {key: at for key, at in self.gone.items() if lease_of(key) not in ending}

    def enqueue(self) -> None:
        prefix = self.chance.choice(QUEUES)
        jobs = self.queues[prefix]
        job = jobs.next_number(self.number + 1)
        assert self.do(f"enqueue {prefix} {value_of(job)}") == f"ENQUEUE response: {job}"
        assert jobs.add(self.number) == job

    def transaction(self) -> None:
        """A worker ends a job and puts others in one step, or nothing is done."""
        prefix = self.chance.choice(QUEUES)
        jobs = self.queues[prefix]
        first = jobs.next_number(self.number + 1)
        numbers = range(first, first + self.chance.randint(1, 3))
        operations = [f"enqueue {prefix} {format_word(value_of(number))}" for number in numbers]
        ended = self.chance.choice([None, *jobs.held])
        line = "txn "
        if ended is not None:
            held = f"{prefix}held/{jobs.held[ended][0]}/{ended:019}"
            line += f"if {held} unchanged since {jobs.held[ended][1]} then "
            operations += [f"delete {held}", f"delete {prefix}jobs/{ended:019}"]
        can = self.chance.random() < 0.7
        operations += [] if can else ["set word x", "incr word"]
        reply = self.do(line + " ; ".join(operations))
        if not can:
            assert reply.startswith("Sorry, ")
            return
        answers = json.loads(reply.removeprefix("TXN response, then: "))
        assert answers[: len(numbers)] == [str(number) for number in numbers]
        assert [jobs.add(self.number) for _ in numbers] == [*numbers]
        if ended is not None:
            del jobs.held[ended]
            jobs.ended.add(ended)

    def requeue(self) -> None:
        prefix = self.chance.choice(QUEUES)
        jobs = self.queues[prefix]
        job = self.chance.choice([*jobs.dead, 999])
        done = ":" if job in jobs.dead else ", no such job:"
        assert self.do(f"requeue {prefix} {job}") == f"REQUEUE response{done} {job}"
        if jobs.dead.pop(job, None) is not None:
            jobs.waiting[job] = 0
            jobs.serve(self.number)

    def dequeue(self) -> None:
        prefix, claim, chance = self.chance.choice(QUEUES), self.claim(), self.chance
        jobs = self.queues[prefix]
        count, most, is_now = chance.randint(0, 3), chance.choice((0, 2, 3)), chance.random() < 0.3
        waiter = claim if is_now or chance.random() < 0.7 else self.claim()
        words, ended, back, over = self.named(jobs, claim)
        now = "now " * is_now + f"as {waiter} " * (waiter != claim)
        reply = self.do(f"dequeue {prefix} {count} {most} {now}{claim}{''.join(words)}")
        if refusal := self.refusal("DEQUEUE", prefix, claim, waiter):
            assert reply == refusal
            return
        for job in ended:
            del jobs.held[job]
            jobs.ended.add(job)
        for job in back:
            jobs.give_back(job)
        if is_now or not count:
            jobs.leave(waiter)
        jobs.serve(self.number)
        for job in over:
            jobs.held[job] = (claim, self.number, jobs.held[job][2], most)
        taken = over + jobs.take(self.number, claim, max(0, count - len(over)), most)
        if taken:
            jobs.leave(waiter)
        elif count and not is_now and waiter not in jobs.claims_in_line:
            jobs.idle.append((self.number, count, most, waiter))
        place = jobs.place_of(waiter)
        answer = json.loads(reply.removeprefix("DEQUEUE response: "))
        assert sorted(answer.pop("ended")) == sorted(ended + back)
        assert answer == {
            "index": self.number, "place": f"{prefix}{place}" if place else None, "jobs": [
                {"number": job, "deliveries": jobs.held[job][2], "value": value_of(job)}
                for job in taken
            ],
        }  # fmt: skip

    def named(self, jobs: Jobs, claim: str) -> tuple[list[str], list[int], list[int], list[int]]:
        """Return words of a `dequeue`, and the jobs that it ends, gives back and takes over."""
        held, chance = jobs.held, self.chance
        words, ended, back, over = list[str](), list[int](), list[int](), list[int]()
        for job in [job for job in held if chance.random() < 0.6]:
            holder, token, _, _ = held[job]
            is_right = chance.random() < 0.9
            word = f" {job}:{token + (not is_right)}"
            kind = chance.choice(("", "", ":back", f":{holder}"))
            words.append(word + kind)
            of_kind = {"": ended, ":back": back}.get(kind, over)
            if is_right and (of_kind is over or holder == claim):
                of_kind.append(job)
        return words, ended, back, over

    def reload(self) -> None:
        """Go on from a snapshot: the index is made again."""
        store = self.store
        store.replace(dict(store.held), store.leases, store.leased, self.number)

    def check(self) -> None:
        expected, changed = dict.fromkeys(self.gone, ""), dict(self.gone)
        parts: dict[str, Line | Jobs] = {**self.lines, **self.queues}
        for prefix, part in parts.items():
            expected |= {f"{prefix}{key}": value for key, value in part.expected().items()}
            changed |= {f"{prefix}{key}": number for key, number in part.changed().items()}
            part.check()
        assert dict(self.store) == expected
        facts = {key: self.store.facts(key) for key in changed}
        assert {key: each.changed for key, each in facts.items() if each} == changed
        assert all(self.store.lease_of(key) == lease_of(key) for key in expected)


@pytest.mark.parametrize(("first", "count"), [(0, 40), *at_night((40, 2000))])
def test_the_keys_are_those_of_the_model(first: int, count: int) -> None:
    for seed in range(first, first + count):
        world = World(random.Random(seed))
        for _ in range(STEPS):
            world.step()
            world.check()
