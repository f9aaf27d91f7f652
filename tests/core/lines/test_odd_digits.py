"""A number is plain digits wherever one is read; what only looks like one is refused."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.common import arguments, config
from raftline.common.process import signals
from raftline.raft import membership
from raftline.raft.messages import PeerError
from raftline.state.commands.key_commands import execute
from raftline.state.sessions import SessionTable
from raftline.state.store import Store
from raftline.storage.disk import StorageError
from raftline.storage.hard_state import HardStateFile
from raftline.storage.log_lines import read_base, read_cut, read_entry
from raftline.storage.snapshot_lines import SnapshotReader
from raftline.wire import peer_lines
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.member_commands import read_change
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, split_sender
from raftline.wire.replies.refusals import leader_named_in
from raftline_course.controller import udp
from raftline_course.controller.faults import read_fault
from raftline_course.controller.leader_orders import retrieve
from raftline_course.trial import metrics_dictionary
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import boot as started
from raftline_testing.files.node_files import entries
from tests.core.lines.numerals import BEYOND, LOOKALIKES, TOO_LONG, WITH_ZEROS

REFUSALS = (ProtocolError, PeerError, StorageError, ValueError, config.ConfigError,
            argparse.ArgumentTypeError, EOFError)  # fmt: skip


class _Taken(Exception):
    """The words were understood: the order goes to the server."""


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def request(line: str) -> object:
    return read_request("client4", "", line, Limits())


def heard(text: str) -> object:
    return peer_lines.read("s2", "s1", text)


def stored(promise: str, mark: str) -> object:
    lines = [raw(line) + b" crc32 %08x\n" % crc32(raw(line)) for line in (promise, mark)]
    return HardStateFile(MemoryFolder({"s1.storage": b"".join(lines)}), "s1").load()


def snapshot(head: str, sessions: str = "1", keys: str = "1") -> object:
    data = raw(
        f'{head} snapshot s1=h:1\nsessions {sessions}\n["c", 1, []]\nleases 0\nkeys {keys}\n9 a 4\n'
    )
    data += b"# end: 1 session, 0 leases, 1 key, crc32 %08x\n" % crc32(data)
    return SnapshotReader(io.BytesIO(data), lambda: None).read()


def session(number: str) -> object:
    """Apply a numbered entry; refused: it belongs to no session."""
    manager, _ = started(MemoryFolder())
    assert manager.apply(entries(1, 1, f"c#{number}@set a 1")) == ["SET response: a set to 1"]
    return len(manager.state.sessions) or refuse()


def counted(value: str) -> object:
    return execute(Store({"n": value}), "incr n").startswith("INCR") or refuse()


def page(number: str) -> object:
    def submit(batch: object) -> None:
        raise _Taken

    node: Any = SimpleNamespace(submit=submit)
    try:
        return retrieve(node, ["after", number])
    except _Taken:
        return True


def by_datagram(number: str) -> object:
    return udp._line("RETRIEVE", {"value": f"after {number}"}) != "RETRIEVE"


def lifeline_of(descriptor: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(signals.VARIABLE, descriptor)
        patch.setattr(signals, "begin_thread", lambda *_: None)
        return signals.end_with_starter(lambda: None) or refuse()


def of_metrics(text: str) -> object:
    complaints: list[str] = []
    reading: Any = SimpleNamespace(complain=complaints.append)
    return (
        metrics_dictionary._target(reading, "", "fail", text.zfill(4))
        if not complaints
        else refuse()
    )


def refuse() -> object:
    raise ValueError


_APPEND = 'AppendEntries 1-0-0-[{{"index": {}, "term": 1, "command": "noop"}}] commit 0 round 1'
_QUOTED = _APPEND.replace("{}", '"{}"').replace(": 1", ': "1"')
_PIECE = 'InstallSnapshot {}-3-1 offset 0 of 9 crc32 1ff08c67 round 1 data "x"'
_STORED = "name s1 term {} vote - state whole"
_MARK = f"synced entry {0:019} term {0:019}"
_NAMED = "Sorry, I am not the leader. Last leader I heard from is: s1 (h:{})"

# Each takes the text of a number; it raises, or returns something false, where that is refused.
STRICT: dict[str, Callable[[str], object]] = {
    "request-id": lambda n: split_sender(f"client4#{n}@get a")[1],
    "incr": lambda n: request(f"incr n {n}"),
    "backup-from": lambda n: request(f"backup from {n}"),
    "add": lambda n: read_change(f"add s4 localhost {n}"),
    "value-to-be-counted": counted,
    "log-index": lambda n: read_entry(raw(f"{n} 1 noop\n"), 1, 1),
    "log-term": lambda n: read_entry(raw(f"1 {n} noop\n"), 1, 1),
    "log-cut": lambda n: read_cut(raw(f"# cut after {n}\n"), 0, 9),
    "base-line": lambda n: read_base(raw(f"{n} 1 base s1=h:1\n")),
    "base-line-port": lambda n: read_base(raw(f"0 0 base s1=h:{n}\n")),
    "member-entry-port": lambda n: membership.read(f"members s1=h:{n},voter"),
    "storage-term": lambda n: stored(_STORED.format(n), _MARK),
    "storage-lease": lambda n: stored(_STORED.format(1) + f" lease {n}", _MARK),
    "snapshot-index": lambda n: snapshot(f"{n} 1"),
    "snapshot-term": lambda n: snapshot(f"1 {n}"),
    "session-table": lambda n: len(SessionTable.load([f'["c", {n}, []]'])),
    "answered-in-the-table": lambda n: len(SessionTable.load([f'["c", 9, [[{n}, 1, "x"]]]'])),
    "configuration": lambda n: config.parse(Path("f"), f"s1 h {n}"),
    "argument-port": arguments.as_port,
}
# The same, where a person may put zeros before a number.
WITH_ZEROS_TOO: dict[str, Callable[[str], object]] = {
    "vote": lambda n: heard(f"RequestVote {n}-0-0"),
    "vote-given": lambda n: heard(f"Count on me term {n}"),
    "entry": lambda n: heard(_APPEND.format(n)),
    "entry-in-quotes": lambda n: heard(_QUOTED.format(n)),
    "appended": lambda n: heard(f"I am up to date term 1 index {n} round 1"),
    "lease": lambda n: heard(f"I am up to date term 1 index 1 round 1 lease {n}"),
    "missing": lambda n: heard(f"GiveEntriesAfterIndex {n} term 1 round 1"),
    "question": lambda n: heard(f"ReadIndex {n} round 1"),
    "piece": lambda n: heard(_PIECE.format(n)),
    "held": lambda n: heard(f"GiveSnapshotAfterByte {n} of 3-1 term 1 round 1"),
    "life": lambda n: heard(f"GiveSnapshotAfterByte 1 of 3-1 term 1 round 1 without vote {n}"),
    "leader-port": lambda n: leader_named_in(_NAMED.format(n)),
    "entry-request": session,
    "begun-name": lambda n: SessionTable().earlier_reply(f"c-{n}", 1, "set a 1"),
    "sessions-of-a-snapshot": lambda n: snapshot("1 1", sessions=n),
    "keys-of-a-snapshot": lambda n: snapshot("1 1", keys=n),
    "DROP": lambda n: read_fault("DROP", [f"{n}%"], ()),
    "DELAY": lambda n: read_fault("DELAY", [f"{n}ms"], ()),
    "HEARTBEAT": lambda n: read_fault("HEARTBEAT", ["1s", "for", f"1.{n}s"], ()),
    "RETRIEVE": page,
    "RETRIEVE-by-datagram": by_datagram,
    "argument": arguments.as_number("number of nodes", 1),
    "lifeline": lifeline_of,
    "metrics": of_metrics,
}
DOORS = STRICT | WITH_ZEROS_TOO
WHATEVER_ITS_LENGTH = ("session-table", "answered-in-the-table", "begun-name", "lifeline")


def takes(door: str, number: str) -> bool:
    try:
        return bool(DOORS[door](number))
    except REFUSALS:
        return False


@pytest.mark.parametrize("door", DOORS)
def test_a_plain_number_is_taken(door: str) -> None:
    assert takes(door, "1")


@pytest.mark.parametrize("door", DOORS)
def test_a_text_that_only_looks_like_a_number_is_refused(door: str) -> None:
    assert [text for text in LOOKALIKES if takes(door, text)] == []


@pytest.mark.parametrize("door", [door for door in DOORS if door not in WHATEVER_ITS_LENGTH])
def test_a_number_that_no_counter_holds_is_refused(door: str) -> None:
    assert [text[:20] for text in TOO_LONG if takes(door, text)] == []


@pytest.mark.parametrize(
    "door",
    [d for d in DOORS if d not in (*WHATEVER_ITS_LENGTH, "entry-request")],
)
def test_a_number_beyond_63_bits_is_refused(door: str) -> None:
    assert not takes(door, BEYOND)


@pytest.mark.parametrize("door", STRICT)
def test_a_number_has_one_form_if_it_is_kept_or_compared(door: str) -> None:
    assert [text for text in WITH_ZEROS if takes(door, text)] == []


_ANY_MARKLESS = st.characters(
    exclude_characters="#@:=,|%.\"'{}[]\\/()-", exclude_categories=["Cc", "Zs", "Zl", "Zp"]
)


@pytest.mark.parametrize("door", DOORS)
@given(
    st.text(_ANY_MARKLESS, min_size=1, max_size=4)
    | st.text(st.characters(categories=["Nd", "Nl", "No"]), min_size=1, max_size=3)
)
def test_of_all_texts_only_plain_digits_are_a_number(door: str, text: str) -> None:
    assert re.fullmatch("[0-9]+", text) or not takes(door, text)
