"""The console: every event, little traffic, and nobody waits for a terminal."""

from __future__ import annotations

import errno
import gc
import io
import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from raftline.access.users import make_verifier
from raftline.common.process.console import (
    LINE_CHARACTERS_MAX,
    LINES_PER_SECOND_MAX,
    QUEUE_LINES_MAX,
    Console,
    safe_line,
)
from raftline.node.program import boot
from raftline.node.program.boot import log_level
from raftline.node.program.traffic_log import TrafficLog
from raftline.raft.effects import Effects
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import (
    AppendEntries,
    AppendRejected,
    Denial,
    InstallSnapshot,
    Message,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.wire.commands.redaction import without_values
from raftline.wire.commands.summaries import abridged
from raftline.wire.peer_lines import format_message
from raftline_testing.doubles.cores import node_of


class Clock:
    """A clock that stands until it is moved, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Costly:
    """Counts how often somebody makes text of it."""

    def __init__(self) -> None:
        self.made = 0

    def __str__(self) -> str:
        self.made += 1
        return "costly"


class Watched(io.StringIO):
    """A stream that tells when a line with `awaited` in it was written."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.awaited = awaited
        self.came = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.awaited in self.getvalue():
            self.came.set()
        return written


def close(console: Console) -> None:
    """Close a console, and wait until all is printed: it waits for a second itself, which a busy
    machine may stand still for."""
    console.close()
    printer = console._printer
    printer.join(30)
    assert not printer.is_alive()


def closed_output(console: Console, stream: io.StringIO) -> list[str]:
    close(console)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("ends", ["dropped", "closed"])
def test_a_console_writes_into_no_file_but_its_own(tmp_path: Path, ends: str) -> None:
    """Once the stream of a console is closed, the next file gets its descriptor."""
    stream = (tmp_path / "console").open("w")
    console, number = Console(stream, verbose=False, clock=Clock()), stream.fileno()
    if ends == "closed":
        stream.close()
    del stream
    gc.collect()
    with (tmp_path / "s1.storage").open("wb", buffering=0) as other:
        is_taken = other.fileno() == number
        if ends == "closed" and not is_taken:
            os.dup2(other.fileno(), number)
        console.say("[*] I am Leader")
        close(console)
        if ends == "closed" and not is_taken:
            os.close(number)
    assert (tmp_path / "s1.storage").read_bytes() == b""
    assert (tmp_path / "console").read_text() == "[*] I am Leader\n"


def test_a_console_that_is_closed_holds_no_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "console").open("w") as stream:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            close(Console(stream, verbose=False, clock=Clock()))
        assert len(os.listdir("/proc/self/fd")) < before + 20


def test_console_lines_are_printed_in_order() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    console.say("[*] Starting election...")
    console.traffic("requests", "[*] Received from %s : %s", "client", "get ana")
    console.say("[*] I am Leader")
    assert closed_output(console, stream) == [
        "[*] Starting election...",
        "[*] Received from client : get ana",
        "[*] I am Leader",
    ]


def test_traffic_above_the_limit_is_summed_up_after_each_second() -> None:
    stream, clock = io.StringIO(), Clock()
    console = Console(stream, verbose=False, clock=clock)
    for number in range(3160):
        console.traffic("requests", "request %d", number)
    clock.now += 1.0
    console.traffic("requests", "request %s", "of the next second")
    lines = closed_output(console, stream)
    assert lines[:LINES_PER_SECOND_MAX] == [f"request {n}" for n in range(LINES_PER_SECOND_MAX)]
    assert lines[LINES_PER_SECOND_MAX:] == [
        "… 3,120 more requests in this second",
        "request of the next second",
    ]


def test_each_kind_of_traffic_is_counted_by_itself() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    for _ in range(LINES_PER_SECOND_MAX + 2):
        console.traffic("requests", "a request")
    console.traffic("connections", "a connection")
    console.traffic("entries", "an entry")
    assert closed_output(console, stream)[-1] == (
        "… 2 more requests, 1 more connection, 1 more entry in this second"
    )


