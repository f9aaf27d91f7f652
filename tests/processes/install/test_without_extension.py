"""The kernel in a copy of the tree without one extension: its tests are collected, and a slice
passes. `make -C testing without` runs all of them for each extension."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.common.extensions import EXTENSIONS
from raftline_testing.runner.tree_copy import copy_tree
from raftline_testing.runner.without import KERNEL_TESTS, run_tests, taken_out

# Files whose tests run; all others are collected, so that all imports are tried.
SLICE = "test_election or test_driver"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for all tests, whose modules are compiled once."""
    tree = tmp_path_factory.mktemp("without") / "tree"
    copy_tree(tree)
    return tree


@pytest.mark.parametrize("name", EXTENSIONS)
def test_kernel_passes_without_extension(tree: Path, name: str) -> None:
    folder = tree / "extensions" / name
    with taken_out(name, tree):
        assert not folder.exists()
        assert run_tests(tree, [*KERNEL_TESTS, "-k", SLICE]) == 0
    assert folder.exists()
