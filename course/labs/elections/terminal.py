"""A client's screen, as a person has it, driven by a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[3] / "src" / "client.py"


class Screen:
    """A client as a person has it before them: `client.py PORT ID`, fed line by line. With
    `--follow` it goes where a leader is, should it move while a figure is made."""

    def __init__(self, port: int, number: int, *options: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT), "--screen", *options, str(port), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._read_until_asked()

    def type(self, command: str) -> str:
        """Type one command; return what came back, as lines."""
        assert self._process.stdin is not None
        first = len(self.lines)
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._read_until_asked()
        return "\n".join(self.lines[first:])

    def leave(self) -> list[str]:
        """End the input, as Ctrl-D does; return all that was on the screen."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        # Line by line, as before: what is read ahead belongs to this reader alone.
        self.lines += [line.rstrip("\n") for line in self._process.stdout]
        self._process.wait()
        return self.lines

    def _read_until_asked(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Type your message" in line:
                return
        raise AssertionError("the client ended: " + "\n".join(self.lines))