def test_requests_that_come_together_are_counted_together() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    traffic_log = TrafficLog(console)
    assert traffic_log.shows_requests(16)
    for _ in range(LINES_PER_SECOND_MAX + 1):
        traffic_log.requested("c", "get a")
    assert not traffic_log.shows_requests(16)
    assert closed_output(console, stream)[-1] == "… 17 more requests in this second"


class CountedMeanwhile(int):
    """A count in whose printing another thread counts what it could not print either."""

    held: dict[str, int]

    def __format__(self, form: str) -> str:
        self.held["entries"] = 1
        return super().__format__(form)


def test_traffic_counted_during_a_summary_causes_no_error() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    count = CountedMeanwhile(2)
    count.held = console._held = {"requests": count, "connections": 3}
    console.end_traffic()
    assert closed_output(console, stream) == [
        "… 2 more requests, 3 more connections in this second"
    ]


def test_events_are_printed_under_any_traffic() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    for _ in range(1000):
        console.traffic("requests", "a request")
    for term in range(100):
        console.say(f"term {term}")
    lines = closed_output(console, stream)
    assert [line for line in lines if line.startswith("term")] == [f"term {n}" for n in range(100)]


def test_suppressed_lines_are_not_formatted() -> None:
    costly = Costly()
    console = Console(io.StringIO(), verbose=False, clock=Clock())
    for _ in range(1000):
        console.traffic("requests", "%s", costly)
    console.close()
    assert costly.made == LINES_PER_SECOND_MAX


def test_the_sum_comes_by_itself_when_the_traffic_ends() -> None:
    stream = Watched("the last that is printed")
    console = Console(stream, verbose=False)  # the real clock: somebody has to wake up
    for _ in range(LINES_PER_SECOND_MAX - 1):
        console.traffic("requests", "a request")
    console.traffic("requests", "the last that is printed")
    assert stream.came.wait(timeout=30)  # nothing is left to do for the printer
    stream.awaited = " more request"
    stream.came.clear()
    for _ in range(2 * LINES_PER_SECOND_MAX):  # too many, even if a new second has begun
        console.traffic("requests", "another")
    came = stream.came.wait(timeout=30)
    console.close()
    assert came


def test_text_without_arguments_may_hold_percent_signs() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    console.traffic("requests", "set a 100%s")
    assert closed_output(console, stream) == ["set a 100%s"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("set a b\ns1@I am Leader", r"set a b\x0as1@I am Leader"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("bell\x07 nul\x00 del\x7f tab\t", r"bell\x07 nul\x00 del\x7f tab\x09"),
        ("next line\x85", r"next line\xc2\x85"),
        ("\udcff no UTF-8", r"\xff no UTF-8"),
        ("\ud800 half a pair", r"\xed\xa0\x80 half a pair"),
        ("right to left \u202e", r"right to left \xe2\x80\xae"),
        ("Grüße, 世界", "Grüße, 世界"),
    ],
)
def test_no_printed_text_can_steer_a_terminal(text: str, shown: str) -> None:
    assert safe_line(text) == shown


@pytest.mark.parametrize("text", ["x" * 5_000_000, "\x00" * 5_000_000, "x" * 399 + "\x00\x00"])
def test_a_long_line_is_cut_with_a_mark(text: str) -> None:
    line = safe_line(text)
    assert len(line) == LINE_CHARACTERS_MAX
    assert line.endswith("…")


def test_a_line_of_just_the_limit_is_whole() -> None:
    assert safe_line("x" * LINE_CHARACTERS_MAX) == "x" * LINE_CHARACTERS_MAX


