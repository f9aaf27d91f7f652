"""The evening's copy: what it is made of, its lines, its state machine and its files."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from course.tests.small.small_modules import NAMES, small_modules

from labs.solutions.model import SMALL
from raftline.raft import log, messages
from raftline.wire import peer_lines
from raftline.wire.protocol import escape, unescape
from raftline_testing.runner.sizes import code_lines

CODE_MAX = 900
PAGE = SMALL.parent / "docs" / "evening.md"
BOXES = {"All Servers": 2, "Followers": 2, "Candidates": 4, "Leaders": 4}
RECEIVERS = {"AppendEntries": 5, "RequestVote": 2}


@pytest.fixture(scope="module")
def small() -> Iterator[SimpleNamespace]:
    with small_modules() as modules:
        yield modules


# --- what it is made of ---------------------------------------------------------------------------


def test_five_files_have_at_most_900_lines_of_code() -> None:
    assert {path.stem for path in SMALL.glob("*.py")} == set(NAMES)
    assert sum(code_lines(path.read_text("utf-8")) for path in SMALL.glob("*.py")) <= CODE_MAX


def test_it_imports_only_itself_and_the_standard_library() -> None:
    allowed = {*NAMES, *sys.stdlib_module_names}
    for path in SMALL.glob("*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.Import):
                assert {one.name.partition(".")[0] for one in part.names} <= allowed, path
            elif isinstance(part, ast.ImportFrom):
                assert (part.module or "").partition(".")[0] in allowed, path


def test_each_rule_of_figure_2_is_named_at_its_code() -> None:
    """Followers 1, "respond to RPCs", and Leaders 2 of a client's reply are whole methods."""
    text = (SMALL / "raft.py").read_text("utf-8")
    places = [f"{box} {n}" for box, count in BOXES.items() for n in range(1, count + 1)]
    places += [f"{rpc}, receiver {n}" for rpc, c in RECEIVERS.items() for n in range(1, c + 1)]
    missing = [place for place in places if not re.search(rf"Figure 2, {place}\b", text)]
    assert missing == ["Followers 1"]


def test_each_screen_of_the_page_names_what_is_there() -> None:
    screens = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.M)[1:]
    assert len(screens) == 10
    for screen in screens:
        first = next(line for line in screen.splitlines() if line.startswith("`"))
        file, *names = re.findall(r"`([\w.]+)`", first)
        text = (SMALL / file).read_text("utf-8")
        lost = [name for name in names if not re.search(rf"^ *(def|class) {name}\b", text, re.M)]
        assert [name for name in lost if not (SMALL / name).is_file()] == []


# --- its lines ------------------------------------------------------------------------------------

ENTRY = (7, 2, r'client4#17@set "k" a\nb ] commit 9 round 9 é')
MESSAGES = [
    ("RequestVote", (5, 3, 2)),
    ("RequestVoteReply", (5, True)),
    ("RequestVoteReply", (5, False, False, "old-term: term 4 is over, I am in term 5")),
    ("AppendEntries", (5, 6, 1, [ENTRY], 4, 2**63 - 1)),
    ("AppendEntries", (5, 0, 0, [], 0, 3, 99)),
    ("AppendAccepted", (5, 7, 2**53 + 1)),
    ("AppendRejected", (5, 6, 12)),
]


def fields_of(message: object) -> dict[str, object]:
    names = [
        "sender", "to", "term", "last_index", "last_term", "granted", "prev_index", "prev_term",
        "commit_index", "round", "index", "vote_again", "without_vote",
    ]  # fmt: skip
    return {name: getattr(message, name) for name in names if hasattr(message, name)}


@pytest.mark.parametrize(("kind", "given"), MESSAGES)
def test_a_message_has_the_line_that_raftline_gives_it(
    small: SimpleNamespace, kind: str, given: tuple[object, ...]
) -> None:
    """Each side reads what the other side writes."""

    def made(module: object, entry: type) -> object:
        values = [[entry(*one) for one in v] if isinstance(v, list) else v for v in given]
        return getattr(module, kind)("s1", "s2", *values)

    own, theirs = made(small.raft, small.raft.Entry), made(messages, log.Entry)
    if isinstance(theirs, messages.RequestVoteReply) and not theirs.granted:
        theirs.word, theirs.reason = messages.Denial.OLD_TERM, "term 4 is over, I am in term 5"
    line = small.lines.format_message(own)
    text = line.removeprefix("s1@").removesuffix("\n")
    assert text == peer_lines.format_message(theirs)  # type: ignore[arg-type]
    assert fields_of(peer_lines.read("s1", "s2", text)) == fields_of(theirs)
    is_question = kind in ("RequestVote", "AppendEntries")
    read = small.lines.read_question if is_question else small.lines.read_answer
    again = read("s1", "s2", text)
    if kind == "AppendEntries":
        assert again.entries == own.entries  # type: ignore[attr-defined]
        own.vote_again = 0  # type: ignore[attr-defined]  # a small server never lost its vote
    assert fields_of(again) == fields_of(own)


