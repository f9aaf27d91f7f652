"""The two messages of a snapshot's journey survive the wire, and nothing malformed passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.raft.log import Snapshot
from raftline.raft.messages import CHUNK_BYTES, InstallSnapshot, InstallSnapshotReply, PeerError
from raftline.wire.peer_lines import format_message, read


@given(
    raw=st.binary(max_size=300),
    offset=st.integers(0, 2**40),
    index=st.integers(1, 2**62),
    crc=st.integers(0, 2**32 - 1),
)
def test_a_piece_of_any_bytes_survives_the_wire(
    raw: bytes, offset: int, index: int, crc: int
) -> None:
    snapshot = Snapshot(index, 3, offset + len(raw) + 7, crc)
    data = raw.decode("utf-8", "surrogateescape")
    message = InstallSnapshot("s1", "s2", 5, snapshot, offset, len(raw), 9, data)
    line = format_message(message)
    line.encode()
    assert "\n" not in line
    assert read("s1", "s2", line) == message
    assert message.raw == raw


def test_the_answer_survives_the_wire() -> None:
    for without_vote in (0, 7):
        held = InstallSnapshotReply("s2", "s1", 5, 17, 4, 66, 9, without_vote)
        assert read("s2", "s1", format_message(held)) == held


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("InstallSnapshot 5-17-4", "malformed InstallSnapshot. Its form is"),
        ('InstallSnapshot 5-17-6 offset 0 of 9 crc32 00000000 round 1 data ""', "no log of term 5"),
        ('InstallSnapshot 5-0-0 offset 0 of 9 crc32 00000000 round 1 data ""', "no log of term 5"),
        ('InstallSnapshot 5-7-0 offset 0 of 9 crc32 00000000 round 1 data ""', "no log of term 5"),
        ('InstallSnapshot 5-7-4 offset 8 of 9 crc32 00000000 round 1 data "ab"', "don't fit"),
        ('InstallSnapshot 5-7-4 offset 0 of 9 crc32 00000000 round 1 data "a', "not a JSON string"),
        ('InstallSnapshot 5-7-4 offset 0 of 9 crc32 00000000 round 1 data "\\ud800"', "not a JSON"),
        ('InstallSnapshot 5-7-4 offset 0 of 9 crc32 0000000g round 1 data ""', "malformed"),
        ('InstallSnapshot 5-7-4 offset 0 of 9999999999999999999 crc32 00000000 round 1 data ""',
         "beyond 2^63-1"),
        ("GiveSnapshotAfterByte 3", "malformed GiveSnapshotAfterByte. Its form is"),
        (f'InstallSnapshot 5-7-4 offset 0 of 999999 crc32 00000000 round 1 data "'
         f'{"a" * (CHUNK_BYTES + 1)}"', "don't fit"),
    ],
)  # fmt: skip
def test_a_malformed_piece_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(PeerError, match=complaint.replace("^", r"\^")):
        read("s1", "s2", line)
