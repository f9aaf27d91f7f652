"""NAME.state_machine: what it looks like, and that nothing but the whole of it is believed."""

from __future__ import annotations

import io
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline import logmanager
from raftline.common.process.wakeup import no_pause
from raftline.raft.effects import Chunk, HardState
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.state.store import sizes_of
from raftline.storage import snapshot_lines
from raftline.storage.disk import FilesRefused
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import (
    STEP_LINES,
    LoadedSnapshot,
    MachineState,
    format_snapshot,
)
from raftline.wire.key_stat import lease_of, value_of, with_facts
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import (
    BASE,
    MEMBERS,
    boot,
    entries,
    expect_refusal,
    log_file,
    storage_file,
    vote,
    write,
)
from raftline_testing.files.snapshot_writing import write_snapshot

NAME = "s1.state_machine"


def state_of(
    pairs: dict[str, str], index: int = 17, sessions: list[str] | None = None
) -> MachineState:
    held = _Held(pairs)
    return MachineState(index, 4, all_vote(MEMBERS), sessions or [], held)


def formatted(pairs: dict[str, str], index: int = 17, sessions: list[str] | None = None) -> bytes:
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    file.publish(write_snapshot(file, state_of(pairs, index, sessions)))
    return folder.content(NAME)


def loaded(data: bytes) -> LoadedSnapshot:
    return SnapshotFile(MemoryFolder({NAME: data}), "s1").read()


def pairs_in(data: bytes) -> dict[str, str]:
    """Return the pairs of a snapshot without their facts."""
    return {key: value_of(text) for key, text in loaded(data).pairs.items()}


class _Held(dict[str, str]):
    """Pairs whose last change was entry 9; it counts how many were requested."""

    requested = 0

    def items(self) -> Any:
        for key, value in super().items():
            self.requested += 1
            yield key, with_facts(value, 9)


def test_a_snapshot_is_encoded_only_as_far_as_it_is_written() -> None:
    state = state_of({f"k{number}": "4" for number in range(20 * STEP_LINES)})
    pieces = format_snapshot(state)
    next(pieces)
    assert isinstance(state.pairs, _Held)
    assert state.pairs.requested <= STEP_LINES


def test_a_snapshot_is_text_that_a_person_can_read() -> None:
    pairs = {"a": "4", "b": "two words", "empty": ""}
    text = formatted(pairs, sessions=["client7 12 SET …"]).decode()
    assert text.splitlines()[:-1] == [
        "17 4 snapshot s1=localhost:10000 s2=localhost:10001 s3=localhost:10002",
        "sessions 1",
        "client7 12 SET …",
        "leases 0",
        "keys 3",
        "9 a 4",
        "9 b two words",
        "9 empty ",
    ]
    assert text.splitlines()[-1].startswith("# end: 1 session, 0 leases, 3 keys, crc32 ")


def test_the_last_removals_of_keys_are_read_back() -> None:
    """`KEY absent since INDEX` gives the same result at a node that starts from a snapshot as at
    those that applied the removals."""
    state = state_of({"a": "4"})
    state.removals = {203: 16, 7: 2}
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    file.publish(write_snapshot(file, state))
    lines = folder.content(NAME).decode().splitlines()
    assert lines[1:6] == ["sessions 0", "leases 0", "removals 2", "7 2", "203 16"]
    assert lines[-1].startswith("# end: 0 sessions, 0 leases, 2 removals, 1 key, crc32 ")
    assert loaded(folder.content(NAME)).removals == state.removals


@pytest.mark.parametrize("sessions", [0, 1, 249, 250, 999, 1000, 1001])
@pytest.mark.parametrize("keys", [0, 1, 250, 999, 1000, 1001, 2750])
def test_any_number_of_sessions_and_keys_is_read_back(sessions: int, keys: int) -> None:
    pairs = {f"k{number}": f"v {number}" for number in range(keys)}
    lines = [f"client{number} …" for number in range(sessions)]
    data = formatted(pairs, sessions=lines)
    found = loaded(data)
    assert (pairs_in(data), found.sessions) == (pairs, lines)
    assert found.members == all_vote(MEMBERS)
    assert found.snapshot[:3] == (17, 4, len(data))
    assert data.count(b" lines, crc32 ") == (sessions + keys) // 1000


@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc", "Z"]), min_size=1),
        st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"])),
        max_size=20,
    )
)
def test_any_pairs_are_read_back(pairs: dict[str, str]) -> None:
    assert pairs_in(formatted(pairs)) == pairs


