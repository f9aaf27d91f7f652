"""Parsers and Unicode: each text is taken as it is or refused with the parser's own error."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from unicodedata import category
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftline.common import config
from raftline.raft import membership
from raftline.raft.messages import PeerError
from raftline.state.sessions import SessionTable
from raftline.storage.disk import StorageError
from raftline.storage.hard_state import HardStateFile
from raftline.storage.log_lines import format_members, is_storable, read_base, read_cut, read_entry
from raftline.storage.snapshot_lines import SnapshotReader
from raftline.wire import peer_lines
from raftline.wire.commands.command_table import COMMANDS, read_request
from raftline.wire.commands.member_commands import read_change
from raftline.wire.operands.operands import Limits
from raftline.wire.peer_lines import format_entries, is_one_line, read_entries
from raftline.wire.protocol import (
    NAME,
    ProtocolError,
    decode_line,
    escape,
    size_of,
    split_sender,
    unescape,
)
from raftline_course.controller import udp
from raftline_course.controller.faults import Table, read_fault
from raftline_course.controller.orders import FAULT_FORMS
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import boot, entries

NASTY = [
    "", " ", "\t", "\x00", "\x1b[2J", "\x7f", "\x85", "\x9b", "\xa0", "\u2028", "\u202e", "\ufeff",
    "\udcff", "\ud800", "\U0001f600", "٣", "²", "1_0", "\\", "\\x", "\\xff", "\\s", "@", "#", "a",
    "1", "-0", "NaN", "1e999", "[", "]", "{", '"', ",", "|", "=", ":",
]  # fmt: skip
ANY = st.text(st.characters(), max_size=12)  # with lone surrogates
WORD = st.sampled_from(NASTY) | ANY
BYTES = st.binary(max_size=24) | ANY.map(lambda text: text.encode("utf-8", "surrogatepass"))
# Texts that can come out of a line: bytes that are not UTF-8 are refused before.
TEXT = ANY.filter(is_storable) | st.sampled_from(NASTY).filter(is_storable)


def check_one_clear_line(problem: Exception) -> None:
    """A character that this Python does not know is shown, as a later one does."""
    assert "".join(each for each in str(problem) if category(each) != "Cn").isprintable()


def line_of(*firsts: str) -> st.SearchStrategy[str]:
    words = st.lists(TEXT | st.sampled_from(["a", "1", "s2", "after", "read", "local"]), max_size=4)
    return st.builds(lambda first, rest: " ".join([first, *rest]), st.sampled_from(firsts), words)


@given(BYTES)
@example("a\u0085b".encode())
@example(b"set a \xed\xa0\x80")
def test_line_becomes_clean_characters_or_is_refused(raw: bytes) -> None:
    """A line either decodes to whole characters without controls, or is refused."""
    try:
        text = decode_line(raw)
    except ProtocolError as problem:
        check_one_clear_line(problem)
        return
    text.encode()
    assert is_storable(text.replace("\t", ""))


@given(TEXT | st.builds("{}@{}".format, TEXT, TEXT) | st.builds("a#{}@{}".format, TEXT, TEXT))
def test_name_and_id_are_letters_and_digits_or_refused(line: str) -> None:
    """A name or an id other than ASCII letters and digits is refused."""
    try:
        name, number, _ = split_sender(line)
    except ProtocolError as problem:
        check_one_clear_line(problem)
        return
    assert not name or NAME.fullmatch(name)
    assert name.isascii()
    assert not number or str(int(number)) == number


@given(line_of(*sorted(COMMANDS)) | TEXT)
def test_a_request_has_one_canonical_form_that_fits_a_line(line: str) -> None:
    try:
        request = read_request("client4", "", line, Limits())
    except ProtocolError as problem:
        check_one_clear_line(problem)
        return
    assert is_storable(request.command)
    assert read_request("client4", "", request.command, Limits()).command == request.command


@given(line_of("add s4", "add s4 localhost", "replace s1 s4 h", "remove", "promote", "members"))
def test_member_change_becomes_an_entry_or_is_refused(line: str) -> None:
    """A change of members that has no form as an entry is refused."""
    try:
        change = read_change(line)
    except ProtocolError as problem:
        check_one_clear_line(problem)
        return
    if change is not None and change.address:
        formatted = f"members {change.name}={change.address},voter"
        assert membership.read(formatted) is not None


@given(ANY | st.builds("members {}={},{}".format, ANY, ANY, st.sampled_from(["voter", "learner"])))
def test_an_entry_is_a_configuration_in_its_one_form_or_none(command: str) -> None:
    found = membership.read(command)
    assert found is None or membership.read(found.format()) == found


@given(st.sampled_from(sorted(peer_lines.FIRST_WORDS)), ANY, st.integers(0, 40), WORD)
def test_a_peer_s_line_is_understood_or_refused(first: str, rest: str, cut: int, put: str) -> None:
    whole = 'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "x"}] commit 0 round 1'
    for text in (f"{first} {rest}", whole[:cut] + put + whole[cut:]):
        try:
            message = peer_lines.read("s2", "s1", text)
        except PeerError:
            continue
        assert peer_lines.read("s2", "s1", peer_lines.format_message(message)) == message


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=6,
)
_ITEM = st.fixed_dictionaries(
    {
        "index": st.just(4) | st.just(4.0) | st.just("4") | st.just(True) | _JSON,
        "term": st.just(2) | st.just(2.0) | st.just("2") | st.just(True) | _JSON,
        "command": WORD | _JSON,
    }
)


@given(st.lists(_ITEM | _JSON, min_size=1, max_size=1), st.integers(0, 3))
@example([{"index": True, "term": True, "command": "a"}], 0)
@example([{"index": 1.0, "term": 1, "command": "a"}], 0)
@example([{"index": 1, "term": 1, "command": ""}], 0)
@example([{"index": "1", "term": "1", "command": "a\x85"}], 0)
def test_entries_are_numbered_lines_or_refused(items: list[Any], prev_index: int) -> None:
    try:
        found = read_entries(json.dumps(items), prev_index, min(prev_index, 1), 2)
    except ValueError:
        return
    assert [(type(e.index), type(e.term), type(e.command)) for e in found] == [(int, int, str)]
    assert all(is_one_line(entry.command) and is_storable(entry.command) for entry in found)
    assert read_entries(format_entries(found), prev_index, min(prev_index, 1), 2) == found


@given(BYTES, st.sampled_from([b"1 1 ", b"0 0 base ", b"# cut after ", b""]))
def test_a_log_line_is_parsed_or_refused_with_its_mistake(end: bytes, begin: bytes) -> None:
    raw = begin + end + b"\n"
    for read in (lambda: read_entry(raw, 1, 1)[1], lambda: str(read_cut(raw, 0, 9))):
        try:
            command = read()
        except ValueError:
            continue
        assert is_storable(command)
    try:
        _, _, members = read_base(raw)
    except ValueError:
        return
    assert (
        read_base(f"0 0 base {format_members(members)}".rstrip(" ").encode() + b"\n")[2] == members
    )


@given(BYTES, BYTES)
def test_storage_that_fits_its_crc_is_understood_or_refused(first: bytes, second: bytes) -> None:
    for body in (b"name s1 term " + first + b" vote - state whole", first):
        lines = [each + b" crc32 %08x\n" % crc32(each) for each in (body, second)]
        folder = MemoryFolder({"s1.storage": b"".join(lines)})
        try:
            promise = HardStateFile(folder, "s1").load()
        except StorageError as problem:
            check_one_clear_line(problem)
        else:
            assert promise is not None
            HardStateFile(folder, "s1").save(promise)
            assert HardStateFile(folder, "s1").load() == promise


@given(BYTES, BYTES)
def test_a_snapshot_that_fits_its_crc_is_read_or_refused(line: bytes, pair: bytes) -> None:
    data = b"1 1 snapshot s1=h:1\nsessions 1\n" + line + b"\nkeys 1\n" + pair + b"\n"
    data += b"# end: 1 session, 1 key, crc32 %08x\n" % crc32(data)
    try:
        table = SessionTable.load(SnapshotReader(io.BytesIO(data), lambda: None).read().sessions)
    except ValueError:
        return
    assert list(SessionTable.load(table.dump()).dump()) == list(table.dump())


@given(st.lists(_JSON.map(json.dumps) | ANY, max_size=3))
@example(['["c", Infinity, []]'])
@example(["[" * 100_000])
@example(['["c", true, []]'])
@example(['["c", 1, [[1, 2, 3]]]'])
@example(['[["c"], 1, []]'])
def test_a_session_table_is_read_back_as_dumped_or_refused(lines: list[str]) -> None:
    try:
        table = SessionTable.load(lines)
    except ValueError:
        return
    assert list(SessionTable.load(table.dump()).dump()) == list(table.dump())


@given(st.lists(WORD, max_size=5).map(" ".join) | ANY)
def test_a_configuration_names_members_or_is_refused(text: str) -> None:
    try:
        members = config.parse(Path("f"), text).members
    except config.ConfigError as problem:
        check_one_clear_line(problem)
        return
    formatted = "\n".join(f"{name} {host} {port}" for name, (host, port) in members.items())
    assert formatted.isascii()
    assert config.parse(Path("f"), formatted).members == members


@given(
    st.sampled_from(sorted(FAULT_FORMS)), st.lists(WORD | st.sampled_from(["s2", "5%"]), max_size=3)
)
def test_an_order_makes_a_fault_that_can_be_shown_or_is_refused(
    verb: str, words: list[str]
) -> None:
    try:
        fault = read_fault(verb, words, ["s2"])
    except ProtocolError as problem:
        check_one_clear_line(problem)
        return
    assert all(line.isascii() for line in fault.change(Table()).described())


@given(_JSON | st.just("Controller"), _JSON, _JSON)
@pytest.mark.parametrize("verb", ["STORE", "RETRIEVE", "DROP", "SHUTDOWN"])
def test_a_datagram_is_a_line_of_an_order_or_refused(
    verb: str, sender: Any, key: Any, value: Any
) -> None:
    data = json.dumps({"sender_name": sender, "request": verb, "key": key, "value": value})
    message = udp._read(data.encode())
    assert (udp._why_not(message) == "") is (sender == "Controller")
    try:
        line = udp._line(verb, message)
    except ProtocolError:
        return
    if verb == "STORE":
        assert is_storable(line)


_CLIENTS = ["", "c@", "c#1@", "c#٣@", "c#²@", "@", "#1@"]
_VERBS_OF_ENTRIES = sorted(COMMANDS.keys() - {"machine"})
_ENTRIES = st.one_of(
    ANY,
    st.builds("{}{}".format, st.sampled_from(_CLIENTS), line_of(*_VERBS_OF_ENTRIES)),
    st.builds("c#{}@incr n".format, WORD),
)


@given(st.lists(_ENTRIES, max_size=6))
@example(["c#" + "9" * 5000 + "@set a 1"])
@example(["set n " + "9" * 5000, "incr n", "incr m " + "9" * 5000])
@example(["set n ٣", "incr n ٣", "incr n", "c#٣@incr n"])
def test_no_entry_stops_a_node(commands: list[str]) -> None:
    first, second = boot(MemoryFolder())[0], boot(MemoryFolder())[0]
    log = entries(1, 1, *commands)
    assert first.apply(log) == second.apply(log)
    assert first.store == second.store
    assert list(first.state.sessions.dump()) == list(second.state.sessions.dump())


def bytes_of(text: str) -> bytes:
    """Return the UTF-8 of a text. U+DC80 to U+DCFF are bytes (`surrogateescape`); other lone
    surrogates have three bytes each."""
    return b"".join(
        each.encode("utf-8", "surrogateescape" if "\udc80" <= each <= "\udcff" else "surrogatepass")
        for each in text
    )


@given(ANY, st.booleans())
@example("\udc80", False)
@example("\udcc3\udca9 \ud800", True)
def test_an_escaped_text_is_printable_and_unescapes_to_itself(text: str, key: bool) -> None:
    formatted = escape(text, key)
    assert is_storable(formatted)
    assert is_one_line(formatted or "x")
    assert not (key and " " in formatted)
    assert unescape(formatted) == bytes_of(text).decode("utf-8", "surrogateescape")


@given(BYTES, st.sampled_from([0, 1, 20_000]))
def test_a_size_is_that_of_the_bytes(data: bytes, times: int) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert size_of(times * text) == times * len(data)
