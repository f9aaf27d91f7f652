"""The use of measurements: ratios of two results, and the tables of the pages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
PAGE = "above\n<!-- figures {} -->\nold\n<!-- end of figures -->\nbelow\n"


def row(name: str, system: str, **figures: list[float]) -> dict[str, object]:
    return {"name": name, "system": system, "figures": figures}


def results(path: Path, kind: str, *rows: dict[str, object], python: str = "3.11") -> Path:
    machine = {"processor": "abacus, 2 cores", "kernel": "6.1", "Python": python}
    found = {"kind": kind, "date": "2026-01-02 03:04 UTC", "machine": machine,
             "settings": {"rounds": "3"}, "rows": rows}  # fmt: skip
    path.write_text(json.dumps(found))
    return path


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_compare_prints_ratios_and_marks_chance_differences(tmp_path: Path) -> None:
    """The comparison prints new to old, and marks differences that may be chance."""
    old = results(
        tmp_path / "old.json",
        "bench",
        row("set, 64", "raftline", per_s=[100, 110, 120], p99_ms=[2, 2, 2]),
        row("set, 64", "etcd", per_s=[50, 50, 50]),
    )
    new = results(
        tmp_path / "new.json",
        "bench",
        row("set, 64", "raftline", per_s=[220, 220, 230], p99_ms=[1, 2, 3]),
        row("get, 64", "raftline", per_s=[300]),
        python="3.12",
    )
    done = run("compare.py", old, new)
    heading, line, *remarks = done.stdout.splitlines()
    assert heading.split() == ["new", "/", "old", "system", "per", "second", "p99", "ms"]
    assert line.split() == ["set,", "64", "raftline", "2.00", "~1.00"]
    assert "Python differs: 3.11, now 3.12" in remarks
    assert "only in the old file: set, 64 (etcd)" in remarks
    assert "only in the new file: get, 64 (raftline)" in remarks
    assert done.returncode == 0


def test_results_without_a_common_row_are_not_compared(tmp_path: Path) -> None:
    old = results(tmp_path / "old.json", "bench", row("set, 64", "raftline", per_s=[100]))
    new = results(tmp_path / "new.json", "growth", row("restart", "raftline", seconds=[2]))
    done = run("compare.py", old, new)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "(bench)" in done.stderr
    assert "(growth) have no row in common" in done.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [1]}', None])
def test_a_file_without_results_is_reported_in_one_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "odd.json"
    if text is not None:
        path.write_text(text)
    done = run("compare.py", path, path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert str(path) in done.stderr


def test_a_page_gets_the_newest_figures_between_its_markers(tmp_path: Path) -> None:
    bench = results(
        tmp_path / "bench.json",
        "bench",
        row("set, 64", "raftline", per_s=[300, 310, 320], p99_ms=[1, 1, 1], servers_cpu=[1.5]),
        row("set, 64", "etcd", per_s=[100, 100, 100], p99_ms=[4, 5, 6]),
    )
    restarted = row("a", "raftline", s=[1.0, 3.0], others_cpu=[0.1, 0.2])
    growth = results(tmp_path / "growth.json", "growth-restart", restarted)
    pages = [tmp_path / name for name in ("short", "bench", "restart", "unheard-of")]
    for page in pages:
        page.write_text(PAGE.format(page.name))
    done = run("table.py", "--bench", bench, "--growth", growth, "--pages", *pages)
    short, full, restart, unheard = (page.read_text() for page in pages)
    assert "| set, 64 | 310, 1.00 ms | 100, 5.00 ms |" in short
    assert "\n2026-01-02; abacus, 2 cores, Python 3.11.\n" in short
    assert "2026-01-02 03:04 UTC; abacus, 2 cores, kernel 6.1, Python 3.11" in full
    assert "| set, 64 | raftline | 310 (300–320) | 1.00 | 1.50 | 3.10 (3.00–3.20) |" in full
    assert "| a | raftline | 2.00 (1.00–3.00) |\n" in restart
    assert all(text.startswith("above\n") and text.endswith("\nbelow\n") for text in (short, full))
    assert "old" not in short + full + restart
    assert unheard.startswith("above\n<!-- figures unheard-of -->\nold\n")
    assert done.stderr == "no results for unheard-of: its table stays as it is\n"


def short_table_of(tmp_path: Path, *rows: dict[str, object]) -> list[str]:
    """Return the lines of the README's table for such results."""
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("short"))
    run("table.py", "--bench", results(tmp_path / "b.json", "bench", *rows), "--pages", page)
    return [line for line in page.read_text().splitlines() if line.startswith("|")]


def test_the_short_table_has_four_rows_and_four_columns(tmp_path: Path) -> None:
    names = ("set, 1", "set, 8", "set, 64", "set, 256", "get, 1", "get, 64", "get, 256")
    systems = ("etcd", "PySyncObj", "raftline-wheel", "raftline")
    table = short_table_of(
        tmp_path,
        *(row(name, system, per_s=[10.0], p99_ms=[1.0]) for name in names for system in systems),
    )
    assert table == [
        "| requests a second, p99 | raftline | its compiled wheel | etcd |",
        "|---|---|---|---|",
        *(
            f"| {name} | 10.0, 1.00 ms | 10.0, 1.00 ms | 10.0, 1.00 ms |"
            for name in ("set, 1", "set, 64", "set, 256", "get, 64")
        ),
    ]


def test_the_short_table_leaves_empty_what_was_not_measured(tmp_path: Path) -> None:
    table = short_table_of(
        tmp_path,
        row("set, 1", "raftline", per_s=[10.0], p99_ms=[4.0]),
        row("set, 1", "raftline-wheel", per_s=[15.0]),
        row("set, 64", "raftline", per_s=[20.0]),
        row("get, 64", "raftline-wheel", per_s=[30.0]),
    )
    assert table[0] == "| requests a second, p99 | raftline | its compiled wheel |"
    assert table[2:] == ["| set, 1 | 10.0, 4.00 ms | 15.0 |", "| set, 64 | 20.0 |  |"]


def test_table_does_not_get_older_results(tmp_path: Path) -> None:
    bench = results(tmp_path / "b.json", "bench", row("get, 1", "raftline", per_s=[3.0]))
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    for newer in ("2026-01-02 03:05 UTC", "2026-01-03"):
        page.write_text(PAGE.format("bench").replace("old", f"{newer}; abacus"))
        done = run("table.py", "--bench", bench, "--pages", page, "--picture", picture)
        assert f"{newer}; abacus" in page.read_text()
        assert "get, 1" not in page.read_text()
        assert done.stderr == "only older results for bench: its table stays as it is\n"
        assert not picture.exists()


def test_filling_a_page_twice_is_filling_it_once(tmp_path: Path) -> None:
    bench = results(tmp_path / "b.json", "bench", row("get, 1", "raftline", per_s=[3.0]))
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("bench"))
    run("table.py", "--bench", bench, "--pages", page)
    once = page.read_text()
    run("table.py", "--bench", bench, "--pages", page)
    assert page.read_text() == once != PAGE.format("bench")
