"""The settings for all tests come from `raftline_testing.runner.pytest_plugin`."""

from __future__ import annotations

pytest_plugins = ["raftline_testing.runner.pytest_plugin", "raftline_testing.nodes.fixtures"]