@pytest.mark.parametrize("length", [395, 396, 400, 401, 5_000_000])
def test_a_long_argument_is_not_copied_to_be_cut(length: int) -> None:
    stream, value = io.StringIO(), "x" * length
    console = Console(stream, verbose=False, clock=Clock())
    tracemalloc.start()
    console.traffic("messages", "[*] %s.%d", value, 7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    console.close()
    assert stream.getvalue() == safe_line(f"[*] {value}.7") + "\n"
    assert peak < 100_000


def test_a_stopped_terminal_blocks_no_thread() -> None:
    reading_end, writing_end = os.pipe()
    with open(writing_end, "w", encoding="utf-8") as stream:
        console = Console(stream, verbose=False, clock=Clock())
        while _is_printing(console):
            console.say("x" * 300)
        for number in range(2 * QUEUE_LINES_MAX):  # more than the queue holds
            console.say(f"{number} " + "x" * 300)
        console.traffic("requests", "the last request")
        console.say("the end")
        received = bytearray()
        reader = threading.Thread(target=lambda: received.extend(_all_of(reading_end)))
        reader.start()  # Ctrl-Q
        close(console)
    reader.join()
    lines = received.decode().splitlines()
    assert lines[-1] == "the end"
    said = [line for line in lines if line.endswith("dropped: the terminal stood still")]
    assert any("lines" in line for line in said), lines[-3:]
    assert "the last request" not in lines  # traffic goes first


def _is_printing(console: Console) -> bool:
    """Whether the printer takes what is queued; it stands still once the pipe is full."""
    pause = threading.Event()
    for _ in range(1000):
        if not console._lines:
            return True
        pause.wait(0.001)
    return False


def _all_of(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


@pytest.fixture
def thread_errors(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the list of what threads died of during the test."""
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda details: errors.append(details.exc_value))
    return errors


def test_a_lost_reader_ends_only_the_printing(thread_errors: list[object]) -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with open(writing_end, "w", encoding="utf-8") as stream:
        console = Console(stream, verbose=False, clock=Clock())
        for number in range(100):
            console.say(f"line {number}")
        close(console)
    assert thread_errors == []


def test_a_closed_stream_ends_only_the_printing(thread_errors: list[object]) -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    stream.close()
    console.say("to nobody")
    close(console)
    assert thread_errors == []


class FullDisk(io.StringIO):
    """Takes nothing as long as it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = True
        self.refused = threading.Event()

    def write(self, text: str, /) -> int:
        if self.is_full:
            self.refused.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_lines_return_after_a_full_disk_and_tell_the_gap() -> None:
    """After the disk was full, lines are printed again, and one says how many are missing."""
    disk = FullDisk()
    console = Console(disk, verbose=False, clock=Clock())
    console.say("lost")
    assert disk.refused.wait(60)
    disk.is_full = False
    console.say("written")
    close(console)
    gap, *after = disk.getvalue().splitlines()
    assert gap == "[!] lines lost here: 1 (No space left on device)"
    assert after == ["written"]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], "set a 5,I am Leader,[!] odd"),
        (["--log-format", "json"], "I am Leader,[!] odd"),
        (["--log-level", "info"], "I am Leader,[!] odd"),
        (["--log-level", "info", "--verbose"], "I am Leader,[!] odd"),
        (["--log-level", "warning"], "[!] odd"),
        (["--log-level", "debug"], "heartbeat,set a 5,I am Leader,[!] odd"),
        (["--verbose", "--log-format", "text"], "heartbeat,set a 5,I am Leader,[!] odd"),
    ],
)
def test_events_are_info_and_traffic_is_debug(options: list[str], printed: str) -> None:
    """Events are printed at info, and traffic at debug or on a plain console."""
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    console.set_level(log_level(boot.parser().parse_args(["s1", "10000", *options])))
    if console.verbose:
        console.traffic("messages", "heartbeat")
    console.traffic("requests", "%s", "set a 5")
    assert console.has_room("requests") == ("set a 5" in printed)
    console.say("I am Leader")
    console.say("[!] odd")
    close(console)
    assert stream.getvalue().splitlines() == printed.split(",")


