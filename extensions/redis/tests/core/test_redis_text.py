"""The texts of commands: any bytes, which may be cut apart anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftline.redis.resp.programs import joined, text_of

AMID = st.lists(st.sampled_from(["a", "é", "中", "\U0001f600"]), max_size=4).map(
    lambda each: "".join(each).encode()
)


@given(AMID | st.binary(max_size=24), st.integers(0, 24))
def test_texts_that_are_joined_are_the_text_of_their_bytes(data: bytes, cut: int) -> None:
    """The bytes of a character may be cut apart."""
    assert joined(text_of(data[:cut]), text_of(data[cut:])) == text_of(data)
