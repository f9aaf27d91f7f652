"""The evidence in the teachers' keys: each command is carried out, and shows what the key says."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from course.tests.sheets import labs

from labs.handout import make_handout
from labs.solutions import make
from raftline.common.config import FILE_NAME
from raftline_testing.nodes.processes import (
    Process,
    end_all,
    eventually,
    free_ports,
    ports_in_a_row,
)
from raftline_testing.runner.at_night import at_night

PAIR = re.compile(r"^```sh\n(.+?)^```\n```text\n(.+?)^```$", re.MULTILINE | re.DOTALL)
# Of the other two labs a trial takes half a minute each, and the checker a minute:
# `make -C course labs`.
IN_SECONDS = ("bugs", "elections", "repair", "replicas")


def evidence(lab: str) -> dict[str, list[str]]:
    """Return the commands of a key, each with the lines that it shows."""
    found: dict[str, list[str]] = {}
    for command, lines in PAIR.findall((make.KEYS / f"{lab}.md").read_text("utf-8")):
        found.setdefault(command, []).extend(lines.splitlines())
    return found


def shown(line: str, text: str) -> bool:
    """Whether a line stands in a text, with anything in the place of `…`."""
    return re.search(".*".join(map(re.escape, line.split("…"))), text) is not None


@contextlib.contextmanager
def three_nodes(folder: Path) -> Iterator[None]:
    """Start the nodes of lab 2 as its sheet says, on ports of their own."""
    ports = [next(free_ports) for _ in range(3)]
    lines = [f"node{number} localhost {port}\n" for number, port in enumerate(ports, start=1)]
    (folder / "course/labs/repair/run" / FILE_NAME).write_text("".join(lines))
    nodes = [
        Process(
            f"node{n}", [sys.executable, str(folder / "course/labs/repair/node.py"), f"node{n}"]
        )
        for n in (1, 2, 3)
    ]
    try:
        for node in nodes:
            node.launch()
        eventually(lambda: any("I am Leader" in line for n in nodes for line in n.lines), "leader")
        yield
    finally:
        end_all(nodes)


@pytest.mark.parametrize("lab", [IN_SECONDS[0], *at_night(*IN_SECONDS[1:])])
def test_each_command_of_a_key_shows_what_the_key_says(lab: str, tmp_path: Path) -> None:
    for each in labs():
        make_handout(each, tmp_path)
    bin_folder = tmp_path / "bin"  # where `python3` is the Python of this test
    bin_folder.mkdir()
    (bin_folder / "python3").symlink_to(sys.executable)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    missing = []
    with three_nodes(tmp_path) if lab == "repair" else contextlib.nullcontext():
        for typed, lines in evidence(lab).items():
            # Ports of their own, in the place of those that a person has free.
            command = typed.replace("18111", str(next(free_ports)))
            story = f"lab.py --base-port {ports_in_a_row(5)} story"
            command = command.replace("lab.py story", story)
            ran = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            said = ran.stdout + ran.stderr
            assert (ran.returncode, "Traceback" in said) == (0, False), f"{command}\n{said}"
            missing += [f"{command}{line}\n{said}" for line in lines if not shown(line, said)]
    assert missing == []


def test_the_dots_of_a_key_stand_for_anything() -> None:
    assert shown("a (…) b", "x\n… a (1) b …\n")
    assert not shown("a (…) b", "a (1)\n b")
    assert all(evidence(lab) for lab in labs())
