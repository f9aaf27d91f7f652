"""The findings of `raftline fsck` in a node's files, and --repair: never a byte is lost."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from pathlib import Path
from random import Random

import pytest

from raftline.common.config import FILE_BYTES_MAX, FILE_NAME
from raftline.storage.disk import BuildRefused, DamagedFiles, FilesRefused
from raftline.storage.hard_state import Mark
from raftline.storage.repair import repair, repair_before_start
from raftline.storage.start_plan import Cure, Plan, nodes_in, read_plan
from raftline.tools.node_files.fsck import fsck
from raftline.tools.tests.damages import BEHIND, COMPACTED, DAMAGES, WHOLE, snapshot
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import (
    BASE,
    GOOD,
    SECOND,
    boot,
    known,
    log_file,
    storage_file,
)
from raftline_testing.runner.at_night import in_the_rest


def examine(files: dict[str, bytes]) -> Plan:
    """Return what is found, having checked that looking changes nothing."""
    folder = MemoryFolder(files)
    found = read_plan(folder, "s1")
    assert folder.contents() == files
    return found


def test_term_below_the_snapshots_can_be_repaired() -> None:
    """A term below the snapshots is refused and can be repaired."""
    folder = MemoryFolder({**COMPACTED, "s1.state_machine": snapshot(9, 6)})
    with pytest.raises(FilesRefused, match=r"says term 5, but s1\.state_machine has an entry of"):
        boot(folder)
    folder = folder.kill()
    repair(folder, read_plan(folder, "s1"))
    _, recovered = boot(folder)
    assert (recovered.hard_state.term, recovered.recovering) == (6, True)


def test_fsck_reports_sound_files_as_sound() -> None:
    for files in (WHOLE, COMPACTED):
        found = examine(files)
        assert (found.problems, found.notes) == ([], [])
        assert found.log is not None
        assert found.log.log.last_index == 5


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named_with_its_consequence(name: str) -> None:
    files, line, cure, costs_the_vote = DAMAGES[name]
    found = examine({**WHOLE, **files})
    assert len(found.problems) == 1
    assert str(found.problems[0]).startswith(line)
    assert "\n" not in str(found.problems[0])
    assert (found.problems[0].cure, found.problems[0].costs_the_vote) == (cure, costs_the_vote)


@pytest.mark.parametrize("name", [name for name in DAMAGES if DAMAGES[name][2] is not Cure.NONE])
def test_repair_leaves_no_damage_and_keeps_each_byte(name: str) -> None:
    """A repair leaves no damage, keeps each byte and lets the node start."""
    files, _, _, costs_the_vote = DAMAGES[name]
    folder = MemoryFolder({**WHOLE, **files})
    done = repair(folder, read_plan(folder, "s1"))
    assert done
    assert read_plan(folder, "s1").problems == []
    after = folder.contents()
    for file, data in files.items():
        kept = after.get(file, b"") + after.get(f"{file}.damaged-1", b"")
        assert kept == data or after[f"{file}.damaged-1"] == data or name == "no storage"
    manager, recovered = boot(folder)
    manager.close()
    assert recovered.recovering is costs_the_vote


def test_fsck_names_missing_files_and_accepts_a_recovering_node() -> None:
    for gone, what in (
        ("s1.storage", "s1.storage is gone. "),
        ("s1.log", "s1.log ends at entry 0, but entry 5 was synced before. It is missing or empty"),
    ):
        files = {name: data for name, data in WHOLE.items() if name != gone}
        found = examine(files)
        assert str(found.problems[0]).startswith(what)
        folder = MemoryFolder(files)
        repair(folder, found)
        found = read_plan(folder, "s1")
        assert found.problems == []
        assert found.notes == ["s1 has lost files, and no vote until it has caught up"]
        assert boot(folder)[1].recovering


def test_start_says_each_problem_and_then_each_cure() -> None:
    """Each two damages of one set of files."""
    several = 0
    for first, second in itertools.combinations(DAMAGES.values(), 2):
        files = {**WHOLE, **first[0], **second[0]}
        problems = [str(problem) for problem in examine(files).problems]
        folder = MemoryFolder(files)
        assert repair_before_start(folder, "s1")[: len(problems)] == problems
        several += len(problems) > 1
    assert several > 9


def test_the_sound_part_of_a_damaged_log_continues() -> None:
    folder = MemoryFolder({**WHOLE, "s1.log": GOOD.replace(b"b 30", b"b 31")})
    assert repair_before_start(folder, "s1")[-1].startswith("s1.log was cut to ")
    manager, recovered = boot(folder)
    manager.close()
    assert [entry.command for entry in known(recovered)] == ["noop", "set a 4"]
    assert recovered.recovering
    assert folder.content("s1.log.damaged-1").startswith(SECOND.replace(b"b 30", b"b 31"))


def test_a_second_repair_keeps_the_kept_files_of_the_first() -> None:
    folder = MemoryFolder({**WHOLE, "s1.log": GOOD + b"6 2 torn", "s1.log.damaged-1": b"before"})
    repair(folder, read_plan(folder, "s1"))
    assert folder.content("s1.log.damaged-1") == b"before"
    assert folder.content("s1.log.damaged-2") == b"6 2 torn"


@pytest.mark.parametrize(
    "files",
    [
        {**WHOLE, **DAMAGES["a flipped byte"][0]},
        {**WHOLE, **DAMAGES["a rotten snapshot that is needed"][0]},
        {"s1.log": BASE, "s1.storage": b"rot"},
    ],
)
def test_death_amid_a_repair_never_leaves_a_voting_node(files: dict[str, bytes]) -> None:
    """A death at any step of a repair never leaves a node that votes."""
    for step in range(1, 40):
        folder = MemoryFolder(files)
        folder.fault = Fault(step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            repair(folder, read_plan(folder, "s1"))
        left = folder.crash(Random(step))
        with contextlib.suppress(DamagedFiles, FilesRefused):
            assert boot(left)[1].recovering, step


def test_fsck_notes_stray_files_and_a_hand_written_log() -> None:
    found = examine({**WHOLE, "s1.log.new": b"half"})
    assert found.problems == []
    assert found.notes == [
        "s1.log.new was left by an interruption; the node removes it when it starts"
    ]
    assert examine({"s1.log": b"0 1 set a 4\n"}).notes == [
        "s1.log was written by hand; the node adopts it when it starts"
    ]


def test_a_log_by_hand_is_not_a_missing_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s1.log").write_bytes(b"0 1 set a 4\n")
    assert fsck([str(tmp_path)], None, repairs=False, as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "s1: s1.log was written by hand; the node adopts it when it starts",
        "s1: sound: it has not begun yet",
    ]


def test_a_log_by_hand_is_left_to_the_start_that_adopts_it() -> None:
    folder = MemoryFolder({"s1.log": b"0 1 set a 4\n"})
    assert repair_before_start(folder, "s1") == []
    booted = boot(folder)[1]
    assert booted.log.last_index == 1
    assert not booted.recovering


@pytest.mark.parametrize("rubbish", [b"hello world\n", b"\x93\x00\xff" * 99, b"0 1 set a 4\n"])
def test_a_damaged_log_is_not_taken_for_a_hand_written_one(rubbish: bytes) -> None:
    # A node that has begun never adopts a log: it is damage, and the start mends it.
    folder = MemoryFolder({**WHOLE, "s1.log": rubbish})
    with pytest.raises(DamagedFiles):
        boot(folder)
    (problem,) = read_plan(folder, "s1").problems
    assert "sound before it: nothing" in str(problem)
    repair_before_start(folder, "s1")
    assert folder.content("s1.log.damaged-1") == rubbish
    assert boot(folder)[1].recovering


def test_a_node_that_has_not_begun_is_sound() -> None:
    folder = MemoryFolder()
    boot(folder)[0].close()
    assert examine(folder.contents()).problems == []
    assert folder.content("s1.log") == BASE
    assert Mark(0, 0) == read_plan(folder, "s1").promise.mark  # type: ignore[union-attr]


def test_nodes_are_found_by_their_files() -> None:
    names = ["s1.log", "s2.storage", "s3.state_machine", "s4.lock", "x.txt", "s1.log.damaged-1"]
    assert nodes_in(names) == ["s1", "s2", "s3"]


def test_a_node_that_lost_all_but_its_trace_is_not_forgotten() -> None:
    assert nodes_in([".s1.born", "s2.log", ".born", ".gitignore"]) == ["s1", "s2"]
    (problem,) = examine({".s1.born": b"s1\n"}).problems
    assert str(problem).startswith("s1.storage and s1.log are gone. The node's term and vote are")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders, each with the files of s1 and s2."""
    places = [tmp_path / "first", tmp_path / "second"]
    for place in places:
        place.mkdir()
        for name, content in WHOLE.items():
            (place / name).write_bytes(content)
            other = content.replace(WHOLE["s1.storage"], storage_file(5, mark=(5, 2), name="s2"))
            (place / name.replace("s1", "s2")).write_bytes(other)
    return places


