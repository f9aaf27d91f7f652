"""A target with a fault that chance doesn't find, but the guided fuzzer must."""

from __future__ import annotations

from hypothesis import strategies as st

from .targets import BYTES, Target


def check(data: bytes) -> None:
    if data[:3] == b"R\xf77":
        raise ValueError("planted")


TARGETS = {"planted": Target(st.binary(max_size=20), check, BYTES)}
