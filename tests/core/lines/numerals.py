"""Texts that are, or only look like, numbers."""

from __future__ import annotations

LOOKALIKES = [
    "١", "１", "𝟏", "٣", "1３", "²", "1²", "①", "Ⅳ", "1_0", "0_1", "+1", "1e1", "0x1", "1\ufe0f",
]  # fmt: skip
TOO_LONG = ["9" * 20, "9" * 5000]
BEYOND = str(2**63)
WITH_ZEROS = ["01", "007", "00"]
