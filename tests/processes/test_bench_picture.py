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

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
SVG = "{http://www.w3.org/2000/svg}"
SYSTEMS = ("raftline", "raftline-wheel", "etcd", "PySyncObj", "redis")


def row(name: str, system: str, per_s: list[float], p99_ms: list[float]) -> dict[str, object]:
    return {"name": name, "system": system, "figures": {"per_s": per_s, "p99_ms": p99_ms}}


def results(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "found.json"
    found = {"kind": "bench", "date": "2026-01-02 03:04 UTC", "machine": {}, "settings": {}}
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
    subprocess.run([*command, "--pages", *map(str, pages)], check=True, timeout=60)


def page(folder: Path, name: str = "bench") -> Path:
    path = folder / f"{name}.md"
    path.write_text(f"above\n<!-- figures {name} -->\nold\n<!-- end of figures -->\nbelow\n")
    return path


@pytest.fixture
def drawn(tmp_path: Path) -> ET.Element:
    """The picture of whole results."""
    fill(whole(tmp_path), page(tmp_path), picture=tmp_path / "drawn.svg")
    return ET.fromstring((tmp_path / "drawn.svg").read_text())


def points(line: ET.Element) -> list[tuple[float, float]]:
    pairs = (one.split(",") for one in line.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def test_each_system_is_a_line_of_medians_in_each_panel_where_it_was_measured(
    drawn: ET.Element,
) -> None:
    titles = [title.text or "" for title in drawn.iter(f"{SVG}title")][1:]
    assert titles[:3] == [
        "raftline, set, 1: 1,000 a second, p99 0.12 ms",
        "raftline, set, 8: 8,000 a second, p99 1.00 ms",
        "raftline, set, 64: 64,000 a second, p99 8.00 ms",
    ]
    heads = {title.partition(":")[0].rpartition(", ")[0] for title in titles}
    expected = {f"{system}, {what}" for what in ("set", "get") for system in SYSTEMS}
    assert heads == expected - {"PySyncObj, get"}
    assert len(titles) == 3 * len(heads)


def test_more_a_second_is_farther_right_and_a_longer_wait_is_higher(drawn: ET.Element) -> None:
    panels = drawn.findall(f"{SVG}g")
    assert len(panels) == 2
    for panel in panels:
        lines = [points(line) for line in panel.iter(f"{SVG}polyline")]
        for line in lines:
            assert [x for x, _ in line] == sorted(x for x, _ in line)
            assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
        ends = [line[-1] for line in lines]
        assert [x for x, _ in ends] == sorted(x for x, _ in ends)
        assert len({y for _, y in ends}) == 1, "the same wait at another height"


def test_every_point_and_word_lies_inside_the_picture(drawn: ET.Element) -> None:
    width, height = map(float, drawn.attrib["viewBox"].split()[2:])
    for panel in drawn.findall(f"{SVG}g"):
        left = float(re.findall(r"[\d.]+", panel.attrib["transform"])[0])
        for line in panel.iter(f"{SVG}polyline"):
            for x, y in points(line):
                assert 0 < left + x < width
                assert 0 < y < height
        for text in panel.iter(f"{SVG}text"):
            assert 0 < left + float(text.attrib["x"]) < width
            assert 0 < float(text.attrib["y"]) < height


def test_the_legend_names_each_system_that_was_measured_and_no_other(tmp_path: Path) -> None:
    found = results(tmp_path, row("get, 8", "etcd", [10], [1]), row("get, 8", "redis", [20], [2]))
    fill(found, page(tmp_path), picture=tmp_path / "drawn.svg")
    root = ET.fromstring((tmp_path / "drawn.svg").read_text())
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert words & set(SYSTEMS) == {"etcd", "redis"}
    assert any("2026-01-02 03:04 UTC" in (word or "") for word in words)


def test_each_colour_of_the_light_picture_has_one_in_the_dark(drawn: ET.Element) -> None:
    style = drawn.findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    for kind in (".panel", ".grid", ".quiet", "text", *(f".s{n}" for n in range(len(SYSTEMS)))):
        of_light, of_dark = (
            re.search(rf"^{re.escape(kind)}{{.*?(#[0-9a-f]{{6}})", part, re.M)
            for part in (light, dark)
        )
        assert of_light, kind
        assert of_dark, kind
        assert of_light[1] != of_dark[1], kind


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
    """The README has a limit (tests/style/test_pages.py)."""
    readme = tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", readme)
    found = results(
        tmp_path,
        *(row(name, "etcd", [5], [2]) for name in ("set, 1", "set, 64", "set, 256", "get, 64")),
        *(row(name, "raftline", [9], [1]) for name in ("set, 1", "set, 64", "set, 256", "get, 64")),
    )
    fill(found, readme, picture=tmp_path / "drawn.svg")
    before, after = (path.read_text().splitlines() for path in (ROOT / "README.md", readme))
    assert len(after) <= len(before)
    assert sum("drawn.svg" in line for line in after) == 1