@given(
    st.dictionaries(
        st.text(st.sampled_from("ab,#9\u00e9\U0001d11e"), min_size=1, max_size=4),
        st.builds(
            with_facts,
            st.text(st.sampled_from("a 7,\u00e9\U0001d11e"), max_size=5),
            st.sampled_from([0, 1, 57, 10**17, 10**18, 2**63 - 1]),
            st.sampled_from(["", "", "lease-4", "own-9"]),
            st.sampled_from(["", "", "bob"]),
        ),
        max_size=600,
    )
)
def test_facts_are_read_back_and_sizes_are_those_of_the_pairs(held: dict[str, str]) -> None:
    data = b"".join(format_snapshot(MachineState(17, 4, all_vote(MEMBERS), [], held)))
    found = loaded(data)
    assert found.pairs == held
    leases = {key: lease for key, text in held.items() if (lease := lease_of(text))}
    assert found.leased == {
        lease: {key for key in leases if leases[key] == lease} for lease in leases.values()
    }
    size, accounts = logmanager._sizes_of(found, no_pause)
    assert (size, accounts.bytes) == (sizes_of(held).bytes, sizes_of(held).accounts.bytes)


def test_a_key_may_look_like_a_checksum() -> None:
    pairs = {"#": "1000 lines, crc32 00000000", "sessions": "5", "keys": "7"}
    assert pairs_in(formatted(pairs)) == pairs


def expect_damage(data: bytes) -> str:
    """Check that no node starts with this snapshot; return why."""
    return expect_refusal(MemoryFolder({NAME: data}))


def test_a_snapshot_cut_at_any_byte_is_refused_naming_the_line() -> None:
    data = formatted({"a": "4", "b": "5"}, sessions=["x"])
    for end in range(len(data)):
        said = expect_damage(data[:end])
        assert said.startswith(f"{NAME}, line ")
        assert "raftline fsck --repair s1" in said


def test_a_flipped_bit_anywhere_is_refused() -> None:
    data = formatted({"a": "4", "b": "5"}, sessions=["x"])
    for place in range(len(data)):
        for bit in (0, 4, 7):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            expect_damage(bytes(flipped))


def test_missing_doubled_or_moved_lines_are_refused() -> None:
    """Lines or batches that are missing, repeated or out of place are refused."""
    data = formatted({f"k{number:04}": "v" for number in range(3500)})
    lines = data.splitlines(keepends=True)
    checksums = [place for place, line in enumerate(lines) if line.startswith(b"# ")]
    assert len(checksums) == 4
    first, second, third = checksums[:3]
    batch = lines[first + 1 : second + 1]
    for changed in (
        lines[:5] + lines[6:],
        lines[:6] + lines[5:],
        [*lines[:5], lines[6], lines[5], *lines[7:]],
        lines[: first + 1] + lines[second + 1 :],
        lines[: second + 1] + batch + lines[second + 1 :],
        lines[: first + 1] + lines[second + 1 : third + 1] + batch + lines[third + 1 :],
        [*lines, b"more 1\n"],
        [*lines[: first + 1], b"\0" * 512, *lines[first + 1 :]],
    ):
        expect_damage(b"".join(changed))


@pytest.mark.parametrize(
    ("keys", "line", "why"),
    [
        (b"keys 2\n9 a 4\n9 a 5\n", 7, "2 keys, 1 of them twice"),
        (b"keys 2_0\n9 a 4\n9 a 5\n", 4, "not `keys COUNT`"),
        (b"kegs 2\n9 a 4\n9 b 5\n", 4, "not `keys COUNT`"),
        (b"keys 9999999999999999999\n9 a 4\n", 4, "not `keys COUNT`"),
        (b"keys 999999999999999999\n9 a 4\n", 6, "the file ends too early"),
    ],
)
def test_a_malformed_snapshot_with_a_matching_crc_is_refused(
    keys: bytes, line: int, why: str
) -> None:
    data = b"17 4 snapshot s1=h:1\nsessions 0\nleases 0\n" + keys
    count = keys.count(b"\n") - 1
    data += b"# end: 0 sessions, 0 leases, %d keys, crc32 %08x\n" % (count, crc32(data))
    assert f", line {line}: {why}" in expect_damage(data)