def test_the_longest_message_is_read_as_one_line(small: SimpleNamespace) -> None:
    """Values of 1 MiB, each byte of which has its longest form."""
    entry = small.raft.Entry(1, 1, "set k " + r"\x00" * (1 << 20))
    line = small.lines.format_message(small.raft.AppendEntries("s1", "s2", 1, 0, 0, [entry]))
    assert len(line) * small.raft.BATCH < small.lines.LINE_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "RequestVote 1-0", "RequestVote one-0-0", "RequestVote 5-1-0", "RequestVote 5-9-5",
        f"RequestVote {2**63}-0-0", "PreVote", "AppendEntries 1-0-0-[set a 5]",
        'AppendEntries 1-0-0-[{"index": 7, "term": 1, "command": "noop"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 2, "command": "noop"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "\\ud800"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "a\\nb"}]',
        'AppendEntries 1-0-0-{"index": 1, "term": 1, "command": "noop"}',
        'AppendEntries 1-0-0-[{"index": 1e999, "term": 1, "command": "noop"}]',
        "AppendEntries 1-0-0-" + "[" * 100_000,
        "AppendEntries 1-0-0-[7]", "AppendEntries 1-0-0-7", "AppendEntries 1-0-0-[] commit 1",
    ],
)  # fmt: skip
def test_a_malformed_question_is_a_mistake(small: SimpleNamespace, text: str) -> None:
    with pytest.raises(small.lines.Mistake):
        small.lines.read_question("s1", "s2", text)
    with pytest.raises(messages.PeerError):
        peer_lines.read("s1", "s2", text)


@pytest.mark.parametrize(
    "typed",
    ["plain", r"two\swords", r"\x74\x09\xff", r"a\\b\n", "é\u00a0漢", r"\xe2\x80\xa8", r"\xC3"],
)
@pytest.mark.parametrize("is_key", [False, True])
def test_a_key_has_the_form_of_raftline(small: SimpleNamespace, typed: str, is_key: bool) -> None:
    assert small.lines.canonical(typed, is_key=is_key) == escape(unescape(typed), is_key)


def test_a_wrong_request_is_answered_with_its_form(small: SimpleNamespace) -> None:
    for typed, words in {
        "sing": "I don't understand: sing", "": "the line is empty",
        "get": "the key is missing", "get a b": "one key",
        "set a": "the value is missing", "incr a -0": "-0 is not a whole number",
        r"set a\q 1": r"\q is not an escape", "get " + "k" * 1025: "1025 bytes; the limit is 1024",
    }.items():  # fmt: skip
        with pytest.raises(small.lines.Mistake, match=re.escape(words)):
            small.lines.read_request(typed)
    for raw in (b"4client@get a\n", b"client4#x@get a\n", b"get \xff\n", b"get a\x00b\n"):
        with pytest.raises(small.lines.Mistake):
            small.lines.read_line(raw)


# --- its state machine ----------------------------------------------------------------------------


def test_a_numbered_request_is_executed_once(small: SimpleNamespace) -> None:
    machine = small.logmanager.Machine()
    for _ in range(2):
        assert machine.execute("anna#1@incr n 5") == "INCR response: 5"
    other = machine.execute("anna#1@incr n 7")
    assert other == "Sorry, anna#1 was another command; nothing was executed"
    assert machine.execute("bert#1@incr n") == "INCR response: 6"
    assert machine.read("get n") == "GET response: 6"


def test_show_lists_the_pairs_of_a_prefix_by_key(small: SimpleNamespace) -> None:
    machine = small.logmanager.Machine()
    for command in ("set b 2", r"set a\sb one\ntwo", "set c 3", "delete c", "set mail a@b"):
        machine.execute(command)
    assert machine.read("show") == r'SHOW response: {"a b": "one\ntwo", "b": "2", "mail": "a@b"}'
    assert machine.read("show m") == 'SHOW response: {"mail": "a@b"}'


def test_an_entry_of_another_build_is_not_skipped(small: SimpleNamespace) -> None:
    with pytest.raises(small.logmanager.Unusable, match="none that this server can execute"):
        small.logmanager.Machine().execute("cas a 1 2")


# --- its files ------------------------------------------------------------------------------------


def opened(small: SimpleNamespace, folder: Path) -> SimpleNamespace:
    return small.logmanager.LogManager(folder, "s1", {"s1": "localhost:10000"})


