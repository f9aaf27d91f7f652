"""A torn tail is cut and reported; anything else that does not fit is refused and explained."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from raftline.raft.log import Entry
from raftline.storage.disk import FilesRefused
from raftline_testing.files.faulty_folder import Fault, Kind
from raftline_testing.files.node_files import (
    BASE,
    FIRST,
    GOOD,
    SECOND,
    THIRD,
    boot,
    commands,
    expect_refusal,
    found,
    known,
    log_file,
    storage_file,
    write,
)
from raftline_testing.runner.at_night import in_the_rest

GOOD_ENTRIES = [
    Entry(1, 1, "noop"), Entry(2, 1, "set a 4"), Entry(3, 1, "set b 30"),
    Entry(4, 2, "delete b"), Entry(5, 2, "set c 1"),
]  # fmt: skip

# --- a torn tail --------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [(0, 0), (3, 1)])
def test_a_torn_tail_is_cut_and_reported(mark: tuple[int, int]) -> None:
    whole = log_file(FIRST, SECOND)
    for end in range(len(whole) + 1, len(GOOD)):
        folder = found(GOOD[:end], storage_file(2, mark=mark))
        manager, recovered = boot(folder)
        manager.close()
        assert recovered.log.last_index == 3
        assert not recovered.recovering
        assert recovered.notes[1] == (
            f"[!] s1.log: dropped {end - len(whole)} bytes after entry 3: a batch that was never "
            "acknowledged (torn write)"
        )
        assert folder.content("s1.log") == whole


def test_the_tail_is_cut_and_synced_before_anything_is_appended() -> None:
    folder = found(GOOD[:-5], storage_file(2, mark=(3, 1)))
    manager, _ = boot(folder)
    write(manager, 4, 2, "set x 1")
    assert folder.content("s1.log") == log_file(FIRST, SECOND, b"4 2 set x 1\n")
    manager.close()
    assert commands(folder)[3:] == ["set x 1"]


def test_a_torn_line_that_happens_to_parse_is_not_an_entry() -> None:
    whole = log_file(FIRST)
    assert commands(found(whole + b"3 1 set a 45", storage_file(1, mark=(2, 1)))) == [
        "noop",
        "set a 4",
    ]


def test_a_last_checksum_without_its_line_end_is_none() -> None:
    assert len(commands(found(GOOD[:-1], storage_file(2, mark=(3, 1))))) == 3


@pytest.mark.parametrize("zeros", [1, 512, 4096])
def test_zero_blocks_at_the_end_are_a_torn_tail(zeros: int) -> None:
    folder = found(GOOD + bytes(zeros), storage_file(2, mark=(5, 2)))
    manager, recovered = boot(folder)
    assert recovered.log.last_index == 5
    assert f"dropped {zeros:,} bytes after entry 5" in recovered.notes[1]
    assert folder.content("s1.log") == GOOD
    manager.close()


def test_last_bad_batch_is_torn_only_if_never_acknowledged() -> None:
    """A last batch with a wrong checksum counts as torn only if it was never acknowledged."""
    bad = bytearray(GOOD)
    bad[bad.index(b"set c 1") + 6] ^= 1
    assert len(commands(found(bytes(bad), storage_file(2, mark=(3, 1))))) == 3
    said = expect_refusal(found(bytes(bad), storage_file(2, mark=(5, 2))))
    assert said.startswith("s1.log, line 9 (byte ")
    assert "a checksum that does not match the lines above it" in said
    expect_refusal(found(bytes(bad), storage_file(2, mark=(4, 2))))


def test_torn_batch_after_a_cut_is_cut_under_a_higher_mark() -> None:
    """After a truncation, a torn batch is dropped even if the old mark is higher."""
    log = log_file(FIRST, SECOND)
    torn = b"# cut after 1\n2 2 se\0\0\0\0\n# 1 entry synced, crc32 00000000\n"
    folder = found(log + torn, storage_file(2, mark=(3, 1)))
    assert commands(folder) == ["noop", "set a 4", "set b 30"]


def test_a_torn_tail_that_holds_acknowledged_entries_is_refused() -> None:
    said = expect_refusal(found(GOOD[:-3], storage_file(2, mark=(5, 2))))
    assert "a checksum that does not match the lines above it" in said


def test_wrong_count_is_refused_under_an_old_mark() -> None:
    """A checksum with a wrong entry count is refused even under an old mark."""
    two = log_file(FIRST, SECOND, b"4 1 set d 1\n")
    lines = two.splitlines(keepends=True)
    del lines[5]  # the checksum of the second batch
    expect_refusal(found(b"".join(lines), storage_file(1, mark=(2, 1))))


def test_entry_of_another_term_is_not_the_promised_one() -> None:
    """The promised entry 2 was of term 2, and only entry 3 is."""
    folder = found(log_file(FIRST, b"3 2 set b 1\n") + b"4 2 se", storage_file(2, mark=(2, 2)))
    expect_refusal(folder)


@pytest.mark.parametrize("bad", [b"7 2 set c 1\n", b"6 2 set c\0\n", b"6 1 set c \xff\n"])
def test_damage_among_many_entries_is_named_at_its_place(bad: bytes) -> None:
    good, rest = b"3 2 set a 1\n4 2 set a 2\n5 2 set a 3\n", b"6 2 set c 1\n7 2 noop\n"
    whole = log_file(FIRST, good + rest)
    place = whole.index(rest)
    folder = found(
        whole.replace(b"6 2 set c 1\n", bad) + b"8 2 noop\n", storage_file(2, mark=(7, 2))
    )
    line = whole[:place].count(b"\n") + 1
    assert expect_refusal(folder).startswith(f"s1.log, line {line} (byte {place}): ")


# --- corruption ---------------------------------------------------------------------------


def test_flipped_bit_is_refused_or_costs_an_unpromised_batch() -> None:
    """Any flipped bit is refused, or costs only a batch that was never acknowledged."""
    last_batch = GOOD.index(b"4 2 delete b")
    cut = refused = 0
    for mark in ((5, 2), (3, 1)):
        for byte in range(len(BASE), len(GOOD)):
            for bit in range(8):
                bad = bytearray(GOOD)
                bad[byte] ^= 1 << bit
                try:
                    _, recovered = boot(found(bytes(bad), storage_file(2, mark=mark)))
                except FilesRefused:
                    refused += 1
                    continue
                cut += 1
                assert mark == (3, 1)
                assert byte >= last_batch
                assert known(recovered) == GOOD_ENTRIES[:3]
    assert cut
    assert refused


def damaged(data: bytes, place: int) -> Iterator[bytes]:
    """Yield the bytes with each damage at one place: a flipped bit, another byte, one more or
    less."""
    before, byte, after = data[:place], data[place], data[place + 1 :]
    for bit in range(8):
        yield before + bytes([byte ^ 1 << bit]) + after
    for put in (b"\0", b"\n", b"#", b" ", b"9", b""):
        if put != bytes([byte]):
            yield before + put + after
    yield before + bytes([byte, byte]) + after


@pytest.mark.parametrize("mark", [(2, 1), in_the_rest((0, 0))])
@pytest.mark.parametrize("torn", [b"", b"6 2 se"])
@pytest.mark.parametrize(
    ("second", "last"),
    [
        (SECOND, THIRD),
        (SECOND, b"# cut after 2\n3 2 set c 1\n"),
        (SECOND, b"4 1 set c 1\n"),
    ],
)
def test_damage_never_cuts_off_what_may_be_acknowledged(
    mark: tuple[int, int], torn: bytes, second: bytes, last: bytes
) -> None:
    """A batch may be acknowledged once the next one has begun, whatever the mark says."""
    storage = storage_file(2, mark=mark)
    before, whole = log_file(FIRST, second), log_file(FIRST, second, last)
    kept = [known(boot(found(data, storage))[1]) for data in (whole, before)]
    if torn:
        kept.pop()
    for place in range(len(log_file(FIRST)), len(before if torn else whole)):
        for bad in damaged(whole, place):
            try:
                _, recovered = boot(found(bad + torn, storage))
            except FilesRefused:
                continue
            assert known(recovered) in kept, bad[place - 40 :]


def test_flipped_bit_in_a_covered_base_line_is_refused() -> None:
    """A flipped bit in the base line is refused once a checksum covers it."""
    for byte in range(len(BASE)):
        for bit in range(8):
            bad = bytearray(GOOD)
            bad[byte] ^= 1 << bit
            expect_refusal(found(bytes(bad), storage_file(2, mark=(5, 2))))


def test_a_refusal_names_file_line_byte_and_the_ways_out() -> None:
    bad = GOOD.replace(b"3 1 set b 30", b"3 1 set b 31")
    byte = bad.index(b"# 1 entry")
    assert expect_refusal(found(bad, storage_file(2, mark=(5, 2)))) == (
        f"s1.log, line 6 (byte {byte}): a checksum that does not match the lines above it. Entries "
        "that were acknowledged are damaged; sound before it: entries up to 2. With that alone the "
        "node catches up from the others, without a vote until then; where it is the only member: "
        "raftline recover. s1 does not start before its files are repaired: raftline fsck --repair "
        "s1"
    )


@pytest.mark.parametrize("line", range(1, 8))
def test_a_line_deleted_doubled_or_exchanged_is_refused(line: int) -> None:
    lines = GOOD.splitlines(keepends=True)
    storage = storage_file(2, mark=(5, 2))
    expect_refusal(found(b"".join(lines[:line] + lines[line + 1 :]), storage))
    expect_refusal(found(b"".join(lines[: line + 1] + lines[line:]), storage))
    exchanged = [*lines[:line], lines[line + 1], lines[line], *lines[line + 2 :]]
    expect_refusal(found(b"".join(exchanged), storage))


def test_missing_or_exchanged_batches_are_refused() -> None:
    """Missing or swapped batches are refused, whatever the mark says."""
    one, two, three = FIRST + b"", SECOND, THIRD
    head = len(log_file(one))
    middle = log_file(one, two)[head:]
    last = log_file(one, two, three)[head + len(middle) :]
    for mark in ((0, 0), (2, 1), (3, 1), (5, 2)):
        expect_refusal(found(log_file(one) + last, storage_file(2, mark=mark)))
        expect_refusal(found(log_file(one) + last + middle, storage_file(2, mark=mark)))


def test_zero_blocks_in_the_middle_are_refused() -> None:
    storage = storage_file(2, mark=(5, 2))
    for begin in range(0, len(GOOD) - 40, 7):
        expect_refusal(found(GOOD[:begin] + bytes(32) + GOOD[begin + 32 :], storage))
        expect_refusal(found(GOOD[:begin] + bytes(512) + GOOD[begin:], storage))


@pytest.mark.parametrize(
    "line",
    [
        b"99999999999999999999 1 x", b"9223372036854775808 1 x", b"2 9223372036854775808 x",
        b"-2 1 x", b"+2 1 x", b"02 1 x", b"2 01 x", b"2 1e3 x", b"0x2 1 x", b"2_0 1 x", b" 2 1 x",
        b"2  1 x", b"2 1", "２ 1 x".encode(), "2 ١ x".encode(), b"2 0 x", b"3 1 x", b"1 1 x",
        b"2 1 \xff", b"2 1 a\x1bb", b"2 1 a\rb", b"2 1 \xc2\x85", b"2 1 \xed\xa0\x80", b"",
        b"#2 1 x", b"# cut after 5", b"# cut after -1", b"# cut after 01", b"# a remark",
    ],
)  # fmt: skip
def test_a_line_that_is_not_an_entry_is_refused(line: bytes) -> None:
    folder = found(log_file(b"1 1 noop\n", line + b"\n", b"3 1 y\n"), storage_file(1, mark=(3, 1)))
    assert expect_refusal(folder).startswith("s1.log, line 4 (byte ")


def test_a_first_entry_of_term_zero_is_refused() -> None:
    assert "term 0" in expect_refusal(found(log_file(b"1 0 x\n"), storage_file(1, mark=(1, 0))))


def test_a_falling_term_is_refused_and_a_cut_may_let_it_fall() -> None:
    storage = storage_file(3, mark=(2, 2))
    assert "term 2 below 3" in expect_refusal(found(log_file(b"1 3 x\n2 2 y\n"), storage))
    assert commands(found(log_file(b"1 3 x\n# cut after 0\n1 2 y\n2 2 z\n"), storage)) == ["y", "z"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda log: b"\xef\xbb\xbf" + log, "byte order mark"),
        (lambda log: log.replace(b"\n", b"\r\n"), "CRLF"),
        (lambda log: log.replace(b"0 0 base", b"0 0 base2"), "newer version"),
        (lambda log: log.replace(b"s2=localhost:10001", b"s1=localhost:10001"), "newer version"),
        (lambda log: log.replace(b"s2=", b"s2:"), "newer version"),
        (lambda log: log[len(BASE) :], "newer version"),
        (lambda log: log.replace(b"0 0 base", b"5 0 base"), "names an entry 5 of term 0"),
        (lambda log: log.replace(b"0 0 base", b"0 5 base"), "names an entry 0 of term 5"),
        (lambda log: BASE[:-1], "without its end"),
    ],
)
def test_a_malformed_base_line_is_refused(change: Callable[[bytes], bytes], complaint: str) -> None:
    said = expect_refusal(found(change(GOOD), storage_file(2, mark=(5, 2))))
    assert said.startswith("s1.log, line 1 (byte 0): ")
    assert complaint in said
    assert "?" not in said  # further sentences follow what is wrong with the line


@pytest.mark.parametrize("step", range(1, 8))
def test_a_file_that_cannot_be_read_or_written_is_named(step: int) -> None:
    folder = found(GOOD, storage_file(2, mark=(5, 2)))
    folder.fault = Fault(step, Kind.EIO)
    with pytest.raises(FilesRefused, match=rf"^s1\.(log|storage).*: {os.strerror(errno.EIO)}"):
        boot(folder)
