"""The looks at a long value and its copies, counted: each takes a millisecond for some MiB."""

from __future__ import annotations

import contextlib
import socket
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from raftline.common import text as plain_text
from raftline.common.text import NUMBER_MAX, is_printable
from raftline.net.line_reader import LineBuffer, LineReader, long_reads
from raftline.node.program.node_server import Server
from raftline.raft.effects import Effects
from raftline.raft.log import Entry, SafetyError
from raftline.raft.membership import all_vote
from raftline.raft.messages import AppendEntries
from raftline.state.commands.key_commands import execute
from raftline.state.commands.machines import Machines
from raftline.state.commands.replicated_state import ReplicatedState
from raftline.state.event_history import EventHistory
from raftline.state.key_events import EventRun
from raftline.state.store import Store
from raftline.storage.disk import AppendFile, DiskFailed
from raftline.storage.log_file import check_storable
from raftline.wire import peer_lines
from raftline.wire.commands import parsing
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.key_stat import KeyFacts
from raftline.wire.limits import BUFFER_BYTES, LONG_READ_BYTES, LONG_READS, READ_BYTES, VALUE_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.peer_lines import append_line, format_entries, pieces_of, read, read_entries
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import boot, known, vote
from raftline_testing.files.snapshot_writing import write_snapshot

VALUE = "v" * VALUE_BYTES
# By a character at a time, or with a copy of the text; `in` is the search of the C library.
SLOW = {"isprintable", "translate", "encode", "split", "splitlines"}