def test_a_terminal_that_knows_only_ascii_gets_ascii() -> None:
    reading_end, writing_end = os.pipe()
    with open(writing_end, "w", encoding="ascii") as stream:
        console = Console(stream, verbose=False, clock=Clock())
        console.say("ünder …")
        close(console)
    assert _all_of(reading_end) == b"\\xfcnder \\u2026\n"


def test_after_closing_nothing_is_printed() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock())
    console.say("before")
    close(console)
    console.say("after")
    assert closed_output(console, stream) == ["before"]


@pytest.mark.parametrize(
    ("commands", "ends"),
    [(["set b 30", "get b"], "Last log: 2 3 get b"), ([], "Last log: 0 0")],
)
def test_a_follower_that_lacks_entries_prints_the_end_of_its_log(
    commands: list[str], ends: str
) -> None:
    missing = AppendRejected("s2", "s1", 6, len(commands), 4)
    stream = io.StringIO()
    console = Console(stream, verbose=False)
    traffic_log = TrafficLog(console, course=True)
    node = node_of("s2")
    if commands:
        node._state.log.extend(3, commands)
    traffic_log.carried_out(Effects(send_after_save=[missing]), node.view)
    # An old leader is answered the same, yet nothing is asked of it (round 0).
    traffic_log.carried_out(Effects(send_after_save=[replace(missing, round=0)]), node.view)
    close(console)
    asked = f"GiveEntriesAfterIndex {len(commands)} term 6 round 4"
    assert stream.getvalue().splitlines() == [asked, "Sending message", ends, "Sending message"]


def said_by(node: RawNode, *steps: Effects | RequestVoteReply, verbose: bool = False) -> list[str]:
    """Return what a traffic log says of these steps of a node, and of votes that it receives."""
    stream = io.StringIO()
    console = Console(stream, verbose=verbose)
    traffic_log = TrafficLog(console)
    for step in steps:
        if isinstance(step, RequestVoteReply):
            traffic_log.received(step.sender, None, step)
        else:
            traffic_log.carried_out(step, node.view)
    close(console)
    return stream.getvalue().splitlines()


HEARD = "[*] Heard from no leader: asking for PreVotes for term 2"
ASKED: list[Message] = [RequestVote("s1", to, 2, 1, 1, pre_vote=True) for to in ("s2", "s3")]
SENDS = [f"Sending message to {to}: PreVote 2-1-1" for to in ("s2", "s3")]
YES = RequestVoteReply("s2", "s1", 2, True, pre_vote=True)
NO = RequestVoteReply("s3", "s1", 1, False, pre_vote=True, reason="no")


@pytest.mark.parametrize(("verbose", "times"), [(False, 1), (True, 2)])
def test_repeated_prevote_requests_are_printed_once(verbose: bool, times: int) -> None:
    first, again = Effects(send=ASKED, notes=[HEARD]), Effects(send=ASKED)
    assert said_by(node_of("s1", 1), first, again, verbose=verbose) == [HEARD, *SENDS * times]


def test_prevotes_are_printed_again_in_another_term() -> None:
    said = said_by(node_of("s1", 1), Effects(send=ASKED), Effects(send=ASKED))
    assert said == SENDS
    stream = io.StringIO()
    console = Console(stream, verbose=False)
    traffic_log, node = TrafficLog(console), node_of("s1", 1)
    for leader in (None, "s2", None, None):
        node._state.leader = leader
        traffic_log.carried_out(Effects(send=ASKED), node.view)
    close(console)
    assert stream.getvalue().splitlines() == SENDS * 3  # not for the last of them


def test_answering_voters_are_printed_from_time_to_time() -> None:
    ask = Effects(send=ASKED)
    said = said_by(node_of("s1", 1), *[part for _ in range(600) for part in (ask, YES, NO)])
    printed = [line for line in said if line.startswith("[*] Still no leader: ")]
    assert printed == [
        f"[*] Still no leader: asked {times} times for PreVotes for term 2. Yes: s2. No: s3 (no)"
        for times in (4, 8, 16, 32, 64, 128, 256, 384, 512)
    ]
    assert len(said) == len(SENDS) + len(printed) + 2  # and one line for each of the answers


