"""docs/operate/three-hosts.md, carried out in network namespaces with the addresses of the page, by
root as the operator and another user for the nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline.tools.harness.hosts.run_three_hosts import NO_NAMESPACES, ROOT

PROGRAM = "raftline.tools.harness.hosts.run_three_hosts"
TOOLS = ("bash", "curl", "unshare")
APART = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
IN_TURN = (
    " leads term ", "SET response: app/greeting set to hello", "hello",
    "Sorry, app may not set other: it takes the right to write there. Nothing was done.",
    "REPLACE response: s4 votes instead of s3", "s4  192.0.2.14:10000  voter",
    "hello",
)  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which can run nodes as another user")
def test_three_hosts_work_as_the_page_says(tmp_path: Path) -> None:
    """Three hosts are set up, repaired, upgraded and restored as the page says."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    pytest.importorskip("cryptography")
    tried = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces: {tried.stderr.strip()}")
    done = subprocess.run(
        [*APART, sys.executable, "-m", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == NO_NAMESPACES:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
    _, _, said = done.stdout.rpartition("=== said\n")
    for words in IN_TURN:
        assert words in said, f"{words}\n\n{done.stdout}"
        said = said.partition(words)[2]
