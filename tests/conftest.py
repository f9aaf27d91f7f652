"""Settings for all tests are those of `raftline_testing.runner.pytest_plugin`."""

from __future__ import annotations

pytest_plugins = ["raftline_testing.runner.pytest_plugin", "raftline_testing.nodes.fixtures"]
