"""Death and failure at every step that reaches the disk, and what the next start knows."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.storage.disk import StorageError
from raftline.storage.recovery import Recovered
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import boot, known, log_file, storage_file
from raftline_testing.runner.at_night import for_seeds

POWER_CUTS = 6
LONG = "set long " + "v" * 900  # spans blocks, so that holes fall inside an entry

# The writes that a node has to make durable, one persist after the other.
SCRIPT: list[list[Effects]] = [
    [Effects(save=HardState(1, "s1"))],
    [Effects(append=[Entry(1, 1, "noop")])],
    [Effects(append=[Entry(2, 1, "set a 1")]), Effects(append=[Entry(3, 1, LONG)])],
    [Effects(append=[Entry(4, 1, "set a 2"), Entry(5, 1, LONG)])],
    [Effects(save=HardState(2, None))],
    [Effects(cut_after=3, append=[Entry(4, 2, "noop")])],
    [Effects(save=HardState(3, "s2"), append=[Entry(5, 2, "set b 1")]),
     Effects(cut_after=4, append=[Entry(5, 3, "noop"), Entry(6, 3, LONG)])],
    [Effects(append=[Entry(7, 3, "delete a")])],
]  # fmt: skip


class Knowledge:
    """Return the state that a node must know after that number of the script's writes."""

    def __init__(self, works: list[list[Effects]]) -> None:
        self.hard_state = HardState(0, None)
        self.log: list[Entry] = []
        for work in (work for persist in works for work in persist):
            if work.save is not None:
                self.hard_state = work.save
            if work.cut_after is not None:
                del self.log[work.cut_after :]
            self.log += work.append

    def agrees(self, recovered: Recovered) -> bool:
        return known(recovered) == self.log and recovered.hard_state == self.hard_state


def run_until_fault(folder: MemoryFolder) -> int:
    """Start and carry out the script; return how many persists were acknowledged."""
    done = 0
    try:
        manager, _ = boot(folder)
        for works in SCRIPT:
            manager.persist(works)
            done += 1
    except (Died, StorageError):
        pass
    return done


def steps_of_the_script() -> int:
    folder = MemoryFolder()
    assert run_until_fault(folder) == len(SCRIPT)
    return folder.steps


def ends_after(folder: MemoryFolder, seed: int) -> Iterator[MemoryFolder]:
    """Yield what kill -9 leaves, several outcomes of a power cut, and of both in a row."""
    yield folder.kill()
    for cut in range(POWER_CUTS):
        random = Random(f"{seed} {cut}")
        yield folder.crash(random)
        killed = folder.kill()
        boot(killed)
        yield killed.crash(random)


def check_nothing_lost(recovered: Recovered, done: int, context: str) -> None:
    """Everything acknowledged is there; of the persist under way all, nothing, or its save."""
    before = Knowledge(SCRIPT[:done])
    after = Knowledge(SCRIPT[: done + 1])
    assert recovered.hard_state in (before.hard_state, after.hard_state), context
    assert known(recovered) in (before.log, after.log), context
    if known(recovered) != before.log:
        assert recovered.hard_state == after.hard_state, context
    assert not recovered.recovering, context


@pytest.mark.parametrize("kind", Kind)
def test_a_fault_at_any_step_loses_nothing_acknowledged(kind: Kind) -> None:
    tried = 0
    for step in range(1, steps_of_the_script() + 1):
        folder = MemoryFolder(fault=Fault(step, kind))
        done = run_until_fault(folder)
        assert done < len(SCRIPT) or kind is Kind.DIE_AFTER
        folder.is_dead, folder.fault = False, None
        for end in ends_after(folder, step):
            _, recovered = boot(end)
            check_nothing_lost(recovered, done, f"{kind} at step {step}")
            tried += 1
    assert tried > 500


def test_a_node_works_after_any_fault_and_a_second_start() -> None:
    for step in range(1, steps_of_the_script() + 1):
        folder = MemoryFolder(fault=Fault(step, Kind.TEAR))
        run_until_fault(folder)
        end = folder.crash(Random(step))
        manager, recovered = boot(end)
        log = recovered.log
        more = Entry(log.last_index + 1, max(log.last_term, 3), "set z 26")
        manager.persist([Effects(save=HardState(3, None), append=[more])])
        manager.close()
        _, again = boot(end.crash(Random(step)))
        assert known(again) == [*known(recovered), more]
        assert again.hard_state == HardState(3, None)


@pytest.mark.parametrize("kind", [Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR_WITH_HOLE])
def test_a_death_during_recovery_itself_loses_nothing(kind: Kind) -> None:
    log = log_file(b"1 1 a\n2 1 b\n", b"# cut after 1\n2 2 c\n", b"3 2 d\n")
    torn = {"s1.log": log + b"4 2 se", "s1.storage": storage_file(2, "s2", mark=(2, 1)),
            "s1.log.tmp": b"left over"}  # fmt: skip
    expected = [Entry(1, 1, "a"), Entry(2, 2, "c"), Entry(3, 2, "d")]
    check_every_step(torn, kind, expected, HardState(2, "s2"), recovering=False)


@pytest.mark.parametrize("kind", [Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR])
def test_a_death_while_amnesia_is_noted_does_not_hide_it(kind: Kind) -> None:
    lost = {"s1.storage": storage_file(2, "s2", mark=(3, 2))}
    check_every_step(lost, kind, [], HardState(2, "s2"), recovering=True)
    unmarked = {"s1.storage": storage_file(2, "s2")}  # the mark is not synced by itself
    check_every_step(unmarked, kind, [], HardState(2, "s2"), recovering=True)
    short = {"s1.log": log_file(b"1 1 a\n"), **lost}
    check_every_step(short, kind, [Entry(1, 1, "a")], HardState(2, "s2"), recovering=True)


