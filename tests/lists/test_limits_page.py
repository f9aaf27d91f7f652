"""docs/operate/limits.md has a row for each bound in src/wire/limits.py, with its value."""

from __future__ import annotations

import re
from pathlib import Path

from raftline.wire import limits

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operate" / "limits.md"
ROW = re.compile(r"^\| ([^|]+) \| `([A-Z_]+)` \| [^|]+ \|[^|]*\|$", re.M)


def bounds() -> dict[str, float]:
    return {name: value for name, value in vars(limits).items() if name.isupper()}


def spelled(name: str, value: float) -> str:
    """Return a bound as the page spells it."""
    if name.endswith("_S"):
        return f"{value:g} s"
    if not name.endswith("_BYTES"):
        return f"{value:,}"
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value % size == 0:
            return f"{value // size:g} {unit}"
    return f"{value:g} bytes"


def test_the_page_has_each_bound_with_its_value_once() -> None:
    found = [(name, said) for said, name in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert found == [(name, spelled(name, value)) for name, value in bounds().items()]


def test_the_code_takes_each_bound_from_the_table() -> None:
    code = [path for path in (ROOT / "src").rglob("*.py") if path.name != "limits.py"]
    words = {word for path in code for word in re.findall(r"\w+", path.read_text("utf-8"))}
    assert sorted(set(bounds()) - words) == []
