"""`make release` prepares a release, and says what is left to a maintainer."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from tests.lists.trees import ROOT

CHANGELOG = """# Changelog

## [0.2.0] - 2031-05-06

Not released yet.

### Added

- A verb.

## [0.1.0] - 2030-01-02

### Added

- The store.
"""


@pytest.fixture(scope="module")
def release() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "deploy" / "release.py"))


def test_notes_list_the_newest_section(release: dict[str, Any]) -> None:
    assert release["notes"](CHANGELOG) == "### Added\n\n- A verb.\n"


def test_build_is_told_to_become_a_release(release: dict[str, Any]) -> None:
    left = release["what_is_left"]("0.2.0.dev7+g3fa94c1d2")
    assert "git tag -a v0.2.0" in left
    assert "upload" not in left


def test_release_names_push_upload_and_page(release: dict[str, Any]) -> None:
    left = release["what_is_left"]("0.2.0")
    for command in ("git push origin v0.2.0", "twine upload dist/*", "gh release create v0.2.0"):
        assert command in left
