"""The page of a whole run of the mutants: the outcome of each."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from .listed import Mutant


def write_page(path: Path, results: Sequence[tuple[Mutant, str]], day: datetime.date) -> None:
    """Write the results as a page of Markdown; an existing page is replaced."""
    survivors = [mutant for mutant, caught_by in results if not caught_by]
    caught = len(results) - len(survivors)
    lines = [
        "# Mutants: the outcome of each",
        "",
        f"{day.isoformat()}: {len(results)} mutants, {caught} caught, {len(survivors)} survived.",
        "",
        "| mutant | why it is a fault | caught by |",
        "|---|---|---|",
    ]
    for mutant, caught_by in results:
        by = f"`{caught_by}`" if caught_by else f"nothing: {mutant.survives}"
        lines.append(f"| `{mutant.name}` | {mutant.why} | {by} |")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
