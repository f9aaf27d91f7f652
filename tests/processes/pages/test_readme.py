"""The README's session, log and program, tried with real nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest

from raftline.common.effects import own_parts
from raftline.common.extensions import KERNEL
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


def with_kernel(log: str, digest: str) -> str:
    """Return a log whose first entry names this digest of the kernel."""
    beginning = re.sub("kernel=.*", f"kernel={digest}", log.partition("#")[0])
    mark = f"# 1 entry synced, crc32 {crc32(beginning.encode()):08x}\n"
    return beginning + mark + log.partition("#")[2].partition("\n")[2]


def test_the_log_that_is_shown_is_a_sound_one(tmp_path: Path) -> None:
    """But for the digest of the kernel, which is that of another build."""
    log = with_kernel(block("", "0 0 base "), own_parts()[KERNEL])
    (tmp_path / "s1.log").write_text(log)
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
