"""The README's session, log and program, tried with real nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block(kind: str, beginning: str) -> str:
    """Return the one block of this kind that begins so."""
    found = [each[2] for each in BLOCK.finditer(TEXT) if each[1] == kind]
    (text,) = [each for each in found if each.startswith(beginning)]
    return text


def test_a_leader_answers_as_in_the_session(shared: Cluster) -> None:
    lines = block("", "$ nc ").splitlines()[1:]
    with shared["s1"].connect() as conversation:
        for request, reply in zip(lines[::2], lines[1::2], strict=True):
            assert conversation.ask(request) == reply


def test_the_log_that_is_shown_is_a_sound_one(tmp_path: Path) -> None:
    (tmp_path / "s1.log").write_text(block("", "0 0 base "))
    names = "".join(f"s{n} localhost {9999 + n}\n" for n in (1, 2, 3))
    (tmp_path / "server-configuration.txt").write_text(names)
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "fsck", str(tmp_path)]
    subprocess.run([*command, "--repair"], check=True, timeout=60)  # it has no .storage beside it
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "s1: sound: term 0, entries 1-3, sum " in done.stdout, done.stdout + done.stderr
    assert list(tmp_path.glob("*.damaged*")) == []


def test_the_program_prints_its_value_and_the_token_of_its_lock(
    shared: Cluster, tmp_path: Path
) -> None:
    program = tmp_path / "lamps.py"
    program.write_text(block("python", "import raftline").replace("10000", str(shared["s1"].port)))
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"on [1-9][0-9]*\n", done.stdout), done.stdout  # the value, and the token


@pytest.mark.parametrize("command", ["run", "test"])
def test_the_commands_are_targets_of_the_makefile(command: str) -> None:
    assert f"make {command} " in block("sh", "make run")
    assert f"\n{command}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
