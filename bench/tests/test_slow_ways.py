"""`make -C bench slow-ways`: the functions of a request that are not compiled, and slow lines; and
`bench/calls.py`, the calls for a request."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline_testing.nodes.processes import ports_in_a_row

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="the generator needs cc"),
    pytest.mark.nightly,
    pytest.mark.pure,  # it counts the calls of a clone
]


def test_page_lists_leader_calls_and_lines_left_to_python(generator: Path, tmp_path: Path) -> None:
    """The page lists the leader's calls and the lines left to Python."""
    base = ports_in_a_row(3)
    command = [
        sys.executable, str(BENCH / "slow_ways.py"), "--requests", "600", "--connections", "12",
        "--dir", str(tmp_path), "--base-port", str(base),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    pure, _, compiled = done.stdout.partition("\n\n")
    assert re.search(r"^ +\d+\.\d\d  node/program/node_server\.py:\d+ report$", pure, re.MULTILINE)
    assert "raft/" not in pure
    send = re.search(
        r" +\d\.\d\d  net/connections/outgoing\.py:\d+ _send\n((?:   .*\n)+)", compiled
    )
    assert send is not None
    assert "sent = self._socket.send(data, socket.MSG_DONTWAIT)" in send[1]
    assert 'Call non-native method "send"' in send[1]
    assert (tmp_path / "slow-ways.txt").read_text() in done.stdout


def test_calls_a_request_are_counted_at_leader_and_follower(
    generator: Path, tmp_path: Path
) -> None:
    """The calls for a request are counted at leader and follower."""
    command = [
        sys.executable, str(BENCH / "calls.py"), "--rows", "set, 1", "--requests", "100",
        "--by", "function", "--dir", str(tmp_path), "--base-port", str(ports_in_a_row(3)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^set, 1 +leader +\d+\.\d   a follower +\d+\.\d$", done.stdout, re.MULTILINE)
    leader, _, follower = done.stdout.partition("\nfollower\n")
    proposals = r" 1\.00  node/loop/stepper\.py:\d+ _propose\n"
    assert re.search(proposals, leader)
    assert not re.search(proposals, follower)


LISTS = """
from pathlib import Path
from slow_ways import SOURCES, compiled_modules, in_order, own_lines
setup = Path("setup.py")
setup.write_text('COMPILED = ("raft/*", "net/protocol/host")\\nNOT_COMPILED =
{"picture/recording/plain_values"}\\n') modules = compiled_modules(setup)
assert "net/protocol/host" in modules and "raft/node" in modules and "net/connections/connection"
not in modules assert not {"picture/recording/plain_values", "raft/__init__"} & set(modules)
rows = [f"{n} {SOURCES[0]}/raft/{name}.py 7 step" for n, name in ((1, "log"), (2, "a"), (9, "b"))]
found = in_order("\\n".join(rows), 100)
assert [(each.module, each.line, each.calls) for each in found] == [
    ("raft/b", 7, 0.09), ("raft/a", 7, 0.02)
]
text = "class A:\\n    @property\\n    def f(self):\\n        return 1\\n\\n    def g(self): ...\\n"
assert own_lines(text, 2) == range(3, 5)
assert own_lines(text, 6) == range(6, 7)
assert own_lines(text, 4) == range(4, 5)
"""


def test_compiled_lists_counts_and_function_lines_are_read(tmp_path: Path) -> None:
    """The lists of setup.py, the counts and the lines of a function are read."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(BENCH)!r})\n{LISTS}"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
