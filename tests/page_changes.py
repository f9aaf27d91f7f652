"""The changes of docs/develop/add-a-command.md: blocks of `diff FILE`, with lines around them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "develop" / "add-a-command.md"
_BLOCK = re.compile(r"^```diff (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Change:
    """One block: unchanged lines begin with a space, new ones with `+`, others with `-`."""

    file: str
    lines: tuple[str, ...]

    def applied(self, text: str) -> str:
        """Return the text of the file with the change in it."""
        before, after = ("".join(f"{each[1:]}\n" for each in self._but(sign)) for sign in "+-")
        found = text.count(before)
        assert found == 1, f"{PAGE.name}: this stands {found} times in {self.file}:\n{before}"
        return text.replace(before, after)

    def _but(self, sign: str) -> list[str]:
        return [line for line in self.lines if not line.startswith(sign)]


def changes(page: Path = PAGE) -> list[Change]:
    """Return the changes in the order of the page."""
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Change(file, tuple(lines.splitlines())) for file, lines in blocks]
