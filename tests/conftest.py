"""Every test is run with SIGINT as a terminal leaves it."""

from __future__ import annotations

import signal

# `make test &` in a script, or some machine that builds, has it ignored, and what the tests start
# would inherit that. A signal that is handled here is at its default in a child.
signal.signal(signal.SIGINT, signal.default_int_handler)
