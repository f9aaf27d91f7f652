"""All targets of the fuzzer: those of the kernel, and those of each extension that is there."""

from __future__ import annotations

from ..extensions import joined
from . import targets

TARGETS = dict(targets.TARGETS)
for module in joined("fuzz_targets"):
    TARGETS |= module.TARGETS
