"""Make the teachers' keys, one page for each lab, in build/keys:
`python3 course/labs/solutions/make.py`.

A page has each question of the sheet, its answer, a command, and the output. With them is the model
solution of lab 7. Keys are never part of a handout.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))  # this also runs in a clone that isn't installed

from labs.solutions import model

KEYS = HERE / "keys"
LABS = HERE.parent
MADE = LABS.parents[1] / "build" / "keys"
ANSWERS = {"bugs": HERE / "bugs.md"}  # pages that follow the questions
QUESTION = re.compile(r"^(\d+)\. (.*(?:\n(?!\d+\. |\n).*)*)", re.MULTILINE)
SECTION = re.compile(r"^## (\S.*)\n((?:(?!^## ).*\n?)*)", re.MULTILINE)


class KeyProblem(Exception):
    """A key that doesn't fit its sheet; one line says where."""


def questions(lab: str) -> dict[str, str]:
    """Return the questions of a lab's sheet, by number."""
    section = (LABS / lab / "README.md").read_text("utf-8").partition("\n## Questions\n")[2]
    return {number: " ".join(text.split()) for number, text in QUESTION.findall(section)}


def sections(lab: str) -> dict[str, str]:
    """Return the sections of a lab's key, by title: the number of a question, or another."""
    text = (KEYS / f"{lab}.md").read_text("utf-8")
    return {title: body.strip() for title, body in SECTION.findall(text)}


def page(lab: str) -> str:
    """Return a lab's key.

    Raises:
        KeyProblem: a question has no answer, or an answer no question.
    """
    numbered, answered = questions(lab), sections(lab)
    numbers = [title for title in answered if title.isdigit()]
    if numbers != list(numbered):
        raise KeyProblem(
            f"course/labs/solutions/keys/{lab}.md answers {numbers}, "
            f"the sheet asks {list(numbered)}"
        )
    key = (KEYS / f"{lab}.md").read_text("utf-8")
    title, _, before = key.partition("\n## ")[0].partition("\n")
    parts = [title, "For teachers. Keep this page from students.", before.strip()]
    for name, body in answered.items():
        parts += [f"## {name}", f"**{numbered[name]}**" if name in numbered else "", body]
    if lab in ANSWERS:
        parts.append(ANSWERS[lab].read_text("utf-8"))
    return "\n\n".join(part for part in parts if part).strip() + "\n"


def make_keys(target: Path) -> list[str]:
    """Make all keys in `target`; return the labs that have none.

    Raises:
        KeyProblem: as for a page.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    without = []
    for lab in sorted(path.parent.name for path in LABS.glob("*/README.md") if path.parent != HERE):
        if (KEYS / f"{lab}.md").exists():
            (target / f"{lab}.md").write_text(page(lab), encoding="utf-8")
        else:
            without.append(lab)
    model.write(model.model(), target / model.LAB)
    return without


def main() -> int:
    """Make the keys; return the exit status: 1 if one doesn't fit its sheet."""
    try:
        without = make_keys(MADE)
    except KeyProblem as problem:
        print(f"make.py: {problem}", file=sys.stderr)
        return 1
    print("build/keys has a page for each lab" + "".join(f", none for {lab}" for lab in without))
    return 0


if __name__ == "__main__":
    sys.exit(main())
