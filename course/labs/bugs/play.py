"""Plays a bug's transcript: `play.py 3` with the bug, `play.py 3 --without` as it should be.

`play.py 3 --copy DIR` writes the faulty program there, to be read and mended; `--from DIR` plays
with that copy. `--hint`, `--hint 2` and `--answer` tell of this bug alone. `--simulate 50` lets
raftline's own simulation look for the bug, with 50 seeds from `--seed 0` on, `--fault KIND` and
`--nodes N` in fewer ways; `--whole` tells every event. raftline itself is never changed. Exit
status: 0 everything happened as it should, 1 it did not, 2 usage.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import difflib
import os
import re
import shlex
import subprocess

from labs.bugs.patching import DoesNotApply, apply_patch
from labs.checking import end_with
from labs.leftovers import LabFolder
from raftline.common.arguments import as_number
from raftline_testing.runner.tree_copy import SOURCES as FOLDERS
from raftline_testing.runner.tree_copy import copy_sources
from raftline_testing.virtual.world.plan import FAULTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCES = ROOT / "src"
PLAY_SECONDS_MAX = 60.0
GROUP_MAX = 4  # length of a repeated group of lines
BUGS = sorted(int(path.stem.removeprefix("bug-")) for path in HERE.glob("bug-*.txt"))
NODES = {6: 3}  # a lone server doesn't show Figure 8
NO_ANSWERS = "The answers are not in this handout. Your teacher has them."


def copy_with_bug(number: int, folder: Path) -> Path:
    """Make a copy of the sources in `folder` with the bug in it; return its `src`."""
    copy = copy_sources(folder)
    apply_patch(HERE / f"bug-{number:02}.patch", copy)
    return copy


def script_of(number: int) -> str:
    return (HERE / f"bug-{number:02}.txt").read_text(encoding="utf-8")


def happens(script: str, sources: Path) -> str:
    """Return the transcript as this program plays it; or, if it can't be played, the reason:
    Python's error message, or that it did not end."""
    try:
        played = subprocess.run(
            [sys.executable, "-B", str(HERE / "stage.py")],
            input=script,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PLAY_SECONDS_MAX,
            env=_environment(sources),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"!! It does not come to an end within {PLAY_SECONDS_MAX:g} seconds.\n"
    if played.returncode:
        return f"!! This program does not run:\n{played.stderr.strip()[-1500:]}\n"
    return played.stdout


def simulate(
    sources: Path, options: list[str], again: str, bug: int | None, scene: LabFolder
) -> int:
    """Run raftline's simulated schedules with this program until one fails; return 1 then.

    `again` is the form of the command shown to repeat that seed: see `schedule.AGAIN`, and
    `schedule.LAB_BUG` for the bug.
    """
    # The package is bound to these sources before the simulation puts its own sources on the path,
    # where its schedules find the course.
    code = "import raftline, sys; from raftline_testing.virtual import simulate, schedule; "
    code += f"schedule.AGAIN = {again!r}; schedule.LAB_BUG = {bug}; "
    code += f"sys.exit(simulate.main({options!r}))"
    ran = subprocess.Popen(
        [sys.executable, "-B", "-c", code],
        env=_environment(sources),
        cwd=ROOT,
        start_new_session=True,  # a Ctrl-C is reported here, in one line
    )
    scene.ends_with_us(ran.pid)
    try:
        return ran.wait()
    finally:
        ran.kill()
        ran.wait()


def _environment(sources: Path) -> dict[str, str]:
    path = os.pathsep.join([str(sources), str(ROOT / "course"), str(ROOT / "testing")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}


def difference(should: str, does: str) -> str:
    """Return the first difference of the two, with the lines before it; "" if they are the same."""
    return "\n".join(
        difflib.unified_diff(
            should.splitlines(), does.splitlines(), "should happen", "happens", "", "", 12, ""
        )
    )


def folded(text: str) -> str:
    """Return the text with repeated groups shown once, with their counts."""
    lines, shown = text.splitlines(), list[str]()
    while lines:
        size, times = max(
            ((size, _times(lines, size)) for size in range(1, GROUP_MAX + 1)),
            key=lambda found: found[0] * (found[1] - 1),
        )
        group, lines = lines[:size], lines[size * times :]
        shown += group
        if times > 2:
            marks = {line[:1] for line in group}
            mark = marks.pop() if marks in ({"+"}, {"-"}) else " "
            which = "this line" if size == 1 else f"these {size} lines"
            shown.append(f"{mark}… {which} {times - 1} times more")
        else:
            shown += group * (times - 1)
    return "\n".join(shown)


def _times(lines: list[str], size: int) -> int:
    """Return how often the group of this many first lines is repeated."""
    times = 1
    while lines[times * size : (times + 1) * size] == lines[:size]:
        times += 1
    return times


def hint(number: int, which: int) -> str:
    """Return the first or the second hint for a bug."""
    text = (HERE / "hints.md").read_text(encoding="utf-8")
    match = re.search(rf"^\*\*{number}\*\* (.*?)(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    assert match is not None, f"hints.md has none for {number}"
    return " ".join(match[1].split()).split(" — ")[which - 1]


def answer(number: int) -> str:
    """Return the page's section on a bug."""
    page = HERE.parent / "solutions" / "bugs.md"
    if not page.exists():
        return NO_ANSWERS
    text = page.read_text(encoding="utf-8")
    match = re.search(rf"^## {number} .*?(?=\n## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert match is not None, f"{page} has none for {number}"
    return match[0].strip()


def _bug(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) in BUGS):
        raise argparse.ArgumentTypeError(f"there is no bug {text!r}, only {BUGS[0]} to {BUGS[-1]}")
    return int(text)


def arguments_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 and the reason if they are invalid."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("number", type=_bug, metavar=f"{BUGS[0]}-{BUGS[-1]}", help="which bug")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--without", action="store_true", help="play without the bug")
    what.add_argument("--copy", type=Path, metavar="DIR", help="write the faulty program there")
    what.add_argument("--from", type=Path, metavar="DIR", dest="mine", help="play with this copy")
    what.add_argument("--hint", type=int, nargs="?", const=1, choices=(1, 2), help="a hint: 1 or 2")
    what.add_argument("--answer", action="store_true", help="what it is, and where it was found")
    parser.add_argument("--whole", action="store_true", help="show all that happens")
    parser.add_argument(
        "--simulate",
        type=as_number("number of seeds", 1, 999_999),
        metavar="SEEDS",
        help="schedules of faults",
    )
    parser.add_argument(
        "--fault",
        action="append",
        choices=FAULTS,
        default=[],
        metavar="KIND",
        help=f"simulate only these, one --fault for each: {', '.join(FAULTS)}",
    )
    parser.add_argument(
        "--nodes", type=int, choices=range(1, 8), metavar="N", help="simulate so many servers"
    )
    parser.add_argument(
        "--seed", type=as_number("seed", 0, 999_999), metavar="S", help="simulate from this seed on"
    )
    typed = parser.parse_args(arguments)
    if typed.copy is not None:
        for name in FOLDERS:
            if (typed.copy / name).exists():
                parser.error(f"{typed.copy / name} exists already; nothing was changed")
        if typed.copy.resolve().is_relative_to(SOURCES):
            parser.error(f"{typed.copy} lies within raftline itself; nothing was changed")
    if (typed.fault or typed.nodes or typed.seed is not None) and typed.simulate is None:
        parser.error("--fault, --nodes and --seed are for --simulate")
    if typed.mine is not None and not (typed.mine / "src").is_dir():
        parser.error(f"{typed.mine / 'src'} is not there; make a copy with --copy DIR")
    return typed


def main() -> int:
    """Carry out the command; return the exit status."""
    typed = arguments_of()
    number: int = typed.number
    if typed.hint is not None:
        print(hint(number, typed.hint))
        return 0
    if typed.answer:
        print(answer(number))
        return 0
    if typed.copy is not None:
        print(f"{copy_with_bug(number, typed.copy)} holds the faulty program")
        return 0
    with LabFolder() as scene:
        if typed.without:
            sources = SOURCES
        elif typed.mine is not None:
            sources = typed.mine / "src"
        else:
            sources = copy_with_bug(number, scene.folder)
        if typed.simulate is not None:
            options = ["--count", str(typed.simulate), "--seed", str(typed.seed or 0)]
            nodes = typed.nodes or NODES.get(number)
            options += ["--nodes", str(nodes)] if nodes else []
            options += [word for kind in typed.fault for word in ("--fault", kind)]
            options += ["--verbose"] if typed.whole else []
            bug = 0 if typed.without else number if typed.mine is None else None
            return simulate(sources, options, _again(typed), bug, scene)
        does = happens(script_of(number), sources)
    return tell(number, does, whole=typed.whole, mended=typed.mine is not None)


def _again(typed: argparse.Namespace) -> str:
    """Return the form of the command that plays one schedule with the chosen program."""
    program = ["--without"] if typed.without else []
    program += ["--from", str(typed.mine)] if typed.mine is not None else []
    words = ["python3", sys.argv[0], str(typed.number), *program]
    fixed = shlex.join(words).replace("{", "{{").replace("}", "}}")
    return fixed + " --simulate 1 --seed {seed}{given} --whole"


def tell(number: int, does: str, *, whole: bool, mended: bool) -> int:
    """Print the events, or the first difference from the expected ones; return 1 if they differ."""
    first_difference = difference(script_of(number), does)
    if does.startswith("!! "):
        print(does, end="")
        return 1
    print(folded(does if whole or not first_difference else first_difference))
    if first_difference:
        how = "All that happens, with the bug" if whole else "Lines with - should happen, with + do"
        print(f"\n{how}. Stuck? --hint, and --hint 2.")
        return 1
    print("\nEverything happens as it should.")
    if mended:
        print("Explain it in your own words first; then compare: --answer.")
    return 0


if __name__ == "__main__":
    try:
        end_with(main)
    except DoesNotApply as problem:
        sys.exit(str(problem))
