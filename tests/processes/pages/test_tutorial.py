"""docs/tutorial.md, step by step with real nodes.

A block marked `console` is commands that end: their output is compared line by line. `console N` is
terminal N, whose program continues: the lines shown come in this order, others may stand between.
There `>> ` is typed at the client's prompt; `^C`, `^D`, `^\\` and `[Enter]` are keys. `nc` is given
the lines of others, and … stands for any text. A block `python FILE` is written to that file. Ports
are the test's own, and the nodes take their time.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.processes import DEADLINE_S, eventually, ports_in_a_row

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(console|console \d|python [\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = 5
STEP_S = 2 * DEADLINE_S
# The leader, its term and its entries are chance, or depend on it.
VARIES = (
    (r"\bs\d leads\b", "sN leads"),
    (r"\bterm \d+", "term N"),
    (r"\bentry \d+", "entry N"),
    (r"\btoken \d+", "token N"),
    (r"^\d+ \d+ [\w.-]+#\d+@", "I T NAME#ID@"),
    (r"^\d+ \d+ (?=set )", "I T "),
    (r"^ {4}>> (?=\[)", ""),  # a notice came while the client's prompt stood there
    (r"^(s\d)@(?:Not this time|Sorry,|GET response).*", r"\1@…"),
)
KEYS = {"^C": "\x03", "^D": "\x04", "^\\": "\x1c", "[Enter]": "\n"}
ALIKE = {"sN leads already": "TRANSFER response: sN leads term N"}
MAY_BE_REPEATED = re.compile(r"raftline (?:status|get|member list|transfer)\b|grep ")
PROGRAMS = {
    "make": "exec {python} src/cli.py up --client --pace class --base-port {port}",
    # On a terminal `get` prints the reply, as the page shows it.
    "raftline": 'set -- {python} src/cli.py "$@"; [ "$3" = get ] || exec "$@"; '
    'exec {python} -c "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)" "$@"',
    "python3": '[ "$1" = src/server.py ] && set -- "$@" --pace class; exec {python} "$@"',
    "nc": 'exec {python} nc.py "$@"',
}
CONFIGURATION = "s1 localhost 10000\ns2 localhost 10001\ns3 localhost 10002\n"  # of a clone
NC = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as connection:
    answers = connection.makefile(encoding="utf-8")
    for line in sys.stdin:
        connection.sendall(line.encode())
        print(answers.readline(), end="")
"""


def usual(line: str) -> str:
    """Return a line with its variable parts brought to one form."""
    for pattern, form in VARIES:
        line = re.sub(pattern, form, line)
    return ALIKE.get(line, line).rstrip()


def fits(printed: str, shown: str) -> bool:
    """Whether a line is the one shown, or begins like it where the page leaves out its end."""
    return printed == shown or (
        shown.endswith(" …") and printed.startswith(shown.removesuffix("…"))
    )


class Terminal:
    """A terminal in which one program runs after another."""

    def __init__(self, desktop: Desktop) -> None:
        self._desktop = desktop
        self._program: pexpect.spawn | None = None
        self._seen = ""
        self._server = ""  # that nc speaks with

    def carry_out(self, lines: list[str]) -> None:
        for line in lines:
            if line.startswith("$ "):
                self._start(line.removeprefix("$ "))
            elif line.strip() != "…":
                self._step(line)

    def _start(self, command: str) -> None:
        if self._program is not None:  # its keys were pressed: it ends
            self._program.expect(pexpect.EOF)
            self._program.close()
        to = re.match(r"nc localhost (\d+)", command)
        self._server = f"s{int(to[1]) - self._desktop.first_port + 1}@" if to else ""
        self._program = pexpect.spawn(
            "sh",
            ["-c", command],
            cwd=str(self._desktop.folder),
            env=self._desktop.environment,
            encoding="utf-8",
            timeout=STEP_S,
            dimensions=(50, 400),
        )
        self._seen = ""

    def _step(self, line: str) -> None:
        assert self._program is not None
        is_prompted = line.startswith("    >> ")
        if is_prompted:
            self._program.expect_exact(">> ")
        if line in KEYS:
            self._program.send(KEYS[line])
        elif is_prompted or (self._server and not line.startswith(self._server)):
            self._program.sendline(line.removeprefix("    >> "))
        else:
            self._wait_for(line)

    def _wait_for(self, line: str) -> None:
        assert self._program is not None
        try:
            while True:
                self._program.expect_exact("\r\n")
                printed = self._program.before or ""
                self._seen += printed + "\n"
                if fits(usual(printed), usual(line)):
                    return
        except (pexpect.EOF, pexpect.TIMEOUT):
            rest = self._program.before
            raise AssertionError(f"never printed: {line}\nbut:\n{self._seen}{rest}") from None

    def close(self) -> None:
        if self._program is not None:
            self._program.close(force=True)


