"""A log that a person wrote by hand is taken over, or the line that is wrong is named."""

from __future__ import annotations

import pytest

from raftline.raft.effects import HardState
from raftline.raft.log import Entry
from raftline.wire.commands.command_table import read_request
from raftline.wire.limits import KEY_BYTES, VALUE_BYTES
from raftline.wire.operands.operands import Limits
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import (
    boot,
    commands,
    expect_refusal,
    found,
    known,
    log_file,
    storage_file,
    write,
)

SEED_LOG = b"0 1 set a 4\n1 2 set b 30\n2 3 get b\n3 3 set c 5\n4 3 delete b\n"


def test_the_course_example_log_is_adopted_and_reported() -> None:
    folder = MemoryFolder({"s1.log": SEED_LOG})
    manager, recovered = boot(folder)
    assert recovered.notes == [
        "[*] Recovering logs...",
        "[*] s1.log: adopted 5 hand-written entries, renumbered from 1",
        "[*] Current term: 3",
    ]
    assert known(recovered) == [
        Entry(1, 1, "set a 4"),
        Entry(2, 2, "set b 30"),
        Entry(3, 3, "get b"),
        Entry(4, 3, "set c 5"),
        Entry(5, 3, "delete b"),
    ]
    assert recovered.hard_state == HardState(3, None)
    assert folder.content("s1.log.seed") == SEED_LOG
    manager.apply(known(recovered))
    assert manager.store == {"a": "4", "c": "5"}
    write(manager, 6, 3, "set d 8")
    manager.close()
    assert commands(folder)[5:] == ["set d 8"]


@pytest.mark.parametrize(
    "log",
    [
        b"1 1 set a 4\n2 2 set b 30\n",
        b"0 1 set a 4\n1 2 set b 30",
        b"\n0 1 set a 4\n\n1 2 set b 30\n\n",
        b"0 1 set a 4\r\n1 2 set b 30\r\n",
        b"\xef\xbb\xbf0 1 set a 4\n1 2 set b 30\n",
    ],
)
def test_a_hand_written_log_may_begin_at_one_and_be_untidy(log: bytes) -> None:
    folder = MemoryFolder({"s1.log": log})
    assert commands(folder) == ["set a 4", "set b 30"]
    assert folder.content("s1.log") == log_file(b"1 1 set a 4\n2 2 set b 30\n")


def test_a_backslash_written_by_hand_is_a_backslash() -> None:
    assert commands(MemoryFolder({"s1.log": b"0 1 set p C:\\new\n"})) == [r"set p C:\\new"]


@pytest.mark.parametrize(
    "line",
    [
        b"2 2 set c", b"2 2 get", b"2 2 get a b", b"2 2 show", b"2 2 noop", b"2 1 set a 1",
        b"3 2 set a 1", b"1 2 set a 1", b"02 2 set a 1", b"2 2 set  1", b"# a remark",
        b"2 2 set a \x1b", b"2 2 delete \xff", b"2 2 delete", b"hello",
    ],
)  # fmt: skip
def test_a_hand_written_line_that_is_not_an_entry_is_named(line: bytes) -> None:
    log = b"0 1 set a 4\n1 2 set b 30\n" + line + b"\n"
    said = expect_refusal(MemoryFolder({"s1.log": log}))
    assert said.startswith("s1.log, line 3: ")
    assert "written by hand" in said


def test_a_key_written_by_hand_is_the_key_that_a_client_names() -> None:
    """The log escapes U+2028, which some programs treat as the end of a line."""
    folder = MemoryFolder({"s1.log": "1 1 set a\u2028b x\u2029\n".encode()})
    manager, recovered = boot(folder)
    manager.apply(known(recovered))
    key = read_request("", "", "get a\u2028b", Limits()).command
    assert manager.read([key]) == [r"GET response: x\xe2\x80\xa9"]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (f"set {'k' * (KEY_BYTES + 1)} v", "the key"),
        (f"get {'k' * (KEY_BYTES + 1)}", "the key"),
        (f"set k {'é' * (VALUE_BYTES // 2 + 1)}", "the value"),
    ],
)
def test_a_hand_written_line_that_no_client_may_send_is_named(command: str, what: str) -> None:
    """The other nodes reject such a line, so nothing after it would ever commit."""
    refusal = expect_refusal(MemoryFolder({"s1.log": f"1 1 set a 4\n2 1 {command}\n".encode()}))
    assert f"s1.log, line 2: {what} has " in refusal


def test_a_hand_written_log_next_to_a_storage_file_is_refused() -> None:
    assert "not a base line" in expect_refusal(found(SEED_LOG, storage_file(3)))
