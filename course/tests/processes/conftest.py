"""The node in C, built once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from course.tests.processes.c_node import build


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the node in C."""
    return build(tmp_path_factory.mktemp("c-node"), "")
