"""Each command on a page of the course, of docs/learn and in the lab is there in a bare clone."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CLONE = Path(__file__).parents[2]
PAGES = [
    path
    for folder, pattern in (("course", "**/*.md"), ("docs/learn", "*.md"), ("docs/learn", "*.html"))
    for path in sorted((CLONE / folder).glob(pattern))
]
FENCED = re.compile(r"^```(?:sh|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?:`|<code>)((?:raftline|make|python3|\.venv/bin/raftline) [^`<]+)")
DATA = re.compile(r'<script type="application/json.*?</script>', re.DOTALL)
BEGINS = re.compile(r"(\$ )?(raftline|make|python3|\.venv/bin/raftline) ")
# Programs of labs that begin at once, and have nothing to say about their words.
AT_ONCE = {"check.py", "lab.py", "make.py", "message_receiver.py", "message_sender.py"}
AT_ONCE |= {"phase2.py", "steps.py"}


class Typed(NamedTuple):
    """A command, and the folder of the page that has it."""

    text: str
    folder: Path


def typed() -> Iterator[Typed]:
    for page in PAGES:
        text = DATA.sub("", page.read_text(encoding="utf-8"))
        lines = [line.strip() for block in FENCED.findall(text) for line in block.splitlines()]
        for line in [*filter(BEGINS.match, lines), *INLINE.findall(text)]:
            command = re.split(r" +#| \|\|? | > ", line.removeprefix("$ "))[0].strip()
            if not re.match(r"raftline's\b|python3 -c ", command):
                yield Typed(command, page.parent)


COMMANDS = sorted(set(typed()))


def help_of(*words: str) -> str:
    """Return what a program says of itself, with the Python that is there and nothing installed."""
    ran = subprocess.run(
        [sys.executable, "-S", *words, "--help"],
        cwd=CLONE, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert "usage: " in said, (words, said)
    assert "Traceback" not in said, (words, said)
    return said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.text)
def test_command_of_a_page_is_there_in_a_bare_clone(command: Typed) -> None:
    """The program, its word and each option; a target of make."""
    words = shlex.split(command.text)
    if words[0] == "make":
        if shutil.which("make") is None:
            pytest.skip("there is no make here")
        dry = ["make", "-n", "--no-print-directory", *words[1:]]
        ran = subprocess.run(dry, cwd=CLONE, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return
    if words[0].endswith("raftline"):
        words = ["python3", "src/cli.py", *words[1:]]
    places = (CLONE / words[1], command.folder / words[1])
    (program,) = {one.resolve() for one in places if one.is_file()}
    if program.name in AT_ONCE:
        compile(program.read_text(encoding="utf-8"), program, "exec")
        return
    mine = words[2 : words.index("--") if "--" in words else None]
    verb = mine[:1] if program.name == "cli.py" else []
    said = help_of(str(program), *verb)
    for option in (one.partition("=")[0] for one in mine if one.startswith("-")):
        assert re.search(rf"(?<![\w-]){option}\b", said), (option, said)


def test_blocks_have_commands_of_a_clone() -> None:
    """`raftline` alone is for those who installed it."""
    blocks = [(page, block) for page in PAGES for block in FENCED.findall(page.read_text("utf-8"))]
    assert [str(page) for page, text in blocks if re.search(r"(?m)^ *(\$ )?raftline ", text)] == []


def test_pages_are_read() -> None:
    assert len(COMMANDS) > 80
    assert {one.text.split()[0] for one in COMMANDS} >= {"make", "python3", "raftline"}
