"""After any sequence of holds, jobs, ends of leases and deletions by hand, the keys are those of a
small model, which has lists where the state machine has keys and an index of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from raftline.state.commands.key_commands import execute
from raftline.state.lease_table import format_expiry
from raftline.state.store import Store
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
TERM = 4
STEPS = 150


class Line:
    """One lock: its seats in the order in which they were taken, and its line."""

    def __init__(self) -> None:
        self.seats: dict[str, str] = {}  # by claim
        self.places: list[tuple[int, str, str]] = []  # the entry, the mode, the claim

    def hold(self, number: int, mode: str, claim: str, is_now: bool) -> None:
        if claim in self.seats or any(claim == place[2] for place in self.places):
            self.serve(number)
        elif not self.places and (seat := self._free(number, mode, 1)):
            self.seats[claim] = seat
        elif not is_now:
            self.places.append((number, mode, claim))
            self.serve(number)

    def drop(self, claim: str) -> None:
        if self.seats.pop(claim, None) is None:
            self.places = [place for place in self.places if place[2] != claim]

    def serve(self, number: int) -> None:
        while self.places and (seat := self._free(number, self.places[0][1], len(self.places))):
            self.seats[self.places.pop(0)[2]] = seat

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

    def expected(self) -> set[str]:
        seats = {f"held/{seat}/{claim}" for claim, seat in self.seats.items()}
        return seats | {f"line/{number:019}/{mode}/{claim}" for number, mode, claim in self.places}

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
        keys = {f"jobs/{job:019}": f"job {job}" for job in self.put - self.ended}
        keys |= {f"wait/{job:019}": str(count) for job, count in self.waiting.items()}
        keys |= {f"dead/{job:019}": str(count) for job, count in self.dead.items()}
        for job, (claim, _, count, most) in self.held.items():
            keys[f"held/{claim}/{job:019}"] = f"{count}/{most}"
        keys |= {"last": self.last} if self.last else {}
        return keys | {
            f"idle/{number:019}/{count}.{most}/{claim}": ""
            for number, count, most, claim in self.idle
        }

    def check(self) -> None:
        """Each job is in one place, and none is lost."""
        places = [*self.waiting, *self.held, *self.dead, *self.ended]
        assert sorted(places) == sorted(self.put)


class World:
    """The state machine and the model, with the same entries."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.store = Store(level=1)
        self.number = 0
        self.leases: list[str] = []
        self.lines = {prefix: Line() for prefix in PREFIXES}
        self.queues = {prefix: Jobs() for prefix in QUEUES}
        self.gone: set[tuple[str, str]] = set()  # a prefix, and a claim that was abandoned there

    def do(self, command: str) -> str:
        self.number += 1
        self.store.number, self.store.term = self.number, TERM
        return execute(self.store, command)

    def claim(self) -> str:
        return self.chance.choice(self.leases) + self.chance.choice(("", "/1", "/2"))

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
        mode, is_now = self.chance.choice(MODES), self.chance.random() < 0.2
        reply = self.do(f"hold {prefix} {mode} {'now ' * is_now}{claim} x")
        line = self.lines[prefix]
        if (prefix, claim) in self.gone:
            assert reply == f"HOLD response, abandoned: {claim}"
            return
        line.hold(self.number, mode, claim, is_now)
        assert reply.startswith("HOLD response: ") == (claim in line.seats)
        assert reply.startswith("HOLD response, in line") == (
            claim in [place[2] for place in line.places]
        )

    def unhold(self) -> None:
        prefix, claim = self.chance.choice(PREFIXES), self.claim()
        self.do(f"unhold {prefix} {claim}")
        self.lines[prefix].drop(claim)
        self.lines[prefix].serve(self.number)

    def abandon(self) -> None:
        prefix, claim = self.chance.choice([*PREFIXES, *QUEUES]), self.claim()
        jobs = self.queues.get(prefix)
        if jobs is not None:
            having = [each[3] for each in jobs.idle]
            having += [each[0] for each in jobs.held.values()]
        else:
            having = [*self.lines[prefix].seats]
        if having and self.chance.random() < 0.7:
            claim = self.chance.choice(having)
        assert self.do(f"abandon {prefix} {claim}") == f"ABANDON response: {claim}"
        self.gone.add((prefix, claim))
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
        for line in self.lines.values():
            lost = [each for each in [*line.seats, *(place[2] for place in line.places)]
                    if each.partition("/")[0] in ending]  # fmt: skip
            for claim in lost:
                line.drop(claim)
            if lost:
                line.serve(self.number)
        for jobs in self.queues.values():
            jobs.end_claims(self.number, lambda claim: claim.partition("/")[0] in ending)
        self.gone = {each for each in self.gone if each[1].partition("/")[0] not in ending}

    def enqueue(self) -> None:
        prefix = self.chance.choice(QUEUES)
        jobs = self.queues[prefix]
        job = jobs.next_number(self.number + 1)
        assert self.do(f"enqueue {prefix} job {job}") == f"ENQUEUE response: {job}"
        assert jobs.add(self.number) == job

    def transaction(self) -> None:
        """A worker ends a job and puts others in one step, or nothing is done."""
        prefix = self.chance.choice(QUEUES)
        jobs = self.queues[prefix]
        first = jobs.next_number(self.number + 1)
        numbers = range(first, first + self.chance.randint(1, 3))
        operations = [rf"enqueue {prefix} job\s{number}" for number in numbers]
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
        self.do(f"requeue {prefix} {job}")
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
        for each in (claim, waiter):
            if (prefix, each) in self.gone:
                assert reply == f"DEQUEUE response, abandoned: {each}"
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
        elif count and not is_now and waiter not in [each[3] for each in jobs.idle]:
            jobs.idle.append((self.number, count, most, waiter))
        answer = json.loads(reply.partition(": ")[2])
        assert sorted(answer["ended"]) == sorted(ended + back)
        assert [job["number"] for job in answer["jobs"]] == taken

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
        store.replace(dict(store.held), 1, store.leases, store.leased, self.number)

    def check(self) -> None:
        expected = {
            f"{prefix}{key}": "x" for prefix, line in self.lines.items() for key in line.expected()
        }
        for prefix, jobs in self.queues.items():
            expected |= {f"{prefix}{key}": value for key, value in jobs.expected().items()}
            jobs.check()
        expected |= {f"{prefix}gone/{claim}": "" for prefix, claim in self.gone}
        assert dict(self.store) == expected
        for line in self.lines.values():
            line.check()


@pytest.mark.parametrize(("first", "count"), [(0, 40), *at_night((40, 2000))])
def test_the_keys_are_those_of_the_model(first: int, count: int) -> None:
    for seed in range(first, first + count):
        world = World(random.Random(seed))
        for _ in range(STEPS):
            world.step()
            world.check()
