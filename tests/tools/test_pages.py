"""`raftline docs`: the pages from a clone, and from a package that has them inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raftline.tools import docs
from raftline_testing.doubles import in_process

ROOT = Path(__file__).parents[2]


def test_each_page_is_listed_by_a_name_of_its_own() -> None:
    paths = [path for pattern in docs.FILES for path in ROOT.glob(pattern)]
    assert len(docs.pages()) == len(paths)
    listed = in_process.raftline("docs").stdout.splitlines()
    assert len(listed) == len(paths)
    assert any(line.split(maxsplit=1)[:2] == ["monitoring", "Monitoring"] for line in listed)
    assert all(len(line.split()) > 1 for line in listed)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("alerts", "deploy/prometheus/alerts.yml"),
        ("prometheus", "deploy/prometheus/prometheus.yml"),
        ("dashboard", "deploy/grafana/raftline.json"),
        ("three-hosts", "docs/operate/three-hosts.md"),
        ("docs/repair.md", "docs/repair.md"),
    ],
)
def test_a_page_is_printed_as_it_is(name: str, path: str) -> None:
    done = in_process.raftline("docs", name)
    assert (done.stdout, done.stderr, done.returncode) == ((ROOT / path).read_text(), "", 0)


def test_a_name_that_no_page_has_is_one_line_with_a_guess() -> None:
    done = in_process.raftline("docs", "alert")
    said = "raftline: there is no page 'alert'; did you mean alerts?\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


def test_an_installed_package_has_the_pages_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As setup.py packs them, and `raftline docs --to` writes them."""
    monkeypatch.chdir(ROOT)
    setup = (ROOT / "setup.py").read_text().partition("\nsetup(version")[0]
    (tmp_path / "packing.py").write_text(setup)
    packed = tmp_path / "raftline" / docs.PACKED
    code = f"import packing, pathlib; packing.pack(pathlib.Path({str(packed)!r}))"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    in_clone = docs.pages()
    monkeypatch.setattr(docs, "PACKAGE", tmp_path / "raftline")
    assert docs.pages() == in_clone
    done = in_process.raftline("docs", "--to", tmp_path / "all")
    assert done.stdout == f"{tmp_path / 'all'}: {len(in_clone)} files; begin with docs/index.md\n"
    for path, text in in_clone.values():
        assert (tmp_path / "all" / path).read_text() == text
