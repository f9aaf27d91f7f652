"""The kernel in a copy of the tree without one extension: its tests are collected, and a slice
passes. `make -C testing without EXTENSION=redis` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline_testing.runner.without import KERNEL_TESTS, NAMES, copy_without, folders_of, run_tests

SLICE = ("tests/core/elections", "tests/rim/loop")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_kernel_passes_without_extension(tmp_path: Path, name: str) -> None:
    tree = tmp_path / "tree"
    copy_without(name, tree)
    assert not any((tree / folder).exists() for folder in folders_of(name))
    assert run_tests(tree, ["--collect-only", "-qq", *KERNEL_TESTS]) == 0
    assert run_tests(tree, SLICE) == 0
