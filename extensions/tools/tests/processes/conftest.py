"""The fixtures of tests of real nodes."""

from __future__ import annotations

from tests.processes.conftest import kv, three  # noqa: F401