class Desktop:
    """A clone's folder, some terminals, and the programs that the page names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first_port = ports_in_a_row(PORTS)
        self.environment = os.environ | {
            "PATH": f"{folder}/bin:{os.environ['PATH']}", "TERM": "dumb", "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT / "src"), "XDG_STATE_HOME": str(folder / "state"),
        }  # fmt: skip
        self.environment.pop("RAFTLINE", None)
        self.terminals: dict[str, Terminal] = {}
        (folder / "src").symlink_to(ROOT / "src")
        (folder / "nc.py").write_text(NC)
        (folder / "logs").mkdir()
        (folder / "logs" / "server-configuration.txt").write_text(self.ported(CONFIGURATION))
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").write_text("")
        (folder / "bin").mkdir()
        for name, text in PROGRAMS.items():
            program = folder / "bin" / name
            words = {"python": sys.executable, "port": self.first_port}
            program.write_text("#!/bin/sh\n" + text.format(**words) + "\n")
            program.chmod(0o755)

    def ported(self, text: str) -> str:
        """Return a text of the page with the ports of this test."""
        return re.sub(r"\b1000(\d)\b", lambda match: str(self.first_port + int(match[1])), text)

    def check_block(self, kind: str, text: str) -> None:
        """Do what a block says, and compare."""
        word, _, name = kind.partition(" ")
        lines = self.ported(text).splitlines()
        if word == "python":
            (self.folder / name).write_text(self.ported(text))
        elif name:
            self.terminals.setdefault(name, Terminal(self)).carry_out(lines)
        else:
            for command, shown in commands_in(lines):
                self._compare(command, shown)

    def _compare(self, command: str, shown: list[str]) -> None:
        """Run a command and compare its output; one that does no harm is repeated until it fits."""
        expected, printed = [usual(line) for line in shown], self.run(command)

        def is_as_shown() -> bool:
            nonlocal printed
            printed = printed if printed == expected else self.run(command)
            return printed == expected

        if MAY_BE_REPEATED.match(command):
            with contextlib.suppress(AssertionError):  # the next one says more
                eventually(is_as_shown, command, STEP_S)
        assert printed == expected, command

    def run(self, command: str) -> list[str]:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            timeout=STEP_S,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return [usual(line) for line in without_notices(done.stdout).splitlines()]

    def close(self) -> None:
        for terminal in reversed(self.terminals.values()):
            terminal.close()


def commands_in(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block with the lines that are shown below it."""
    command, shown = "", list[str]()
    for line in lines:
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line.removeprefix("$ "), []
        else:
            shown.append(line)
    yield command, shown


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    desktop = Desktop(tmp_path)
    yield desktop
    desktop.close()


@pytest.mark.timeout(1800)
def test_each_step_of_the_tutorial_shows_what_the_page_shows(desktop: Desktop) -> None:
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        desktop.check_block(block[1], block[2])


def test_every_block_of_the_tutorial_is_of_a_kind_that_is_run() -> None:
    text = PAGE.read_text(encoding="utf-8")
    begun = re.findall(r"^```(.+)$", text, re.MULTILINE)
    assert begun == [block[1] for block in BLOCK.finditer(text)] != []