@pytest.fixture
def log_path(small: SimpleNamespace, tmp_path: Path) -> Path:
    """The log of a server that has written two batches, and a vote."""
    entry, files = small.raft.Entry, opened(small, tmp_path)
    state = small.raft.HardState(3, "s1")
    files.save(small.raft.Effects(state, None, [entry(1, 1, "set a 1"), entry(2, 1, "set a 2")]))
    files.save(small.raft.Effects(None, 1, [entry(2, 3, "set a é")]))
    return tmp_path / "s1.log"


def test_a_log_is_text_that_a_person_can_read(log_path: Path) -> None:
    lines = log_path.read_text("utf-8").splitlines()
    plain = [re.sub(r"crc32 [0-9a-f]{8}$", "crc32 X", line) for line in lines]
    assert plain == [
        "0 0 base s1=localhost:10000", "1 1 set a 1", "2 1 set a 2",
        "# 2 entries synced, crc32 X", "# cut after 1", "2 3 set a é", "# 1 entry synced, crc32 X",
    ]  # fmt: skip


def test_a_restart_has_what_was_synced(small: SimpleNamespace, log_path: Path) -> None:
    """At each place at which a power cut may tear the last write."""
    whole = log_path.read_bytes()
    before = whole.index(b"# cut after")
    for end in range(before, len(whole)):
        log_path.write_bytes(whole[:end])
        assert started(small, log_path.parent) == (["set a 1", "set a 2"], (3, "s1"))
        assert log_path.read_bytes() == whole[:before]
    log_path.write_bytes(whole)
    assert started(small, log_path.parent) == (["set a 1", "set a é"], (3, "s1"))


def started(small: SimpleNamespace, folder: Path) -> tuple[list[str], object]:
    """Return the commands and the state that a start finds; afterwards the files are free again."""
    files = opened(small, folder)
    return [one.command for one in files.log.entries(1, files.log.last_index)], files.state


def test_a_second_server_on_the_same_files_is_refused(
    small: SimpleNamespace, log_path: Path
) -> None:
    """Also before it cuts what the first one has begun to write."""
    first = opened(small, log_path.parent)
    with log_path.open("ab") as log:
        log.write(b"3 3 set a")
    before = log_path.read_bytes()
    with pytest.raises(small.logmanager.Unusable, match=r"another server writes to \S+/s1\.log"):
        opened(small, log_path.parent)
    assert log_path.read_bytes() == before
    del first


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("s1.vote", None, "s1.vote is lost"),
        ("s1.log", None, "s1.log is lost"),
        ("s1.vote", "term 2 vote -\n", "s1.vote is older than"),
        ("s1.vote", "term 3\n", "s1.vote is damaged"),
        ("s1.log", "0 0 base s1=localhost:10000\n# 0 entries synced, crc32 00000000\n", "damaged"),
        ("s1.log", "1 1 set a 1\n3 1 noop\n# 2 entries synced, crc32 89d88d06\n", "does not fit"),
    ],
)
def test_lost_or_damaged_files_are_refused(
    small: SimpleNamespace, log_path: Path, file: str, text: str | None, why: str
) -> None:
    """A promise might be forgotten."""
    path = log_path.parent / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text, "utf-8")
    with pytest.raises(small.logmanager.Unusable, match=why):
        opened(small, log_path.parent)


# --- its configuration ----------------------------------------------------------------------------


def test_a_wrong_configuration_is_named(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server-configuration.txt"
    path.write_text("# one a line\ns1 localhost 10000\n\ns2 localhost 10001\n", "utf-8")
    for folder in (tmp_path, tmp_path / "below"):
        found = small.server.read_members("s2", folder)
        assert found == {"s1": "localhost:10000", "s2": "localhost:10001"}
    with pytest.raises(small.logmanager.Unusable, match="has no s3, only s1 s2"):
        small.server.read_members("s3", tmp_path)
    of_the_clone = small.server.read_members("s1", tmp_path / "far" / "below")
    assert list(of_the_clone) == ["s1", "s2", "s3"]
    monkeypatch.setattr(small.server, "LOGS", tmp_path / "of an installed course")
    with pytest.raises(FileNotFoundError, match=r"far/below/server-configuration\.txt"):
        small.server.read_members("s1", tmp_path / "far" / "below")
    for wrong in ("s1 10000", "s1 localhost 65536", "s1 localhost ²", "1s localhost 10000"):
        path.write_text(f"{wrong}\n", "utf-8")
        with pytest.raises(small.logmanager.Unusable, match=f"NAME HOST PORT, not: {wrong}"):
            small.server.read_members("s1", tmp_path)