def test_damage_is_found_at_the_next_checksum() -> None:
    data = formatted({f"k{number:04}": "v" for number in range(3500)})
    assert expect_damage(data.replace(b"k1500 v", b"k1500 w")).startswith(
        f"{NAME}, line 2006: a checksum that does not match the lines above it"
    )


@pytest.mark.parametrize("before", [0, 1, 4])
def test_a_hole_is_refused_before_all_of_it_is_in_memory(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_lines, "LINE_BYTES_MAX", 1 << 12)
    lines = formatted({"a": "4", "b": "5"}).splitlines(keepends=True)
    holed = b"".join([*lines[:before], b"\0" * (1 << 20), *lines[before:]])
    file = io.BytesIO(holed)
    with pytest.raises(ValueError, match=f"line {before + 1}: no line end within 4,096 bytes"):
        snapshot_lines.SnapshotReader(file, no_pause).read()
    assert file.tell() < 1 << 13


def test_an_unknown_form_is_taken_for_a_newer_version() -> None:
    data = formatted({"a": "4"})
    for first, changed in (
        (b" snapshot ", b" snapshot2 "),
        (b"s2=", b"s2:"),
        (b"17", b"\xef\xbb\xbf17"),
    ):
        said = expect_damage(data.replace(first, changed, 1))
        assert "a newer version may have written it" in said
    assert expect_damage(data.replace(b"\n", b"\r\n"))


def test_a_snapshot_never_put_in_force_is_removed_at_the_start() -> None:
    folder = MemoryFolder({f"{NAME}.tmp": b"half", f"{NAME}.part": b"half"})
    folder.put("s1.log.new", b"half")
    boot(folder)
    assert set(folder.contents()) == {"s1.log", "s1.storage", ".s1.born"}


def test_pieces_make_up_the_snapshot_that_was_sent() -> None:
    data = formatted({f"k{number}": "é" * 50 for number in range(200)})
    sent = loaded(data).snapshot
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    for offset in range(0, len(data), 777):
        file.write_chunk(Chunk(offset, data[offset : offset + 777]))
    arrived = file.check(sent, no_pause)
    assert arrived.pairs == loaded(data).pairs
    file.install(arrived)
    assert folder.content(NAME) == data
    assert file.current == sent


def test_a_snapshot_that_is_not_the_announced_one_is_refused() -> None:
    data = formatted({"a": "4"})
    file = SnapshotFile(MemoryFolder(), "s1")
    file.write_chunk(Chunk(0, data))
    announced = loaded(data).snapshot._replace(index=18)
    with pytest.raises(ValueError, match="was announced"):
        file.check(announced, no_pause)


def test_an_older_snapshot_never_takes_the_name() -> None:
    folder = MemoryFolder()
    file = SnapshotFile(folder, "s1")
    assert file.publish(write_snapshot(file, state_of({"a": "1"}, 20)))
    assert not file.publish(write_snapshot(file, state_of({"a": "0"}, 10)))
    assert loaded(folder.content(NAME)).snapshot.index == 20
    assert set(folder.contents()) == {NAME}


def test_only_the_snapshot_in_force_is_opened_to_be_sent() -> None:
    file = SnapshotFile(MemoryFolder(), "s1")
    first = write_snapshot(file, state_of({"a": "1"}, 20))
    assert file.open(first) is None
    file.publish(first)
    opened = file.open(first)
    assert opened is not None
    file.publish(write_snapshot(file, state_of({"a": "2"}, 30)))
    assert file.open(first) is None
    opened.seek(0)
    assert opened.read(6) == b"20 4 s"


# --- the three files together ---------------------------------------------------------------


def compacted(index: int, *batches: bytes) -> bytes:
    base = BASE.replace(b"0 0 base", b"%d 4 base" % index)
    return log_file(*batches, base=base)


def node_files(log: bytes, snapshot: bytes | None, mark: tuple[int, int]) -> MemoryFolder:
    files = {"s1.log": log, "s1.storage": storage_file(5, "s2", mark)}
    return MemoryFolder(files | ({} if snapshot is None else {NAME: snapshot}))


def test_a_node_starts_from_its_snapshot_and_the_log_after_it() -> None:
    folder = node_files(
        compacted(17, b"18 4 set a 5\n19 5 noop\n"), formatted({"a": "4", "b": "1"}), (19, 5)
    )
    manager, recovered = boot(folder)
    log = recovered.log
    assert manager.store == {"a": "4", "b": "1"}
    assert (log.base_index, log.base_term, log.last_index) == (17, 4, 19)
    assert recovered.snapshot is not None
    assert recovered.snapshot.index == 17
    assert not recovered.recovering
    assert "[*] s1.state_machine: 2 keys, the state after entry 17" in recovered.notes
    manager.apply(log.entries(18, 19))
    assert manager.read(["get a"]) == ["GET response: 5"]
    assert manager.applied == (19, 5)


