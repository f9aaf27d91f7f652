"""The lab's programs as a student starts them, and their output."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from labs.leftovers import LabFolder
from labs.repair.actions import RepairLab
from raftline.common.address import Address
from raftline.common.config import FILE_NAME
from raftline.common.process.signals import tied
from raftline_testing.nodes.processes import Process, free_ports

HERE = Path(__file__).resolve().parent


def terminal(name: str, *options: str) -> Process:
    """Start a node with node.py; only this node gets the Ctrl-C."""
    command = [sys.executable, str(HERE / "node.py"), name, *options]
    return Process(name, command, start_new_session=True).launch()


@contextlib.contextmanager
def as_in_the_sheet() -> Iterator[tuple[dict[str, Process], Path, RepairLab]]:
    """Start three nodes with node.py, as a student does, with the course's words."""
    with LabFolder() as scene, contextlib.ExitStack() as stack:
        members = {f"node{n}": Address("localhost", next(free_ports)) for n in (1, 2, 3)}
        file = scene.folder / FILE_NAME
        file.write_text("".join(f"{name} {a.host} {a.port}\n" for name, a in members.items()))
        consoles = {}
        for name in members:
            # At this pace a leader that stalls for a second on a busy machine isn't deposed.
            options = ("--config", str(file), "--course-words", "--pace", "class")
            consoles[name] = terminal(name, *options)
            stack.callback(consoles[name].close)
        yield consoles, file, RepairLab(members, say=lambda _: None)


def client(file: Path, typed: str) -> str:
    """Return the client's screen for these lines."""
    ended = subprocess.run(
        [sys.executable, str(HERE / "client.py"), "--config", str(file)],
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        **tied(),
    )
    if ended.returncode:
        raise AssertionError(f"client.py ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout
