"""Settings for all tests are those of `raftline_testing.runner.pytest_plugin`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest_plugins = ["raftline_testing.runner.pytest_plugin", "raftline_testing.nodes.fixtures"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> Path:
    """The generator of load, built as `make -C bench run` builds it."""
    subprocess.run(["make", "-C", "bench", "build/loadgen"], cwd=ROOT, check=True, timeout=100)
    return ROOT / "build" / "loadgen"
