"""A client's screen, as a person sees it, driven by a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[3] / "src" / "client.py"


class Screen:
    """A client as a person uses it: `client.py PORT ID`, fed line by line. With `--follow`, it
    follows the leader if the leadership moves during a figure."""

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
        """Type one command; return the lines of the reply."""
        assert self._process.stdin is not None
        first = len(self.lines)
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._read_until_asked()
        return "\n".join(self.lines[first:])

    def leave(self) -> list[str]:
        """End the input, as Ctrl-D does; return the whole screen."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        # Read line by line, as before: text that is read ahead belongs only to this reader.
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