def test_a_file_that_cannot_be_read_leaves_out_no_other_node(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "s1.log").unlink()
    (folders[0] / "s1.log").mkdir()  # no rights keep root from a file
    assert fsck(list(map(str, folders)), None, repairs=False, as_json=False) == 3
    said = capsys.readouterr()
    sound = "sound: term 5, entries 1-5, sum c4a6b6da"
    assert said.out.splitlines() == [f"s2: {sound}", f"s1: {sound}", f"s2: {sound}"]
    unread = f"raftline: {folders[0] / 's1.log'}: cannot be read: Is a directory. "
    assert said.err.startswith(unread)
    assert said.err.count("\n") == 1


def test_a_folder_that_cannot_be_read_leaves_out_no_other_folder(
    folders: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir

    def refuse(path: Path) -> list[str]:
        if path == folders[0]:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    (folders[1] / "s1.log").write_bytes(GOOD + b"6 2 set torn")
    (folders[1] / FILE_NAME).write_bytes(b" " * (FILE_BYTES_MAX + 1))
    assert fsck(list(map(str, folders)), None, repairs=False, as_json=False) == 3
    said = capsys.readouterr()
    assert "s1: s1.log ends in 12 torn bytes" in said.out
    assert "another program's file. The nodes' logs name the members" in said.out
    assert "s2: sound" in said.out
    assert said.err == f"raftline: {folders[0]}: can't be read: Permission denied\n"


# --- a start does what fsck says -----------------------------------------------------------------


def storage_in(state: str) -> dict[str, bytes]:
    return {**WHOLE, "s1.storage": storage_file(5, "s2", (5, 2), state)}


SOUND: list[dict[str, bytes]] = [
    WHOLE,
    COMPACTED,
    {**COMPACTED, "s1.log": GOOD},
    {**WHOLE, "s1.state_machine": snapshot(9, 5)},
    storage_in("newborn"),
    storage_in("unknown"),
    storage_in("amnesiac"),
    {"s1.log": BASE, "s1.storage": storage_file(0, state="newborn"), ".s1.born": b"s1\n"},
    {"s1.log": BASE},
    {"s1.log": b"0 1 set a 4\n1 3 set b 5\n"},
    {"s1.log": b"0 1 set a 4\n", "s1.storage": storage_file(1, "-", (1, 1), "adopting")},
]
OF_OTHERS = [
    log_file(SECOND.replace(b"3 1", b"1 1"), base=b"0 0 base s8=h:1 s9=h:2\n"),
    GOOD[: GOOD.index(b"3 1 ")],
    BEHIND,
    b"0 7 set c 8\n1 7 get c\n",
    b"0 1 set a 4\n1 1 sing\n",
    snapshot(3, 1),
    snapshot(3, 2),
    snapshot(40, 9),
    storage_file(5, name="s2"),
    storage_file(1, mark=(2, 1)),
    storage_file(5, "s2", (7, 5)),
    storage_file(5, "s2", (5, 2), "whole cluster 9f86d081884c7d65 level 1"),
    storage_file(5, "s2", (5, 2), "whole cluster 9f86d081884c7d65 level 2"),
]


def damaged(files: dict[str, bytes], chance: Random) -> dict[str, bytes]:
    """Return the files after up to three of the things that happen to files."""
    files = dict(files)
    for _ in range(chance.randrange(4)):
        name = chance.choice(["s1.log", "s1.storage", "s1.state_machine", ".s1.born"])
        data = files.get(name, b"")
        cut = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                files.pop(name, None)
            case 1:
                files[name] = data[:cut]
            case 2:
                files[name] = data[:cut] + bytes(chance.choice([1, 60, 512])) + data[cut + 60 :]
            case 3:
                files[name] = data + chance.choice([b"6 2 set torn", b"\0" * 9, b"# 1 entry\n"])
            case 4:
                flipped = bytearray(data or b"x")
                flipped[cut % len(flipped)] ^= 1 << chance.randrange(8)
                files[name] = bytes(flipped)
            case _:
                files[name] = chance.choice(OF_OTHERS)
    return files


def check_that_a_start_does_what_fsck_says(files: dict[str, bytes]) -> str:
    """Check a start against the plan; return what it came to."""
    plan = examine(files)
    folder = MemoryFolder(files)
    wrong = [one for one in plan.problems if one.refusal is not None]
    if wrong:
        with pytest.raises(FilesRefused) as refused:
            boot(folder)
        assert str(refused.value).startswith(str(wrong[0]))
        assert folder.contents() == files
        return "refused"
    manager, recovered = boot(folder)
    manager.close()
    assert recovered.recovering is not plan.has_vote
    said = "\n".join(recovered.notes)
    for problem in plan.problems:
        if problem.cure is not Cure.CUT_TAIL:
            assert problem.subject in (recovered.not_ours, said)[problem.cure is not Cure.NONE]
    assert ("torn write" in said) is plan.has(Cure.CUT_TAIL)
    log = plan.log.log if plan.log is not None else plan.by_hand
    in_log = log.last_index if log is not None else 0
    assert recovered.log.last_index >= min(in_log, plan.held.index)
    assert recovered.hard_state.term >= (0 if plan.promise is None else plan.promise.term)
    again = read_plan(folder, "s1")  # what is left to say is what a person must decide
    assert [one.cure for one in again.problems if one.cure is not Cure.NONE] == []
    assert again.has_vote is plan.has_vote
    return "recovering" if recovered.recovering else "sound"


@pytest.mark.parametrize("seed", [0, 1, *map(in_the_rest, range(2, 8))])
def test_a_start_refuses_or_carries_out_what_fsck_says(seed: int) -> None:
    outcomes: set[str] = set()
    for number in range(250):
        chance = Random(f"{seed} {number}")
        files = damaged(chance.choice(SOUND), chance)
        try:
            outcomes.add(check_that_a_start_does_what_fsck_says(files))
            folder = MemoryFolder(files)
            plan = read_plan(folder, "s1")
            if all(problem.cure is not Cure.NONE for problem in plan.problems):
                repair(folder, plan)
                repaired = check_that_a_start_does_what_fsck_says(folder.contents())
                assert repaired == ("sound" if plan.has_vote else "recovering")
        except BuildRefused:
            continue
        except AssertionError as error:
            raise AssertionError(f"seed {seed} {number}: {error}") from error
    assert outcomes == {"refused", "recovering", "sound"}
