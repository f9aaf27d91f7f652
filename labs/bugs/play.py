"""Plays a bug's transcript: `play.py 3` with the bug, `play.py 3 --without` as it should be.

`play.py 3 --copy DIR` writes the faulty program there, to be read and mended; `--from DIR` plays
with that copy. `--simulate 50` lets raftline's own simulation look for the bug, with 50 seeds. Exit
status: 0 everything happened as it should, 1 it did not, 2 usage.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from labs.checking import end_with

SOURCES = ROOT / "src"
BUGS = sorted(int(path.stem.removeprefix("bug-")) for path in HERE.glob("bug-*.patch"))


class DoesNotApply(Exception):
    """A patch and the program do not fit any more; one line says which and where."""


def apply_patch(patch: Path, sources: Path) -> None:
    """Change the files under `sources` as the patch says. Each hunk is found by its lines, not by
    their numbers, and must be there exactly once: so patches survive changes around them."""
    file: Path | None = None
    hunks: list[tuple[Path, list[str], list[str]]] = []
    for line in patch.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("+++ "):
            file = sources / line[4:].strip().removeprefix("b/src/")
        elif line.startswith("@@"):
            assert file is not None, f"{patch.name} names no file"
            hunks.append((file, [], []))
        elif hunks and line[0] in " -+":
            before, after = hunks[-1][1:]
            if line[0] != "+":
                before.append(line[1:])
            if line[0] != "-":
                after.append(line[1:])
    for file, before, after in hunks:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        count = text.count("".join(before))
        if count != 1:
            name = file.relative_to(sources)
            raise DoesNotApply(
                f"{patch.name} does not fit src/{name} any more: what it changes is there "
                f"{count} times, beginning with {before[0].strip()!r}"
            )
        file.write_text(text.replace("".join(before), "".join(after)), encoding="utf-8")


def copy_with_bug(number: int, folder: Path) -> Path:
    """Make a copy of src/ in `folder` with the bug in it; return the copy."""
    copy = folder / "src"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    apply_patch(HERE / f"bug-{number:02}.patch", copy)
    return copy


def script_of(number: int) -> str:
    return (HERE / f"bug-{number:02}.txt").read_text(encoding="utf-8")


def happens(script: str, sources: Path) -> str:
    """Return the transcript as it goes with this program."""
    played = subprocess.run(
        [sys.executable, "-B", str(HERE / "stage.py")],
        input=script,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env=_environment(sources),
        check=False,
    )
    return played.stdout if played.returncode == 0 else f"!! {played.stderr.strip()[-500:]}\n"


def simulate(sources: Path, seeds: int) -> int:
    """Run raftline's simulated schedules with this program until one fails; return 1 then."""
    # The package is bound to these sources before the simulation puts its own on the path.
    code = "import raftline, sys; from tests.simulation.simulate import main; "
    code += f"sys.exit(main(['--seed', '0', '--count', '{seeds}']))"
    ran = subprocess.run(
        [sys.executable, "-B", "-c", code], env=_environment(sources), cwd=ROOT, check=False
    )
    return ran.returncode


def _environment(sources: Path) -> dict[str, str]:
    path = os.pathsep.join([str(sources), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}


def difference(should: str, does: str) -> str:
    """Return where the two part, with what led there; "" where they are the same."""
    return "\n".join(
        difflib.unified_diff(
            should.splitlines(), does.splitlines(), "should happen", "happens", "", "", 12, ""
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("number", type=int, choices=BUGS, metavar=f"{BUGS[0]}-{BUGS[-1]}")
    parser.add_argument("--without", action="store_true", help="play without the bug")
    parser.add_argument("--whole", action="store_true", help="show all that happens")
    parser.add_argument("--copy", type=Path, metavar="DIR", help="write the faulty program there")
    parser.add_argument("--from", type=Path, metavar="DIR", dest="mine", help="play with this copy")
    parser.add_argument("--simulate", type=int, metavar="SEEDS", help="schedules of faults instead")
    arguments = parser.parse_args()
    script = script_of(arguments.number)
    if arguments.copy is not None:
        if (arguments.copy / "src").exists():
            parser.error(f"{arguments.copy / 'src'} exists already")
        print(f"{copy_with_bug(arguments.number, arguments.copy)} holds the faulty program")
        return 0
    if arguments.mine is not None and not (arguments.mine / "src").is_dir():
        parser.error(f"{arguments.mine / 'src'} is not there; make a copy with --copy DIR")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.without:
            sources = SOURCES
        elif arguments.mine is not None:
            sources = arguments.mine / "src"
        else:
            sources = copy_with_bug(arguments.number, Path(folder))
        if arguments.simulate:
            return simulate(sources, arguments.simulate)
        does = happens(script, sources)
    found = difference(script, does)
    print(does if arguments.whole or not found else found)
    if not found:
        print("Everything happens as it should.")
    return 1 if found else 0


if __name__ == "__main__":
    try:
        end_with(main)
    except DoesNotApply as problem:
        sys.exit(str(problem))