def slow_looks(work: Callable[[], object]) -> Counter[str]:
    """Return the slow methods that were called on a long text, and how often."""
    found: Counter[str] = Counter()

    def note(_: object, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in SLOW:
            text = getattr(called, "__self__", "")
            if isinstance(text, str | bytes) and len(text) >= READ_BYTES:
                found[called.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.pure
@pytest.mark.parametrize("verb", ["set", "setnx", "append"])
def test_a_long_value_is_parsed_without_a_slow_look_at_it(verb: str) -> None:
    line = f"c4#17@{verb} key {VALUE}".encode()
    assert not slow_looks(lambda: parse(line, Limits(), ReadSettings(), "s1"))
    parsed = parse(line, Limits(), ReadSettings(), "s1")
    assert (parsed.kind, parsed.request.command) == ("write", f"{verb} key {VALUE}")


def searches(work: Callable[[], object]) -> int:
    """Return how often all the control characters were searched for."""
    before, found = plain_text._CONTROLS, list[int]()

    class Controls:
        def __iter__(self) -> Iterator[str]:
            found.append(1)
            return iter(before)

    with mock.patch.object(plain_text, "_CONTROLS", Controls()):
        work()
    return len(found)


def copies(work: Callable[[], object]) -> int:
    """Return how many texts as long as VALUE were there at a time, besides those from before."""
    tracemalloc.start()
    try:
        result = work()
        return round(tracemalloc.get_traced_memory()[1] / VALUE_BYTES) if result else 0
    finally:
        tracemalloc.stop()


@pytest.mark.pure
def test_a_long_value_is_copied_once_for_each_form_that_it_takes() -> None:
    line = f"c4#17@set key {VALUE}".encode()
    assert copies(lambda: parse(line, Limits(), ReadSettings(), "s1")) == 1  # bytes to text
    message = AppendEntries("s1", "s2", 1, 0, 0, [Entry(1, 1, f"set a {VALUE}")])
    assert copies(lambda: append_line(message, pieces_of(message.entries))) == 2  # its bytes, too
    line = append_line(message, pieces_of(message.entries))[:-1]
    assert copies(lambda: parse(line, Limits(), ReadSettings(), "s2")) == 2  # the text, the command


AS_TYPED = [
    "set k VALUE", "c@set k VALUE", "c#17@set k VALUE", "c#17@  set k VALUE", "  c#17@set k VALUE",
    "c#17@setnx k VALUE", "c#17@append k VALUE", "c@setex k 10 VALUE", "c@cas k VALUE b", "c@VALUE",
    "c@get VALUE", "c@get k VALUE read local", "c@nothing k VALUE", "c@set", "c@set VALUE",
    "c@set k  VALUE", "c@set  k VALUE", "c@set k VALUE ", "c@set k VALUE\r", "c@set k VALUE\r\r",
    "c@set k VALUE\tb", "c@set k VALUE\x01", r"c@set k VALUE\n", r"c@set k\s VALUE",
    "c@set k VALUE\\", "c@set k VALUEé", "c@set k VALUE\x85", "cé@set k VALUE", "9@set k VALUE",
    "set k@VALUE", "set k VALUE@b", "c@set k VALUE@b", "c@d@set k VALUE", "c#@set k VALUE",
    "c#01@set k VALUE", f"c#{2**63 - 1}@set k VALUE", f"c#{2**63}@set k VALUE", "c#x@set k VALUE",
    "c#17@txn set k VALUE", "c@session VALUE", "@set k VALUE", "c @set k VALUE", "c@", "VALUE",
    "s2@AppendEntries 1-0-0-[] commit 0 round 1", "s2@VALUE", "s2@AppendEntries VALUE",
]  # fmt: skip


@pytest.mark.parametrize("typed", AS_TYPED)
@pytest.mark.parametrize("characters", [5000, VALUE_BYTES, VALUE_BYTES + 1])
def test_a_long_line_is_read_as_a_short_one_is(
    typed: str, characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = typed.replace("VALUE", "v" * characters).encode()
    for raw in (line, line + b"\xff", line.replace(b" k ", b" " + b"k" * 1025 + b" ")):
        found = parse(raw, Limits(), ReadSettings(), "s1")
        with monkeypatch.context() as as_short:
            as_short.setattr(parsing, "LONG", 1 << 30)
            assert parse(raw, Limits(), ReadSettings(), "s1") == found


@pytest.mark.pure
def test_long_value_is_copied_once_for_store_and_once_for_reply() -> None:
    state, command = ReplicatedState(all_vote({}), Machines()), f"set key {VALUE}"
    state.store.is_at_floor, state.store.notes_events = False, True
    entries = [Entry(1, 1, command)]
    assert copies(lambda: state.apply(entries)) == 3  # and one for both
    assert copies(lambda: state.apply(entries, answers=False)) == 2
    assert copies(lambda: execute(state.store, command)) == 4  # as a part of another command
    assert (state.store["key"], state.store.facts("key")) == (VALUE, KeyFacts(1))


@pytest.mark.pure
def test_a_long_value_is_forgotten_by_the_history_without_a_copy() -> None:
    history, command = EventHistory(), f"set key {VALUE}"
    history.bound(1000, 3 * VALUE_BYTES)

    def add() -> bool:
        for number in range(history.last + 1, history.last + 5):
            history.add([EventRun([], number, [command])], [number])
        return len(history) == 2

    assert copies(add) == 0
    assert history.floor == 2


@pytest.mark.parametrize("command", ["set k VALUE", "set  k VALUE", "set VALUE", "set k  VALUE "])
def test_a_long_set_does_what_a_short_one_does(command: str) -> None:
    value = "v" * 5000
    replies, stores = [], [Store(is_at_floor=False), Store(is_at_floor=False)]
    for store, text in zip(stores, (value, "VALUE"), strict=True):
        reply = execute(store, command.replace("VALUE", text))
        replies.append(reply.replace(value, "VALUE"))
        store.held = {key: held.replace(value, "VALUE") for key, held in store.held.items()}
    assert replies[0][:20] == replies[1][:20]
    assert stores[0].held == stores[1].held


@pytest.mark.pure
def test_control_characters_are_looked_for_in_received_lines() -> None:
    """Lines of its own are not searched: it takes 0.4 ms for 1 MiB."""
    line, entries = f"set key {VALUE}".encode(), [Entry(1, 1, f"set a {VALUE}")]
    assert searches(lambda: parse(line, Limits(), ReadSettings(), "s1")) == 1
    assert searches(lambda: format_entries(entries)) == 0
    assert searches(lambda: check_storable(entries)) == 0
    listed = format_entries(entries)
    assert searches(lambda: read_entries(listed, 0, 0, 1)) == 0


@pytest.mark.pure
def test_json_reads_no_long_command_character_by_character(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [Entry(1, 1, f"set a {VALUE}"), Entry(2, 1, "set b 1")]
    listed = format_entries(entries)
    monkeypatch.setattr(peer_lines.json, "loads", None)
    assert read_entries(listed, 0, 0, 1) == entries


@pytest.mark.parametrize("character", ["\x01", "\t", "\x7f", "\x80"])
@pytest.mark.parametrize("is_escaped", [True, False])
def test_no_control_character_comes_by_the_entries_of_a_peer(
    character: str, is_escaped: bool
) -> None:
    formatted = f"\\u{ord(character):04x}" if is_escaped else character
    listed = f'[{{"index": 1, "term": 1, "command": "set a {VALUE}{formatted}"}}]'
    line = f"s2@AppendEntries 1-0-0-{listed} commit 0 round 1".encode()
    parsed = parse(line, Limits(), ReadSettings(), "s1")
    assert parsed.message is None
    assert any(word in parsed.problem for word in ("JSON", "plain text", "control character"))


@pytest.mark.parametrize("value", ["1", VALUE])
def test_a_del_that_json_takes_as_it_is_gets_into_no_log(value: str) -> None:
    listed = f'[{{"index": 1, "term": 1, "command": "set a {value}\x7f"}}]'
    with pytest.raises(ValueError, match="plain text"):
        read_entries(listed, 0, 0, 1)


@pytest.mark.pure
@pytest.mark.parametrize(
    "listed",
    [
        '[{"index": 1, "term": 1, "command": "LONG"}]',
        '[{"index": 1, "term": 1, "command": "LONG"}, {"index": 2, "term": 1, "command": "b"}]',
        '[{"index": 1, "term": 1, "command": "b"}, {"index": 2, "term": 1, "command": "LONG"}]',
        '[{"index": 1, "term": 1, "command": "LONG"}, {"index": 2, "term": 1, "command": ""}]',
        '[{"index": 1, "term": 1, "command": "LONG"}, {"index": 3, "term": 1, "command": "b"}]',
        '[{"index": 1, "term": 2, "command": "LONG"}]',
        '[{"index": "1", "term": 1, "command": "LONG"}]',
        '[{"index": 1, "term": 01, "command": "LONG"}]',
        '[{"index": 1, "term": 1, "command": "LONG", "term": 2}]',
        '[{"term": 1, "index": 1, "command": "LONG"}]',
        '[ {"index": 1, "term": 1, "command": "LONG"}]',
        '[{"index": 1, "term": 1, "command": "LONG"}, ]',
        '[{"index": 1, "term": 1, "command": "LONG"}}]',
        '[{"index": 1, "term": 1, "command": "LONG',
        '[{"index": 1, "term": 1, "command": "LONG"}, {"index": 2, "term": 1, "command": "b',
        '"}, {"index": 1, "term": 1, "command": "LONG"}]',
        r'[{"index": 1, "term": 1, "command": "LONG\""}]',
        '[{"index": 1, "term": 1, "command": "LONG"}, {"index": 2, "term": 2, "command": "b"}]',
        '[{"index": 1, "term": 0, "command": "LONG"}]',
        '[{"index": 2, "term": 1, "command": "LONG"}]',
        '[{"index": 1, "term": 1, "command": ""}]',
        '[{"index": 1, "term": 1, "command": "LONG", "more": "b"}]',
        '[{"index": 1, "term": 1, "command": "LONG" }]',
        '[{"index": 1, "term": 1, "command": "LONGé"}]',
        '[{"index": 1, "term": 1, "command": "LONG"}] ',
    ],
)
@pytest.mark.parametrize("value", ["1", VALUE])
def test_a_list_of_entries_is_read_as_json_reads_it(
    listed: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[Entry] | str:
        try:
            return read_entries(listed.replace("LONG", f"set a {value}"), 0, 0, 1)
        except ValueError as problem:
            return str(problem)

    by_search = found()
    monkeypatch.setattr(peer_lines, "_plain_entries", lambda *_: None)
    assert found() == by_search


@pytest.mark.parametrize(
    ("prev_index", "terms", "message_term", "problem"),
    [
        (NUMBER_MAX - 2, (2, 2), 2, ""),
        (NUMBER_MAX - 1, (2, 2), 2, f"index {NUMBER_MAX + 1} is beyond"),
        (5, (1, 1), 2, "entry 6 has term 1, not from 2 to 2"),
        (5, (3, 3), 2, "entry 6 has term 3, not from 2 to 2"),
        (5, (2, 3), 3, ""),
        (5, (3, 2), 3, "entry 7 has term 2, not from 3 to 3"),
    ],
)
def test_entries_of_a_peer_are_in_order_of_index_and_term(
    prev_index: int, terms: tuple[int, ...], message_term: int, problem: str
) -> None:
    """No entry has a term above the message's."""
    entries = [Entry(prev_index + place, term, "set a 1") for place, term in enumerate(terms, 1)]
    with pytest.raises(ValueError, match=problem) if problem else contextlib.nullcontext():
        assert read_entries(format_entries(entries), prev_index, 2, message_term) == entries


@pytest.mark.parametrize("character", ['"', "\\", "\u2028", "é"])
def test_other_characters_round_trip_to_a_peer(character: str) -> None:
    entries = [Entry(1, 1, f"set a {VALUE}{character}"), Entry(2, 1, f"set {character} 1")]
    assert read_entries(format_entries(entries), 0, 0, 1) == entries


@pytest.mark.pure
def test_long_entries_are_encoded_and_checked_fast() -> None:
    entries = [Entry(1, 1, f"set a {VALUE}"), Entry(2, 1, f"set b {VALUE}")]
    assert not slow_looks(lambda: format_entries(entries))
    assert not slow_looks(lambda: check_storable(entries))


@pytest.mark.parametrize("length", [1, 149, 151, 4096, 4097, 10_000])
@pytest.mark.parametrize("character", ["\0", "\t", "\n", "\x1f", "\x7f", "\x80", "é", " ", "~"])
def test_a_text_of_any_length_is_printable_as_python_says(length: int, character: str) -> None:
    for place in (0, length // 2, length - 1):
        text = "v" * place + character + "v" * (length - 1 - place)
        assert is_printable(text) == text.isprintable()


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x7f", "\x85"])
def test_a_control_character_in_a_long_value_gets_nowhere(character: str) -> None:
    value = VALUE[:-2] + character + "v"
    assert parse(f"set a {value}".encode(), Limits(), ReadSettings(), "s1").kind == "garbled"


@pytest.mark.parametrize("character", ["\n", "\r", "\0"])
@pytest.mark.parametrize("is_first", [True, False])
def test_no_long_command_ends_its_line_in_the_log(character: str, is_first: bool) -> None:
    entries = [Entry(1, 1, f"set a {VALUE}{character}v"), Entry(2, 1, "set b 1")]
    with pytest.raises(SafetyError):
        check_storable(entries if is_first else entries[::-1])


@pytest.mark.parametrize("character", ["\n", "\x01", "\x7f", "\x85"])
@pytest.mark.parametrize("beside", ["1", VALUE])
def test_control_character_of_a_short_command_is_not_logged(character: str, beside: str) -> None:
    check_storable([Entry(1, 1, f"set a {beside}"), Entry(2, 1, "set b 1")])
    with pytest.raises(SafetyError):
        check_storable([Entry(1, 1, f"set a {beside}"), Entry(2, 1, f"set b {character}")])


@pytest.mark.pure
def test_pieces_of_a_long_line_are_not_split() -> None:
    data, lines = f"set a {VALUE}\nget a\n".encode(), LineBuffer(30.0)
    pieces = [data[at : at + READ_BYTES] for at in range(0, len(data), READ_BYTES)]
    found: list[bytes] = []
    looks = slow_looks(lambda: [found.extend(lines.feed(piece, 1.0)) for piece in pieces])
    assert found == [f"set a {VALUE}".encode(), b"get a"]
    assert not looks


def test_peers_at_one_place_get_the_same_line() -> None:
    """The text of the line is formatted and encoded once."""
    server: Any = SimpleNamespace(name="s1", _formatted=(None, [], b""))
    entries = [Entry(5, 2, f"set a {VALUE}")]

    def line(to: str, **others: int) -> bytes:
        message = AppendEntries("s1", to, 2, 4, 2, entries, commit_index=4, round=7)
        for field, value in others.items():
            setattr(message, field, value)
        made = Server._append_line(server, message)
        assert read("s1", to, made.decode().rstrip("\n").removeprefix("s1@")) == message
        return made

    first = line("s2")
    assert line("s3") is first
    for field in ("commit_index", "round", "vote_again"):
        assert line("s3", **{field: 9}) != first
        assert line("s3") == first


def test_a_long_batch_is_not_copied_for_its_note() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    before = folder.steps
    manager.persist([Effects(append=[Entry(1, 1, f"set a {VALUE}")])])
    assert folder.steps - before == 4  # the entries, their note, one sync, the mark
    manager.close()
    assert known(boot(folder)[1]) == [Entry(1, 1, f"set a {VALUE}")]


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("place", ["entries", "note", "sync"])
def test_a_long_batch_that_was_not_synced_is_whole_or_gone(place: str, kind: Kind) -> None:
    """It does not count, whatever happens between its entries and their checksum."""
    first, second = Entry(1, 1, "set a 1"), Entry(2, 1, f"set a {VALUE[: 80 << 10]}")
    for seed in range(2):
        folder = MemoryFolder()
        manager, _ = boot(folder)
        vote(manager, 1, "s1")
        manager.persist([Effects(append=[first])])
        folder.fault = Fault(folder.steps + 1 + ["entries", "note", "sync"].index(place), kind)
        with contextlib.suppress(Died, DiskFailed):
            manager.persist([Effects(append=[second])])
            pytest.fail("the fault was not met")
        for left in (folder.kill(), folder.crash(Random(seed))):
            again, recovered = boot(left)
            assert known(recovered) in ([first], [first, second])
            assert place != "entries" or known(recovered) == [first]
            again.persist([Effects(append=[Entry(len(known(recovered)) + 1, 1, "set b 1")])])
            again.close()


def test_a_log_is_written_again_by_pieces_of_some_size(monkeypatch: pytest.MonkeyPatch) -> None:
    manager, _ = boot(folder := MemoryFolder())
    vote(manager, 1, "s1")
    first = Entry(1, 1, "noop")
    rest = [Entry(n, 1, f"set a {VALUE[: 100_000 * (n % 3)]}") for n in range(2, 32)]
    manager.persist([Effects(append=[first])])
    manager.apply([first])
    snapshot = write_snapshot(manager.snapshots, manager.freeze())
    manager.snapshots.publish(snapshot)
    manager.persist([Effects(append=rest)])
    sizes, append = list[int](), AppendFile.append

    def appended(file: AppendFile, data: bytes) -> None:
        sizes.append(len(data))
        append(file, data)

    monkeypatch.setattr(AppendFile, "append", appended)
    rewrite = manager.begin_rewrite(snapshot)
    rewrite.copy(rest[:20])
    manager.finish_rewrite(rewrite, rest[20:])
    assert max(sizes) < (256 << 10) + 201_000
    manager.close()
    assert boot(folder)[1].log.entries(2, 31) == rest


# --- bytes out of a socket ------------------------------------------------------------------------


class Socket:
    """Has some bytes ready; it counts the calls that ask for them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.calls = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.calls += 1
        assert flags, "a wait for so many bytes keeps the memory for them"
        if not self.data:
            raise BlockingIOError
        found = self.data[:size]
        if not flags & socket.MSG_PEEK:
            self.data = self.data[size:]
        return found

    def recv_into(self, buffer: memoryview) -> int:
        self.calls += 1
        assert len(buffer) <= BUFFER_BYTES, "whoever waits keeps so much for it"
        found, self.data = self.data[: len(buffer)], self.data[len(buffer) :]
        buffer[: len(found)] = found
        return len(found)


def test_a_long_line_is_read_by_large_pieces() -> None:
    line = f"s1@{VALUE}".encode()
    connection: Any = Socket(line + b"\n")
    reader = LineReader(connection, 30.0)
    assert reader.read(2 * VALUE_BYTES) == [line]
    assert connection.calls <= 2 * (VALUE_BYTES // LONG_READ_BYTES + 2)
    assert reader.bytes_read == len(line) + 1
    assert reader.read(2 * VALUE_BYTES) is None


def test_short_lines_after_a_long_one_are_read_by_small_pieces() -> None:
    """Until its reply is taken, each takes more memory than its bytes."""
    line = VALUE[: 2 * READ_BYTES].encode()
    connection: Any = Socket(line + b"\n" + b"x\n" * READ_BYTES)
    reader = LineReader(connection, 30.0)
    assert reader.read(VALUE_BYTES) == [line]
    assert reader.read(VALUE_BYTES) == [b"x"] * (READ_BYTES // 2)


@pytest.mark.parametrize(
    ("size", "calls"), [(100, 1), (BUFFER_BYTES - 1, 1), (BUFFER_BYTES, 2), (READ_BYTES, 2)]
)
def test_what_fits_the_buffer_is_read_by_one_call(size: int, calls: int) -> None:
    connection: Any = Socket(b"x" * size)
    reader = LineReader(connection, 30.0)
    assert reader.receive() == b"x" * size
    assert (connection.calls, reader.bytes_read) == (calls, size)


def test_large_pieces_are_read_for_few_connections_at_a_time() -> None:
    connection: Any = Socket(b"x" * LONG_READ_BYTES)
    reader = LineReader(connection, 30.0)
    others = [long_reads.pop() for _ in range(LONG_READS)]
    assert reader.receive(is_amid_long=True) == b"x" * READ_BYTES
    long_reads.extend(others)
    assert reader.receive(is_amid_long=True) == b"x" * (LONG_READ_BYTES - READ_BYTES)


def test_reader_waits_for_more_bytes_with_its_small_buffer() -> None:
    connection: Any = Socket(b"x" * READ_BYTES)
    reader = LineReader(connection, 30.0)
    assert reader.read(2 * VALUE_BYTES) is None  # the end came amid the line
    assert connection.calls == 4
