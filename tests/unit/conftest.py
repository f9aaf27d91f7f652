"""Property tests ask for no speed, and for the same examples each time.

By itself Hypothesis fails a test whose example takes 0.2 s, or whose examples take a second to
draw, as they may on a busy machine; and it draws others each time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "raftline", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("raftline")