@pytest.mark.parametrize("kind", [Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR, Kind.TEAR_WITH_HOLE])
def test_a_death_during_adoption_is_made_good_by_the_next_start(kind: Kind) -> None:
    seed = b"0 1 set a 4\n1 2 set b 30\n"
    expected = [Entry(1, 1, "set a 4"), Entry(2, 2, "set b 30")]
    end = check_every_step({"s1.log": seed}, kind, expected, HardState(2, None), recovering=False)
    assert end.content("s1.log.seed") == seed


def check_every_step(
    files: dict[str, bytes], kind: Kind, log: list[Entry], hard_state: HardState, recovering: bool
) -> MemoryFolder:
    """Start from `files` with a fault at each step in turn; the start after it must agree."""
    whole = MemoryFolder(files)
    boot(whole)
    end = whole
    for step in range(1, whole.steps + 1):
        folder = MemoryFolder(files, Fault(step, kind))
        with pytest.raises(Died):
            boot(folder)
        for cut in range(POWER_CUTS):
            for end in (folder.crash(Random(f"{step} {cut}")), folder.kill()):
                _, recovered = boot(end)
                assert known(recovered) == log, step
                assert recovered.hard_state == hard_state, step
                assert recovered.recovering is recovering, step
    return end


def test_a_node_without_room_works_once_there_is_room() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.persist([Effects(save=HardState(1, "s1"), append=[Entry(1, 1, "noop")])])
    folder.fault = Fault(folder.steps + 1, Kind.ENOSPC)
    with pytest.raises(StorageError, match="free some space"):
        manager.persist([Effects(append=[Entry(2, 1, LONG)])])
    manager.close()
    manager, recovered = boot(folder)
    assert known(recovered) == [Entry(1, 1, "noop")]
    assert any("dropped" in note for note in recovered.notes)
    assert manager.persist([Effects(append=[Entry(2, 1, LONG)])]) == (2, 1)


def test_a_log_cut_at_any_byte_by_another_program_is_noticed() -> None:
    folder = MemoryFolder()
    assert run_until_fault(folder) == len(SCRIPT)
    files = folder.contents()
    log = files["s1.log"]
    for end in range(0, len(log), 7):
        try:
            _, recovered = boot(MemoryFolder(files | {"s1.log": log[:end]}))
        except StorageError:
            continue
        assert recovered.recovering
        assert recovered.hard_state == HardState(3, "s2")


class Life:
    """A node that is asked random things and dies again and again."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.folder = MemoryFolder()
        self.hard_state = HardState(0, None)
        self.log: list[Entry] = []

    def random_works(self) -> list[Effects]:
        random, works = self.random, []
        term, vote = self.hard_state[:2]
        last = len(self.log)
        for _ in range(random.randint(1, 3)):
            work = Effects()
            if random.random() < 0.3 or not term:
                term, vote = term + 1, random.choice([None, "s1", "s2"])
                work.save = HardState(term, vote)
                if last and random.random() < 0.5:
                    last = work.cut_after = random.randint(max(0, last - 4), last - 1)
            for _ in range(random.randint(0, 3)):
                last += 1
                value = "v" * random.choice([1, 30, 700])
                work.append.append(Entry(last, term, f"set k{random.random()} {value}"))
            works.append(work)
        return works

    def after(self, works: list[Effects]) -> tuple[HardState, list[Entry]]:
        hard_state, log = self.hard_state, list(self.log)
        for work in works:
            hard_state = work.save or hard_state
            if work.cut_after is not None:
                del log[work.cut_after :]
            log += work.append
        return hard_state, log

    def live(self, context: str) -> None:
        """Start, check, write until a fault strikes, and be cut off."""
        folder, random = self.folder, self.random
        under_way = (self.hard_state, self.log)
        folder.fault = Fault(random.randint(1, 60), random.choice(list(Kind)))
        try:
            manager, recovered = boot(folder)
            self.check(recovered, under_way, context)
            for _ in range(20):
                works = self.random_works()
                under_way = self.after(works)
                manager.persist(works)
                self.hard_state, self.log = under_way
        except (Died, StorageError):
            pass
        folder.is_dead, folder.fault = False, None
        self.folder = folder.kill() if random.random() < 0.4 else folder.crash(random)
        settled, recovered = boot(self.folder)
        settled.close()
        self.check(recovered, under_way, context)

    def check(
        self, recovered: Recovered, under_way: tuple[HardState, list[Entry]], context: str
    ) -> None:
        assert not recovered.recovering, context
        assert recovered.hard_state in (self.hard_state, under_way[0]), context
        assert known(recovered) in (self.log, under_way[1]), context
        self.hard_state, self.log = recovered.hard_state, known(recovered)


@for_seeds(20, 200)
def test_a_node_that_dies_again_and_again_keeps_every_promise(seed: int) -> None:
    life = Life(seed)
    for number in range(12):
        life.live(f"seed {seed}, life {number}")
    assert life.hard_state.term > 0


def test_the_simulated_disk_forgets_exactly_the_unsynced_bytes() -> None:
    folder = MemoryFolder()
    folder.replace("s1.log", [b"synced "])
    file = folder.open_append("s1.log")
    file.append(b"and not")
    found = {folder.crash(Random(seed)).content("s1.log") for seed in range(200)}
    assert b"synced " in found
    assert b"synced and not" in found
    assert b"synced \0\0\0\0\0\0\0" in found
    assert all(data.startswith(b"synced ") for data in found)
    file.sync()
    assert {folder.crash(Random(seed)).content("s1.log") for seed in range(50)} == {
        b"synced and not"
    }