def test_log_entries_that_the_snapshot_covers_are_skipped() -> None:
    lines = b"".join(b"%d 4 set k %d\n" % (number, number) for number in range(11, 20))
    folder = node_files(compacted(10, lines), formatted({"k": "17"}), (19, 4))
    manager, recovered = boot(folder)
    assert recovered.log.base_index == 17
    assert [entry.index for entry in recovered.log.entries(18, 19)] == [18, 19]
    assert write(manager, 20, 5, "set z 1") == (20, 5)
    manager.close()
    _, again = boot(folder)
    assert again.log.last_index == 20


def test_log_deleted_after_a_full_snapshot_is_reported() -> None:
    """The log was deleted after a snapshot that holds all of its entries."""
    folder = MemoryFolder(
        {NAME: formatted({"a": "4"}), "s1.storage": storage_file(5, mark=(17, 4))}
    )
    manager, recovered = boot(folder)
    manager.close()
    assert recovered.recovering
    assert any(note.startswith("[!] s1.log is gone, and") for note in recovered.notes)
    _, again = boot(folder)
    assert any("s1.log has not caught up yet after a loss" in note for note in again.notes)


def test_log_ending_before_the_snapshot_begins_after_it() -> None:
    """A log that ends before the snapshot is restarted after it."""
    folder = node_files(log_file(b"1 1 noop\n2 1 set a 1\n"), formatted({"a": "4"}), (2, 1))
    manager, recovered = boot(folder)
    assert not recovered.recovering
    assert (recovered.log.base_index, recovered.log.last_index) == (17, 17)
    assert folder.content("s1.log").startswith(b"17 4 base s1=")
    assert write(manager, 18, 4, "x") == (18, 4)


def test_log_beginning_after_an_older_snapshot_is_refused() -> None:
    """A log whose snapshot is missing or too old is refused."""
    log = compacted(30, b"31 4 set a 5\n")
    for snapshot, what in (
        (None, "is missing"),
        (formatted({"a": "4"}), "covers entries up to 17 of term 4"),
    ):
        said = expect_refusal(node_files(log, snapshot, (31, 4)))
        assert said.startswith("s1.log begins after entry 30 of term 4. s1.state_machine")
        assert what in said
        assert "raftline fsck --repair s1" in said
    other = formatted({"a": "4"}).replace(b"17 4 snap", b"17 4 snap")
    said = expect_refusal(node_files(compacted(17).replace(b"17 4", b"17 3"), other, (17, 3)))
    assert "begins after entry 17 of term 3" in said


def test_a_lost_log_is_noticed_next_to_a_snapshot() -> None:
    folder = node_files(b"", formatted({"a": "4"}), (25, 4))
    manager, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.log.base_index == 17
    assert manager.store == {"a": "4"}
    short = node_files(compacted(17, b"18 4 x\n"), formatted({"a": "4"}), (25, 4))
    assert boot(short)[1].recovering


def test_a_snapshot_without_the_storage_file_costs_the_vote() -> None:
    _, recovered = boot(MemoryFolder({NAME: formatted({"a": "4"})}))
    assert recovered.recovering
    assert recovered.hard_state == HardState(4, None)
    assert recovered.log.base_index == 17


def test_the_base_line_of_a_compacted_log_has_a_checksum() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    write(manager, 1, 1, "noop", "set a 4")
    manager.apply(entries(1, 1, "noop", "set a 4"))
    snapshot = write_snapshot(manager.snapshots, manager.freeze())
    manager.snapshots.publish(snapshot)
    assert snapshot == Snapshot(2, 1, snapshot.size, snapshot.crc)
    manager.finish_rewrite(manager.begin_rewrite(snapshot), [])
    log = folder.content("s1.log")
    for place in range(len(log)):
        flipped = bytearray(log)
        flipped[place] ^= 1
        files = folder.contents() | {"s1.log": bytes(flipped)}
        try:
            _, recovered = boot(MemoryFolder(files))
        except FilesRefused:
            continue
        assert (recovered.log.base_index, recovered.members) == (2, all_vote(MEMBERS))
