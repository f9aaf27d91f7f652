"""A table that is older than what it measures is marked as old on its page."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))
age, table = map(importlib.import_module, ("age", "table"))  # programs beside these tests

PAGE = "<!-- figures door -->\n\n| a |\n|---|\n\n2030-01-02; {}.\n\n<!-- end of figures -->\n"
has_history = pytest.mark.skipif(not age.has_history(), reason="needs a whole clone")


@has_history
@pytest.mark.parametrize("page", table.PAGES, ids=lambda path: path.name)
def test_each_old_table_is_marked_on_its_page(page: Path) -> None:
    """`make -C bench table` puts the marks right."""
    text = page.read_text(encoding="utf-8")
    assert age.with_ages(text) == text


@has_history
def test_table_is_old_once_its_code_changed() -> None:
    first = age._git("rev-list", "--max-parents=0", "HEAD").split()[0][:12]
    marked = age.with_ages(PAGE.format(f"commit {first}"))
    assert f"**Old**: what it measures has changed since commit {first}.\n" in marked
    assert age.with_ages(marked) == marked


@has_history
def test_mark_goes_when_the_table_is_measured_again() -> None:
    old = age.with_ages(PAGE.format("no commit"))
    assert "**Old**: " in old
    now = age._git("rev-parse", "--short=12", "HEAD")
    assert age.with_ages(old.replace("no commit", f"commit {now}")) == PAGE.format(f"commit {now}")


@pytest.mark.parametrize(
    "words",
    [
        ("run.py", "--rounds", "3"),
        ("growth.py", "--only", "restart"),
        ("soak.py", "--minutes", "60"),
    ],
    ids=lambda words: words[0],
)
def test_measurement_for_a_page_waits_for_calm(words: tuple[str, ...], tmp_path: Path) -> None:
    """With a load above half a core for each core it ends, before any node starts."""
    busy = "import os, runpy, sys; os.getloadavg = lambda: (76.0, 76.0, 76.0); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"  # noqa: E501
    done = subprocess.run(
        [sys.executable, "-c", busy, *words, "--dir", tmp_path, "--json", tmp_path],
        cwd=BENCH,
        env={**os.environ, "PYTHONPATH": str(BENCH)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "the load of the last minute is 76.0" in done.stderr
    assert not list(tmp_path.iterdir())
