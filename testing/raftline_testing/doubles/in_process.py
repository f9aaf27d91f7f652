"""Run the main function of a program in this process, with these arguments and streams.

A process for each command would take a tenth of a second of processor time to start.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

from raftline import cli
from raftline.clients.connections import node_connection

NEVER_S = 1e6  # until the notice that there is no answer yet, which a busy machine would print


def without_notices(printed: str) -> str:
    """Leave out a command's notices that there is no answer yet."""
    return re.sub(r"^\[\*\] No answer yet: .*\n", "", printed, flags=re.MULTILINE)


def run_main(
    main: Callable[[], int],
    *given: object,
    typed: bytes = b"",
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> subprocess.CompletedProcess[str]:
    """Run `main` as the program `given[0]` with the other arguments, and with typed input."""
    words = [*map(str, given)]
    stdin, stdout, stderr = (
        io.TextIOWrapper(io.BytesIO(content), "utf-8", write_through=True)
        for content in (typed, b"", b"")
    )
    before = Path.cwd()
    with (
        mock.patch.multiple(sys, argv=words, stdin=stdin, stdout=stdout, stderr=stderr),
        mock.patch.object(node_connection, "SAID_AFTER_S", NEVER_S),
        mock.patch.dict(os.environ, dict(environment), clear=True),
    ):
        try:
            os.chdir(folder or before)
            status = main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            os.chdir(before)
    printed = [stream.buffer.getvalue().decode() for stream in (stdout, stderr)]
    return subprocess.CompletedProcess(words, status, *printed)


def raftline(
    *words: object,
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    typed: bytes = b"",
) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell."""
    return run_main(cli.main, "cli.py", *words, typed=typed, folder=folder, environment=environment)