def test_change_of_answering_voters_is_printed_in_two_rounds() -> None:
    """A change of the voters that answer is printed after two rounds."""
    ask, both = Effects(send=ASKED), (Effects(send=ASKED), YES, NO)
    rounds: list[Effects | RequestVoteReply]
    rounds = [*both * 8, ask, YES, *both * 2, ask, YES, ask, YES, ask]
    said = said_by(node_of("s1", 1), *rounds)
    begin = "[*] Still no leader: asked "
    printed = [line.removeprefix(begin) for line in said if line.startswith(begin)]
    assert printed == [
        "4 times for PreVotes for term 2. Yes: s2. No: s3 (no)",
        "8 times for PreVotes for term 2. Yes: s2. No: s3 (no)",
        "14 times for PreVotes for term 2. Yes: s2. No answer: s3",
    ]


def test_a_denied_prevote_is_a_line_once() -> None:
    note = "[*] s1 denies its PreVote to s3 for term 4: log not up to date"
    answer = RequestVoteReply(
        "s1", "s3", 3, False, pre_vote=True, word=Denial.BEHIND, reason="log not up to date"
    )
    step = Effects(send_after_save=[answer], notes=[note])
    other = "[*] s1 denies its vote to s3 for term 4: log not up to date"
    said = said_by(node_of("s1", 1), step, step, Effects(notes=[other]), Effects(notes=[other]))
    sent = "Sending message to s3: Not this time term 3 prevote behind: log not up to date"
    assert said == [note, sent, other, other]


def test_long_append_shows_its_first_entry_and_a_count() -> None:
    """A long append is shown as its first entry and the number of the others."""
    entries = [Entry(index, 2, f"set k {'v' * 100}") for index in range(4, 1004)]
    message = AppendEntries("s1", "s2", 2, 3, 1, entries, 3, 7)
    assert abridged(message) == (
        f'AppendEntries 2-3-1-[{{"index": 4, "term": 2, "command": "set k {"v" * 53}…"}}, '
        "… 999 more] commit 3 round 7"
    )


def test_the_data_of_a_snapshot_piece_is_not_shown() -> None:
    piece = InstallSnapshot("s1", "s2", 5, Snapshot(17, 4, 66, 1), 0, 9, 3, "17 4 snapshot")
    assert abridged(piece) == "InstallSnapshot 5-17-4 offset 0 of 66 crc32 00000001 round 3"


def test_times_stand_before_each_line_and_do_not_shorten_it() -> None:
    stream = io.StringIO()
    console = Console(stream, verbose=False, clock=Clock(), stamp=lambda: "12:00")
    console.say("x" * LINE_CHARACTERS_MAX)
    for _ in range(LINES_PER_SECOND_MAX + 1):
        console.traffic("requests", "one")
    close(console)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"12:00 {'x' * LINE_CHARACTERS_MAX}"
    assert lines[-1] == "12:00 … 1 more request in this second"
    assert all(line.startswith("12:00 ") for line in lines)


# --- a node that is protected ---------------------------------------------------------------------

VALUES = ("secret1", "secret2")


