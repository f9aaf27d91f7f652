"""`raftline backup --from`: what a stopped node's files hold, or why that can't be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.backup import EXIT_REFUSED, of_node
from raftline.storage.folder import Folder
from tests.node_files import boot, vote, write


def test_commands_of_a_program_s_state_machine_are_left_to_that_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    manager, _ = boot(Folder(tmp_path / "logs"))
    vote(manager, 1, "s1")
    write(manager, 1, 1, "set a 1", 'machine bank {"to": "ann"}')
    manager.close()
    backup = tmp_path / "backup.txt"
    assert of_node(tmp_path / "logs", "s1", str(backup)) == EXIT_REFUSED
    assert capsys.readouterr().err == (
        "raftline: s1.log holds commands for a state machine of a program, which only that "
        "program can carry out; start the nodes from it and back up the running cluster\n"
    )
    assert not backup.exists()
