"""A session at the shell with one real node: what each command prints, and how it ends."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from raftline import cli
from raftline.tools import commands
from raftline.tools.verbs import HELD, REQUESTS
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import CALM, Cluster

# A line of a command has its exit status, if that is not 0, and what is typed; below is what it
# prints, with `!` what goes to standard error.
SESSION = Path(__file__).with_name("session.txt")
# Commands that run until they are stopped, or for seconds, and those of another extension.
ELSEWHERE = {"check perf", "watch", "view", "object"}
OTHER = [  # what differs from run to run
    (r"localhost:\d+", "localhost:PORT"),
    (r"\b[0-9a-f]{16}\b", "SUM"),
    (r"\b[0-9a-f]{8}\b", "SUM"),
    (r"\b\d+\.\d+(kB)?", r"NUMBER\1"),
    (r"\d+ bytes\n", "MANY bytes\n"),
    (r'(token"?:?) \d+', r"\1 NUMBER"),
    (r"\S+/(?=server-configuration.txt)", "DIR/"),
]


def rows(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command and what is printed after it."""
    for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = block.partition("\n")
        yield command, printed


def carried_out(lines: Iterable[str], folder: Path, port: int) -> Iterator[str]:
    """Type each command in a shell, and yield it with what it prints."""
    password = folder / "password"
    password.write_text("horse\n")
    password.chmod(0o600)
    shell = {key: text for key, text in os.environ.items() if not key.startswith("RAFTLINE")}
    shell["RAFTLINE"] = f"localhost:{port}"
    for line in lines:
        line = re.sub(r" \[\d+\]$", "", line)
        given, _, typed = line.partition(" < ")
        words = given.split(" ")
        done = raftline(*words, folder=folder, environment=shell, typed=typed.encode() + b"\n")
        if words[:3] == ["user", "add", "root"] and not done.returncode:
            shell |= {"RAFTLINE_USER": "root", "RAFTLINE_PASSWORD_FILE": "password"}
        errors = "".join(f"! {said}\n" for said in done.stderr.splitlines())
        printed = done.stdout + errors
        for old, new in OTHER:
            printed = re.sub(old, new, printed)
        status = f" [{done.returncode}]" if done.returncode else ""
        yield f"$ {line}{status}\n{printed}"


def test_session_at_the_shell_is_as_written(tmp_path: Path) -> None:
    written = SESSION.read_text(encoding="utf-8")
    (tmp_path / "nodes").mkdir()
    (tmp_path / "shell").mkdir()
    with Cluster(tmp_path / "nodes", 1, *CALM) as cluster:
        port = cluster.start().nodes[0].port
        typed = [command for command, _ in rows(written)]
        printed = "".join(carried_out(typed, tmp_path / "shell", port))
    assert printed == written


def asking(words: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield each command that asks a cluster."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, nested in action.choices.items():
                yield from asking([*words, verb], nested)
        elif "--at" in action.option_strings:
            yield " ".join(words)


def test_session_has_each_command_that_asks_a_cluster() -> None:
    found = {
        name for verb, parser in cli.parsers(commands).items() for name in asking([verb], parser)
    }
    assert {*HELD, *REQUESTS} <= found
    actions = {name.partition(" ")[2] for name in found if name.startswith("member ")}
    aliases = {*actions, "members"}  # of `member ACTION`
    typed = [f"{command} " for command, _ in rows(SESSION.read_text(encoding="utf-8"))]
    for name in found - ELSEWHERE - aliases:
        assert any(command.startswith(f"{name} ") for command in typed), name
