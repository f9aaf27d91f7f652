"""The sheets of the labs."""

from __future__ import annotations

import re
from pathlib import Path

LABS = Path(__file__).resolve().parents[1] / "labs"
PARTS = ["Goal", "Time", "Run", "Look", "Questions"]


def labs() -> list[str]:
    """Return the labs that `make -C course labs` checks, in their order."""
    makefile = (LABS.parent / "Makefile").read_text("utf-8")
    line = re.search(r"^LABS := (.*)$", makefile, re.MULTILINE)
    assert line is not None
    return line[1].split()


def sheet(lab: str) -> str:
    return (LABS / lab / "README.md").read_text(encoding="utf-8")
