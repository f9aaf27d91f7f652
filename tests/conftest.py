"""Settings for all tests: SIGINT as a terminal leaves it; property tests without a clock."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# `make test &` in a script, or some machine that builds, has it ignored, and what the tests start
# would inherit that. A signal that is handled here is at its default in a child.
signal.signal(signal.SIGINT, signal.default_int_handler)

# By itself Hypothesis fails a test whose example takes 0.2 s, or whose examples take a second to
# draw, as they may on a busy machine; and it draws others each time.
settings.register_profile(
    "raftline", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("raftline")
