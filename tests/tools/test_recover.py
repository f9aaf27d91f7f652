"""The state that `raftline recover` goes on with: all that a last survivor has left."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from raftline.common.config import FILE_NAME, ConfigError
from raftline.logmanager import LogManager
from raftline.raft.membership import Configurations
from raftline.state.sessions import ERA_TERMS
from raftline.storage.examine import Examination
from raftline.storage.folder import Folder
from raftline.tools.fsck import fsck
from raftline.tools.recover import recover
from tests.node_files import THIRD, log_file
from tests.tools.test_fsck import COMPACTED, DAMAGES, WHOLE


def test_a_survivor_without_its_log_goes_on_from_its_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in COMPACTED.items():
        if name != "s1.log":
            (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert "Entries up to 3 were committed for certain: its snapshot holds them." in said
    assert "s1 HAS LOST FILES" in said
    manager = LogManager("s1", Folder(tmp_path), {})
    recovered = manager.recover()
    manager.close()
    log = recovered.log
    latest = Configurations(log.base_index, recovered.members, log.commands).latest
    assert latest.names == ("s1",)
    assert (log.last_index, log.last_term) == (4, 2 * ERA_TERMS)
    assert not recovered.recovering


def test_a_second_recovery_changes_nothing_and_reports_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["raftline"])  # whatever runs this test
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert said.startswith("s1 is the only member already, with what it holds up to entry 6.")
    assert "Nothing was changed. Start it: raftline server s1 " in said
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_survivor_goes_on_at_the_address_that_its_own_file_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that moved has a line in its file, and the old address in its log."""
    monkeypatch.setattr(sys, "argv", ["raftline"])
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / FILE_NAME).write_text("s1 h 7\n")
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert f"Start it: raftline server s1 7 --dir {tmp_path}\n" in said
    assert "--join h:7, best" in said
    assert b" members s1=h:7,voter\n" in (tmp_path / "s1.log").read_bytes()


def test_a_lone_member_that_lost_files_can_be_recovered(tmp_path: Path) -> None:
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    (tmp_path / "s1.storage").unlink()
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    manager = LogManager("s1", Folder(tmp_path), {})
    recovered = manager.recover()
    manager.close()
    assert (recovered.log.last_term, recovered.recovering) == (4 * ERA_TERMS, False)


def test_a_lone_member_without_its_rotten_snapshot_has_lost_what_that_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = b"s1=localhost:10000"
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "s1.log").write_bytes(log_file(THIRD, base=b"3 1 base %b\n" % alone))
    (tmp_path / "s1.state_machine").write_bytes(COMPACTED["s1.state_machine"][:-9])
    assert fsck([str(tmp_path)], None, repairs=True, as_json=False) == 0
    manager = LogManager("s1", Folder(tmp_path), {"s1": "localhost:10000"})
    manager.recover()  # as a start does, which is refused, and leaves a log without entries
    manager.close()
    capsys.readouterr()
    assert recover(str(tmp_path), "s1", confirmed=True) == 0
    said = capsys.readouterr().out
    assert "s1 HAS LOST FILES" in said
    assert "LOST: every acknowledged write after entry 0, if there was one." in said


def test_without_log_and_snapshot_there_is_nothing_to_recover(tmp_path: Path) -> None:
    (tmp_path / "s1.storage").write_bytes(COMPACTED["s1.storage"])
    with pytest.raises(ConfigError, match=r"neither s1\.log nor s1\.state_machine"):
        recover(str(tmp_path), "s1", confirmed=True)
    assert [path.name for path in tmp_path.iterdir()] == ["s1.storage"]


@pytest.mark.parametrize("name", [*DAMAGES, "no log"])
def test_fsck_sends_an_only_member_to_recover_if_something_is_left(
    tmp_path: Path, name: str
) -> None:
    files, *_ = DAMAGES.get(name, ({},))
    for file, content in {**WHOLE, **files}.items():
        (tmp_path / file).write_bytes(content)
    if name == "no log":
        (tmp_path / "s1.log").unlink()
    (problem,) = Examination(Folder(tmp_path), "s1").run().problems
    fsck([str(tmp_path)], None, repairs=True, as_json=False)
    is_left = any((tmp_path / f"s1.{end}").exists() for end in ("log", "state_machine"))
    if problem.costs_the_vote and "only member" in problem.means:
        assert ("raftline recover" in problem.means) is is_left
        assert ("restore all its files from one backup" in problem.means) is not is_left
    else:
        assert is_left


def test_fsck_reports_the_last_term_and_index_of_a_survivor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in COMPACTED.items():
        (tmp_path / name).write_bytes(content)
    assert fsck([str(tmp_path)], None, repairs=False, as_json=True) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["last_term"], report["last_index"]) == (2, 5)  # the log's; its term is 5
