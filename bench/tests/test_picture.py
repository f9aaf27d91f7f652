"""The picture of throughput against latency: its content, and its place in the pages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
SVG = "{http://www.w3.org/2000/svg}"
SYSTEMS = ("raftline", "raftline-wheel", "etcd", "PySyncObj", "redis")


def row(name: str, system: str, per_s: list[float], p99_ms: list[float]) -> dict[str, object]:
    return {"name": name, "system": system, "figures": {"per_s": per_s, "p99_ms": p99_ms}}


def results(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "found.json"
    found = {"kind": "bench", "date": "2100-01-02 03:04 UTC", "machine": {}, "settings": {}}
    path.write_text(json.dumps({**found, "rows": rows}))
    return path


def whole(folder: Path) -> Path:
    """Results of every system, in which one with a higher number is faster."""
    return results(
        folder,
        *(
            row(f"{what}, {count}", system, [1, 1000.0 * count * (n + 1), 1e9], [count / 8] * 3)
            for what in ("set", "get")
            for n, system in enumerate(SYSTEMS)
            for count in (64, 1, 8)
            if (what, system) != ("get", "PySyncObj")
        ),
        row("set, 64, busy", "etcd", [7e9], [1e9]),
        row("set, 8 x 16 in flight", "etcd", [7e9], [1e9]),
    )


def fill(found: Path, *pages: Path, picture: Path | None) -> None:
    command = [sys.executable, str(BENCH / "table.py"), "--bench", str(found)]
    command += ["--picture", str(picture)] if picture else []
    subprocess.run([*command, "--pages", *map(str, pages)], check=True, timeout=300)


def page(folder: Path, name: str = "bench") -> Path:
    path = folder / f"{name}.md"
    path.write_text(f"above\n<!-- figures {name} -->\nold\n<!-- end of figures -->\nbelow\n")
    return path


def panels(found: Path) -> dict[str, dict[str, list[list[float]]]]:
    """Return the lines of both panels as matplotlib has them: requests a second, and waits."""
    program = (
        f"import sys, json; sys.path[:0] = [{str(BENCH)!r}, {str(ROOT / 'src')!r}]\n"
        "import pathlib, results, throughput_picture\n"
        "figure = throughput_picture.figure_of(results.load(pathlib.Path(sys.argv[1])))\n"
        "print(json.dumps({axes.get_title(loc='left'): {line.get_label(): [list(line.get_xdata()),"
        " list(line.get_ydata())] for line in axes.get_lines()} for axes in figure.axes}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(found)], check=True, timeout=300, capture_output=True
    )
    drawn: dict[str, dict[str, list[list[float]]]] = json.loads(done.stdout)
    return drawn


def test_each_system_has_a_line_of_medians_where_measured(tmp_path: Path) -> None:
    """Each system is a line of medians in each panel where it was measured."""
    drawn = panels(whole(tmp_path))
    assert list(drawn) == ["set: p99 in ms", "get: p99 in ms"]
    assert list(drawn["set: p99 in ms"]) == list(SYSTEMS)
    assert set(drawn["get: p99 in ms"]) == set(SYSTEMS) - {"PySyncObj"}
    assert drawn["set: p99 in ms"]["raftline"] == [[1000.0, 8000.0, 64000.0], [0.125, 1.0, 8.0]]


def test_legend_names_only_measured_systems(tmp_path: Path) -> None:
    """The legend names each system that was measured and no other."""
    found = results(tmp_path, row("get, 8", "etcd", [10], [1]), row("get, 8", "redis", [20], [2]))
    fill(found, page(tmp_path), picture=tmp_path / "drawn.svg")
    root = ET.fromstring((tmp_path / "drawn.svg").read_text())
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert words & set(SYSTEMS) == {"etcd", "redis"}
    assert any("2100-01-02 03:04 UTC" in (word or "") for word in words)


def test_the_picture_is_for_light_pages_and_dark(tmp_path: Path) -> None:
    fill(whole(tmp_path), page(tmp_path), picture=tmp_path / "drawn.svg")
    assert "prefers-color-scheme:dark" in (tmp_path / "drawn.svg").read_text()


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for picture in pictures:
        fill(whole(tmp_path), page(tmp_path), picture=picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_a_page_shows_the_picture_by_its_path_from_there(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "bench").mkdir()
    pages = page(tmp_path, "short"), page(tmp_path / "bench", "bench")
    fill(whole(tmp_path), *pages, picture=tmp_path / "docs" / "drawn.svg")
    for path, link in zip(pages, ("docs/drawn.svg", "../docs/drawn.svg"), strict=True):
        assert f'<img src="{link}" ' in path.read_text()
        assert path.read_text().count("<img") == 1


@pytest.mark.parametrize("rows", [[], [row("set, 64, busy", "etcd", [10], [1])]])
def test_results_with_nothing_to_draw_leave_no_picture(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    fill(results(tmp_path, *rows), page(tmp_path), picture=tmp_path / "drawn.svg")
    assert not (tmp_path / "drawn.svg").exists()
    assert "<img" not in (tmp_path / "bench.md").read_text()


def test_the_picture_makes_the_readme_no_longer(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", readme)
    found = results(
        tmp_path,
        *(row(name, "etcd", [5], [2]) for name in ("set, 1", "set, 64", "set, 256", "get, 64")),
        *(row(name, "raftline", [9], [1]) for name in ("set, 1", "set, 64", "set, 256", "get, 64")),
    )
    fill(found, readme, picture=tmp_path / "drawn.svg")
    before, after = (
        re.split(r"\n\*\*Old\*\*|<!-- end of figures -->", path.read_text())[0].splitlines()
        for path in (ROOT / "README.md", readme)
    )
    assert len(after) <= len(before)
    assert sum("drawn.svg" in line for line in after) == 1
