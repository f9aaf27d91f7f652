"""The messages of servers, byte for byte: docs/use/protocol.md, peers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.common.text import NUMBER_MAX
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Denial,
    Message,
    PeerError,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.wire.peer_lines import (
    FIRST_WORDS,
    format_append,
    format_entries,
    format_message,
    is_one_line,
    read,
)

numbers = st.integers(0, NUMBER_MAX)
flags = st.booleans()
commands = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
reasons = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40)


@st.composite
def appends(draw: st.DrawFn) -> AppendEntries:
    prev_index = draw(st.integers(0, NUMBER_MAX - 8))
    terms = sorted(draw(st.lists(st.integers(1, NUMBER_MAX), min_size=1, max_size=6)))
    prev_term = terms[0] if prev_index else 0
    entries = [
        Entry(index, term, draw(commands))
        for index, term in enumerate(terms[:-1], start=prev_index + 1)
    ]
    return AppendEntries(
        "s1",
        "s2",
        terms[-1],
        prev_index,
        prev_term,
        entries,
        draw(numbers),
        draw(numbers),
        draw(flags),
    )


@st.composite
def requests(draw: st.DrawFn) -> RequestVote:
    last_term = draw(st.integers(0, NUMBER_MAX - 1))
    last_index = draw(st.integers(1, NUMBER_MAX)) if last_term else 0
    pre_vote = draw(flags)
    return RequestVote(
        "s1",
        "s2",
        draw(st.integers(last_term + 1, NUMBER_MAX)),
        last_index,
        last_term,
        pre_vote,
        not pre_vote and draw(flags),
    )


@st.composite
def denials(draw: st.DrawFn) -> RequestVoteReply:
    word = draw(st.sampled_from(Denial))
    leader = "s3" if word is Denial.HEARS else ""
    return RequestVoteReply(
        "s1", "s2", draw(numbers), False, draw(flags), word, draw(reasons), leader
    )


every_message = st.one_of(
    appends(),
    requests(),
    st.builds(RequestVoteReply, st.just("s1"), st.just("s2"), numbers, st.just(True), flags),
    denials(),
    st.builds(
        AppendAccepted, st.just("s1"), st.just("s2"), numbers, numbers, numbers, flags, numbers
    ),
    st.builds(
        AppendRejected, st.just("s1"), st.just("s2"), numbers, numbers, numbers, flags, numbers
    ),
    st.builds(TimeoutNow, st.just("s1"), st.just("s2"), numbers),
    st.builds(ReadIndex, st.just("s1"), st.just("s2"), numbers, numbers),
    st.builds(ReadIndexReply, st.just("s1"), st.just("s2"), numbers, numbers, numbers),
)


@given(every_message)
def test_a_formatted_message_is_read_back_equal(message: Message) -> None:
    line = format_message(message)
    assert "\n" not in line
    assert line.split(" ")[0] in FIRST_WORDS
    assert read("s1", "s2", line) == message


@given(st.sampled_from(["", *sorted(word + " " for word in FIRST_WORDS)]), st.text(max_size=60))
def test_any_text_is_refused_or_the_form_of_a_message(word: str, text: str) -> None:
    try:
        message = read("s1", "s2", word + text)
    except PeerError:
        return
    assert read("s1", "s2", format_message(message)) == message


@given(every_message, st.integers(0, 400), st.text(max_size=3))
def test_damaged_line_is_refused_or_the_form_of_a_message(
    message: Message, at: int, what: str
) -> None:
    line = format_message(message)
    damaged = line[:at] + what + line[at + 1 :]
    try:
        found = read("s1", "s2", damaged)
    except PeerError:
        return
    assert read("s1", "s2", format_message(found)) == found


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (RequestVote("s1", "s2", 7, 9, 5), "RequestVote 7-9-5"),
        (RequestVote("s1", "s2", 7, 9, 5, True), "PreVote 7-9-5"),
        (RequestVoteReply("s2", "s1", 7, True), "Count on me term 7"),
        (RequestVoteReply("s2", "s1", 7, True, True), "Count on me term 7 prevote"),
        *[
            (
                RequestVoteReply("s2", "s1", 7, False, False, word, "no: no"),
                f"Not this time term 7 {word.value}: no: no",
            )
            for word in Denial
            if word is not Denial.HEARS
        ],
        (
            RequestVoteReply("s2", "s1", 7, False, True, Denial.HEARS, "no", "s3"),
            "Not this time term 7 prevote hears s3: no",
        ),
        (
            AppendEntries("s1", "s2", 6, 1, 2, [Entry(2, 3, 'set b "5"')], 1, 4),
            r'AppendEntries 6-1-2-[{"index": 2, "term": 3, "command": "set b \"5\""}]'
            " commit 1 round 4",
        ),
        (AppendEntries("s1", "s2", 7, 11, 6, [], 9, 2), "AppendEntries 7-11-6-[] commit 9 round 2"),
        (
            AppendEntries("s1", "s2", 7, 11, 6, [], 9, 2, 7),
            "AppendEntries 7-11-6-[] commit 9 round 2 vote again 7",
        ),
        (
            AppendEntries("s1", "s2", 7, 11, 6, [], 9, 2, 0, 11),
            "AppendEntries 7-11-6-[] commit 9 round 2 you lost 11",
        ),
        (AppendAccepted("s2", "s1", 7, 9, 2), "I am up to date term 7 index 9 round 2"),
        (
            AppendAccepted("s2", "s1", 7, 9, 2, 7),
            "I am up to date term 7 index 9 round 2 without vote 7",
        ),
        (AppendRejected("s2", "s1", 7, 1, 2), "GiveEntriesAfterIndex 1 term 7 round 2"),
        (
            AppendRejected("s2", "s1", 7, 1, 2, 7),
            "GiveEntriesAfterIndex 1 term 7 round 2 without vote 7",
        ),
    ],
)
def test_each_message_has_one_form(message: Message, line: str) -> None:
    assert format_message(message) == line
    assert read(message.sender, message.to, line) == message


@pytest.mark.parametrize(
    "word", ["asleep", "HEARS", "hearsay", "hears-no s3", "quorum-lost 3 s1", "a- --"]
)
@pytest.mark.parametrize("kind", ["", " prevote"])
def test_an_unknown_word_of_a_denial_is_other(word: str, kind: str) -> None:
    """Another implementation may have more reasons to deny a vote."""
    read_back = read("s2", "s1", f"Not this time term 7{kind} {word}: behind: no")
    assert read_back == RequestVoteReply(
        "s2", "s1", 7, False, kind != "", Denial.OTHER, "behind: no"
    )


def test_the_course_heartbeat_is_read_without_commit_and_round() -> None:
    assert read("s1", "s2", "AppendEntries 7-11-6-[]") == AppendEntries("s1", "s2", 7, 11, 6, [])


def test_numbers_may_be_given_as_text_as_in_the_course_program() -> None:
    line = 'AppendEntries 6-1-2-[{"index": "2", "term": "3", "command": "get b"}]'
    found = read("s1", "s2", line)
    assert isinstance(found, AppendEntries)
    assert found.entries == [Entry(2, 3, "get b")]
    assert type(found.entries[0].index) is int


def test_separators_inside_a_command_stay_there() -> None:
    command = "set a@b-c, ]} commit 9 round 9 [] \\n ünïcödé"
    message = AppendEntries("s1", "s2", 1, 0, 0, [Entry(1, 1, command)], 0, 1)
    assert read("s1", "s2", format_message(message)) == message


def test_entries_encoded_once_make_the_same_line() -> None:
    entries = [Entry(1, 1, "set a 4"), Entry(2, 2, "noop")]
    message = AppendEntries("s1", "s2", 2, 0, 0, entries, 1, 3)
    assert format_append(message, format_entries(message.entries)) == format_message(message)


ENTRY = '{"index": 1, "term": 1, "command": "set a 4"}'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "RequestVote",
        "RequestVote 1-0",
        "RequestVote 1-0-0 ",
        "RequestVote  1-0-0",
        "RequestVote 1-0-0-0",
        "RequestVote -1-0-0",
        "RequestVote +1-0-0",
        "RequestVote 1_000-0-0",
        "RequestVote 1e3-0-0",
        "RequestVote 0x1-0-0",
        "RequestVote ９-0-0",  # full-width
        "RequestVote ١-0-0",  # Arabic-Indic
        "RequestVote 9223372036854775808-0-0",  # 2^63
        "RequestVote 99999999999999999999-0-0",
        "RequestVote 0-0-0",
        "RequestVote 3-5-3",  # a log can't end in the term that is only asked for
        "RequestVote 3-0-2",
        "RequestVote 3-2-0",
        "Count on me",
        "Count on me term x",
        "Count on me term 1 preVote",
        "Not this time term 1", "Not this time term 1: no", "Not this time term 1 prevote: no",
        "Not this time term 1 hears: no", "Not this time term 1 hears s3 s2: no",
        "Not this time term 1 behind", "Not this time term 1 b3h1nd: no",
        "I am up to date term 1 index 1",
        "I am up to date term 1 index 9223372036854775808 round 1",
        "GiveEntriesAfterIndex x term 1 round 1",
        "AppendEntries",
        "AppendEntries 1-0-0",
        "AppendEntries 1-0-0-",
        "AppendEntries 0-0-0-[]",
        "AppendEntries 1-1-0-[]",
        "AppendEntries 1-0-1-[]",
        "AppendEntries 1-1-2-[]",  # an entry of a term to come
        "AppendEntries 1-0-0-[] commit",
        "AppendEntries 1-0-0-[] commit 1",
        "AppendEntries 1-0-0-[] commit 1 round x",
        "AppendEntries 1-0-0-[] round 1 commit 1",
        "AppendEntries 1-0-0-[] commit 1 round 1 vote",
        "AppendEntries 1-0-0-{}",
        "AppendEntries 1-0-0-[",
        "AppendEntries 1-0-0-]",
        "AppendEntries 1-0-0-[1]",
        "AppendEntries 1-0-0-[null]",
        'AppendEntries 1-0-0-["set a 4"]',
        "AppendEntries 1-0-0-[[1, 1, \"set a 4\"]]",
        "AppendEntries 1-0-0-[{}]",
        "AppendEntries 1-0-0-[__import__('os')]",
        "AppendEntries 1-0-0-[{'index': 1, 'term': 1, 'command': 'set a 4'}]",
        f"AppendEntries 1-0-0-[{ENTRY},]",
        f"AppendEntries 1-0-0-[{ENTRY}] ]",
        f"AppendEntries 1-0-0-[{ENTRY}, {ENTRY}]",  # twice the same
        f"AppendEntries 1-1-1-[{ENTRY}]",  # it must go on after index 1
        'AppendEntries 2-0-0-[{"index": 2, "term": 1, "command": "a"}, '
        '{"index": 1, "term": 1, "command": "b"}]',
        'AppendEntries 3-0-0-[{"index": 1, "term": 2, "command": "a"}, '
        '{"index": 2, "term": 1, "command": "b"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 2, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 0, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": -1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": 1.0, "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": true, "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": NaN, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": Infinity, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": "1_0", "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": " 1", "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": "１", "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": "", "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": {}, "term": 1, "command": "a"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": ""}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": 4}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": null}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": ["set a 4"]}]',
        r'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "set a \n 2 1 set b 5"}]',
        r'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "set a \u0000"}]',
        r'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "set a \u0085"}]',
        r'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "set a \ud800"}]',
        'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "set a 4}]',
        'AppendEntries 9223372036854775807-9223372036854775807-1-'
        '[{"index": 9223372036854775808, "term": 1, "command": "a"}]',
        f"AppendEntries 1-0-0-[{'[' * 100_000}]",
        f"AppendEntries 1-0-0-[{'9' * 5000}]",
        "InstallSnapshot 1",
    ],
)  # fmt: skip
def test_a_malformed_line_is_refused(line: str) -> None:
    with pytest.raises(PeerError) as refused:
        read("s1", "s2", line)
    assert "\n" not in str(refused.value)


def test_a_refusal_names_the_form() -> None:
    with pytest.raises(PeerError, match="Its form is: RequestVote TERM-LASTINDEX-LASTTERM"):
        read("s1", "s2", "RequestVote please")


@pytest.mark.parametrize(
    "command", ["", "a\nb", "a\rb", "a\x00", "a\x1b[2J", "a\x7f", "a\x85", "\ud800"]
)
def test_a_text_that_no_log_line_can_hold_is_not_one_line(command: str) -> None:
    assert not is_one_line(command)


@pytest.mark.parametrize("command", ["noop", "set a 4", r"set a \n", "set ä 四", "set 🙂 x"])
def test_plain_text_is_one_line(command: str) -> None:
    assert is_one_line(command)


def test_the_largest_number_is_accepted() -> None:
    found = read("s1", "s2", f"RequestVote {NUMBER_MAX}-{NUMBER_MAX}-1")
    assert found == RequestVote("s1", "s2", NUMBER_MAX, NUMBER_MAX, 1)


def test_transfer_lease_and_read_index_have_one_form() -> None:
    lines: dict[str, Message] = {
        "RequestVote 5-9-4 transfer": RequestVote("s3", "s1", 5, 9, 4, transfer=True),
        "TimeoutNow 4": TimeoutNow("s3", "s1", 4),
        "ReadIndex 4 round 7": ReadIndex("s3", "s1", 4, 7),
        "Read at index 12 term 4 round 7": ReadIndexReply("s3", "s1", 4, 12, 7),
        "I am up to date term 4 index 9 round 2 lease 500": AppendAccepted(
            "s3", "s1", 4, 9, 2, lease_ms=500
        ),
        "GiveEntriesAfterIndex 9 term 4 round 2 lease 500": AppendRejected(
            "s3", "s1", 4, 9, 2, lease_ms=500
        ),
    }
    for line, message in lines.items():
        assert format_message(message) == line
        assert read("s3", "s1", line) == message


@pytest.mark.parametrize(
    "line",
    ["TimeoutNow", "TimeoutNow x", "ReadIndex 4", "Read at index 1", "PreVote 5-9-4 transfer",
     f"TimeoutNow {2**63}", "RequestVote 5-9-4 transfer "],
)  # fmt: skip
def test_malformed_transfer_lease_and_read_index_are_refused(line: str) -> None:
    with pytest.raises(PeerError, match=r"malformed \w+\. Its form is: \w+ |is beyond 2\^63-1"):
        read("s3", "s1", line)