def printed_by(*, is_private: bool, verbose: bool = False) -> str:
    """Return what a node prints of requests, entries and messages that hold values."""
    stream = io.StringIO()
    console = Console(stream, verbose=verbose)
    traffic_log = TrafficLog(console, is_private=is_private)
    entries = [Entry(7, 3, "c.1f-5#1@set a secret1"), Entry(8, 3, "cas a secret1 secret2")]
    node = node_of("s2")
    node._state.log.extend(3, [entry.command for entry in entries])
    for line in (
        "set a secret1",
        "txn if a = secret1 then set b secret2",
        "under lease-1 set a secret1",
        'object o list.put 0 "secret2"',
        'machine bank {"a": "secret1"}',
        "setx a secret2",
        "setex a 5 secret1",
        "STORE a secret1",
        "get a b c d e secret1",
        "renew lease-5.secret2",
    ):
        traffic_log.requested("c", line)
    message = AppendEntries("s1", "s2", 3, 6, 3, entries, 6, 1)
    traffic_log.received("s1", format_message(message), message)
    traffic_log.received("s1", None, message)
    traffic_log.carried_out(Effects(send=[message]), node.view)
    traffic_log.carried_out(Effects(append=entries), node.view)
    lacks = AppendRejected("s2", "s1", 6, 2, 4)
    traffic_log.carried_out(Effects(send_after_save=[lacks]), node.view)
    close(console)
    return stream.getvalue()


def test_the_console_of_a_protected_node_shows_keys_and_no_value() -> None:
    shown = printed_by(is_private=True)
    assert [value for value in VALUES if value in shown] == []
    for line in (
        "[*] Received from c : set a …",
        "[*] Received from c : txn …",
        "[*] Received from c : setex a …",
        "[*] Received from c : …",
        "[*] Received from c : renew …",
        "Last log: 8 3 cas a …",
    ):
        assert line in shown.splitlines()
    assert shown.count("-[2 entries] commit ") == 3


@pytest.mark.parametrize(("is_private", "verbose"), [(False, False), (True, True)])
def test_console_of_an_open_node_or_verbose_shows_all(is_private: bool, verbose: bool) -> None:
    """A node without a secret shows everything on its console, and so does `--verbose`."""
    shown = printed_by(is_private=is_private, verbose=verbose)
    assert "[*] Received from c : set a secret1" in shown
    assert "Last log: 8 3 cas a secret1 secret2" in shown
    assert "[2 entries]" not in shown


@pytest.mark.parametrize(("is_private", "verbose"), [(False, False), (True, True), (True, False)])
def test_no_console_shows_what_a_node_knows_of_a_password(is_private: bool, verbose: bool) -> None:
    command = f"user-add b {make_verifier('battery', 4096)} app"
    entries = [Entry(7, 3, command), Entry(8, 3, f"c.1f-5#1@{command}")]
    stream = io.StringIO()
    console = Console(stream, verbose=verbose)
    traffic_log, node = TrafficLog(console, is_private=is_private), node_of("s2")
    node._state.log.extend(3, [entry.command for entry in entries])
    traffic_log.requested("c", command)
    message = AppendEntries("s1", "s2", 3, 6, 3, entries, 6, 1)
    traffic_log.received("s1", format_message(message), message)
    traffic_log.carried_out(Effects(send=[message]), node.view)
    traffic_log.carried_out(Effects(append=entries), node.view)
    traffic_log.carried_out(
        Effects(send_after_save=[AppendRejected("s2", "s1", 6, 2, 4)]), node.view
    )
    close(console)
    shown = stream.getvalue()
    assert shown.count("user-add") >= (2 if is_private and not verbose else 5)
    salt, keys = command.split("$")[1:3]
    assert keys not in shown
    assert f"{salt}$" not in shown


@pytest.mark.parametrize("line", [
    "get a", "delete a", "show app/", "watch app/ after 7", "expire a 5",
    "add s4 h4 10000", "c.1f-5@session", "status", "incr n 5",
])  # fmt: skip
def test_a_line_that_holds_no_value_is_printed_as_it_is(line: str) -> None:
    assert without_values(line) == line


@pytest.mark.parametrize(("line", "printed"), [
    ("c#4@lease 10 9f86d081884c7d65", "c#4@lease …"), ("release lease-5.9f8", "release …"),
    ("login bob secret", "login …"), ("cas a 1 2", "cas a …"), ("machine bank 5", "machine …"),
])  # fmt: skip
def test_a_value_or_a_secret_among_operands_is_left_out(line: str, printed: str) -> None:
    assert without_values(line) == printed
