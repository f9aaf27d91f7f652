"""The generator of load, built once for all tests of this folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> Path:
    """The generator of load, built as `make -C bench run` builds it."""
    subprocess.run(["make", "-C", "bench", "build/loadgen"], cwd=ROOT, check=True, timeout=100)
    return ROOT / "build" / "loadgen"
