"""tests/mutants/results.md: what became of each mutant when the whole list was last run."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.listed import Mutant

MARK = "## The last run"


def write_page(path: Path, results: Sequence[tuple[Mutant, str]], day: datetime.date) -> None:
    """Replace all from the heading on by these results; what stands before it is kept."""
    text = path.read_text(encoding="utf-8").partition(MARK)[0]
    path.write_text(text + _results(results, day), encoding="utf-8")


def _results(results: Sequence[tuple[Mutant, str]], day: datetime.date) -> str:
    survivors = [mutant for mutant, caught_by in results if not caught_by]
    caught = len(results) - len(survivors)
    lines = [
        MARK,
        "",
        f"{day.isoformat()}: {len(results)} mutants, {caught} caught, {len(survivors)} survived.",
        "",
        "| mutant | why it is a fault | caught by |",
        "|---|---|---|",
    ]
    for mutant, caught_by in results:
        by = f"`{caught_by}`" if caught_by else f"nothing: {mutant.survives}"
        lines.append(f"| `{mutant.name}` | {mutant.why} | {by} |")
    return "\n".join(lines) + "\n"
