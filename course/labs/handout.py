"""Make a lab's handout for students: `python3 course/labs/handout.py elections`.

The handout is then in build/handout/elections, and runs by itself, offline. It has no teachers'
keys, answers or history. A lab with its own `handout.py` uses that.
"""

from __future__ import annotations

import ast
import base64
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "course" / "labs"
# Whole folders and files that each handout has.
ALWAYS = (
    "LICENSE", "src", "library", "extensions", "course/raftline_course", "course/docs",
    "course/server.py", "testing/raftline_testing", "docs", "logs/server-configuration.txt",
    "course/labs/appendix-reports.md",
)  # fmt: skip
GRADER = "course/raftline_course/grading/"  # of the lab that has its own handout
LOCK = (
    "__init__.py",
    "isolation/__init__.py",
    "isolation/sandbox.py",
)  # of the grader, for `raftline conform --locked`
MUTANTS = "testing/raftline_testing/mutants/"  # faults, and an explanation of each
# `check.py` of the bugs lists the harmful line of each.
KEPT_BACK = {"bugs": ("check.py", "course/docs/conform.md")}
SOLUTIONS = "course/labs/solutions"  # the teachers' keys and model solutions
LINK = re.compile(r"\[(?P<text>[^][]*(?:\[[^][]*\][^][]*)*)\]\((?P<to>[^()\s#]+)(?:#[^()\s]*)?\)")
FIRST_PAGE = """# {title}

The sheet is [course/labs/{lab}/README.md](course/labs/{lab}/README.md). Begin in this folder.
You need Python 3.10 or newer{more}.
"""
NEEDED = {"conform": ", a C compiler and `make`"}


class HandoutError(Exception):
    """A handout that can't be made; one line says why."""


def known_labs() -> list[str]:
    """Return the labs that have a sheet."""
    return sorted(
        path.parent.name for path in LABS.glob("*/README.md") if path.parent.name != "solutions"
    )


def make_handout(lab: str, target: Path) -> None:
    """Put a lab's handout into `target`.

    Raises:
        HandoutError: there is no such lab, or its own program failed.
    """
    if lab not in known_labs():
        raise HandoutError(f"there is no lab {lab}, only {', '.join(known_labs())}")
    own = LABS / lab / "handout.py"
    if own.exists():
        if subprocess.run([sys.executable, str(own), str(target)], check=False).returncode:
            raise HandoutError(f"{own.relative_to(ROOT)} failed")
        unlink_missing(target)
        return
    for name in sorted(files_of(lab)):
        _copy(name, target)
    title = (LABS / lab / "README.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")
    more = NEEDED.get(lab, ", and nothing else")
    first = FIRST_PAGE.format(title=title, lab=lab, more=more)
    (target / "README.md").write_text(first, encoding="utf-8")
    unlink_missing(target)


def unlink_missing(target: Path) -> None:
    """Reduce each link to a file that a handout lacks to its text."""
    for page in target.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        new_text = LINK.sub(lambda link, page=page: _kept(link, page), text)
        if new_text != text:
            page.write_text(new_text, encoding="utf-8")


def _kept(link: re.Match[str], page: Path) -> str:
    is_there = "://" in link["to"] or (page.parent / link["to"]).exists()
    return link[0] if is_there else link["text"]


def files_of(lab: str) -> set[str]:
    """Return the names of the files for students, relative to the clone."""
    places = (*ALWAYS, f"course/labs/{lab}")
    names = {
        name
        for name in kept_files()
        if any(name == place or name.startswith(f"{place}/") for place in places)
        and not is_kept_back(lab, name)
    }
    programs = [name for name in names if name.startswith("course/labs/") and name.endswith(".py")]
    return names | imported(programs)


def is_kept_back(lab: str, name: str) -> bool:
    """Whether a file of a lab is the teacher's."""
    inside = name.removeprefix(f"course/labs/{lab}/")
    if name.startswith(MUTANTS) or re.match("(library|extensions/[a-z]+)/tests/", name):
        return True
    if name.startswith(GRADER):
        return name.removeprefix(GRADER) not in LOCK
    return inside in KEPT_BACK.get(lab, ()) or name.startswith(f"{SOLUTIONS}/")


def kept_files() -> list[str]:
    """Return the files that git keeps; in a copy without git, the files that aren't leftovers."""
    command = ["git", "ls-files", "-z", "--cached"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in process.stdout.split("\0") if (ROOT / name).is_file()]
    if process.returncode == 0 and "course/labs/handout.py" in names:
        return names
    folders = ("src", "library", "extensions", "course", "testing", "docs", "logs", "deploy")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [
        path.relative_to(ROOT).as_posix()
        for path in [*paths, ROOT / "LICENSE"]
        if path.is_file() and "__pycache__" not in path.parts
    ]


def imported(programs: list[str]) -> set[str]:
    """Return the programs, and all modules of `labs` that they import."""
    files: set[str] = set()
    waiting = list(programs)
    while waiting:
        name = waiting.pop()
        if name not in files:
            files.add(name)
            text = (ROOT / name).read_text(encoding="utf-8")
            waiting += [file for module in _modules_in(text) if (file := _file_of(module))]
    return files


def _modules_in(text: str) -> Iterator[str]:
    """Yield each module that a program may import; for `from a import b`, both a and a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> str:
    """Return the file of a module of `labs`; "" for any other."""
    name = f"course/{module.replace('.', '/')}.py"
    return name if module.startswith("labs.") and (ROOT / name).is_file() else ""


def _copy(name: str, target: Path) -> None:
    """Copy one file. Pack a patch, which would show the faulty line at a glance."""
    to = target / name
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.suffix == ".patch":
        packed = base64.b64encode(zlib.compress((ROOT / name).read_bytes(), 9))
        to.with_suffix(".packed").write_bytes(packed + b"\n")
    else:
        shutil.copy2(ROOT / name, to)


def main(arguments: list[str]) -> int:
    """Make one handout; return the exit status: 2 if it can't be made."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(f"usage: handout.py LAB, one of {', '.join(known_labs())}", file=sys.stderr)
        return 2
    target = ROOT / "build" / "handout" / arguments[0]
    try:
        if arguments[0] in known_labs():
            shutil.rmtree(target, ignore_errors=True)
        make_handout(arguments[0], target)
    except HandoutError as problem:
        print(f"handout.py: {problem}; nothing was made", file=sys.stderr)
        return 2
    print(f"{target.relative_to(ROOT)} is what students get")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
