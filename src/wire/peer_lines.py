"""The messages as lines, and back: `read(format_message(m))` returns `m`.

The first words of each line come from the reports of the course ("Count on me", "I am up to date");
the numbers after them (term, index, round) distinguish a late answer from a new one.
docs/use/protocol.md lists every form.

    s1@InstallSnapshot 5-17-4 offset 0 of 66 crc32 1ff08c67 round 9 data "17 4 snapshot …"
    s2@GiveSnapshotAfterByte 66 of 17-4 term 5 round 9

The data is a chunk of the snapshot's file, a JSON string of at most `CHUNK_BYTES` bytes. A byte
that is not UTF-8, because a character was cut in two, appears as `\\udcNN`. The last chunk has no
answer: a heartbeat that is answered `I am up to date` ends the transfer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring
from typing import Any

from ..common.text import NAME, NUMBER, NUMBER_MAX, is_printable
from ..raft.log import Entry, Snapshot, entries_of
from ..raft.messages import (
    CHUNK_BYTES,
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Denial,
    Difference,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PeerError,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    SumKind,
    Sums,
    TimeoutNow,
)

_FORMS = {
    "RequestVote": "RequestVote TERM-LASTINDEX-LASTTERM [transfer|newborn] [without NAME ...]",
    "PreVote": "PreVote TERM-LASTINDEX-LASTTERM [newborn] [without NAME ...]",
    "AppendEntries": "AppendEntries TERM-PREVINDEX-PREVTERM-[ENTRIES] commit C round R",
    "Count": "Count on me term T",
    "Not": "Not this time term T WORD: REASON",
    "I": "I am up to date term T index I round R",
    "GiveEntriesAfterIndex": "GiveEntriesAfterIndex N term T round R",
    "TimeoutNow": "TimeoutNow TERM",
    "ReadIndex": "ReadIndex TERM round R",
    "Read": "Read at index I term T round R",
}
_INSTALL_FORM = 'InstallSnapshot TERM-LASTINDEX-LASTTERM offset O of SIZE crc32 X round R data "…"'
_HELD_FORM = "GiveSnapshotAfterByte O of LASTINDEX-LASTTERM term T round R"
FIRST_WORDS = frozenset({*_FORMS, "InstallSnapshot", "GiveSnapshotAfterByte"})

_N = r"([0-9]{1,19})"
_FIRST = re.compile(rf'\[{{"index": ({NUMBER}), "term": ({NUMBER}), "command": "')  # of a list
# At the end of a follower's answer: its incarnation, and whether it may be new
# (raft/recovering.py).
_WITHOUT_VOTE = rf"(?: without vote {_N}( maybe new)?)?"
_MARKS = rf"(?: lease {_N})?{_WITHOUT_VOTE}"
# And its sums (raft/agreement.py).
_SUM32, _SUM64 = "([0-9a-f]{8})", "([0-9a-f]{16})"
_SUMS = rf"(?: sum {_N} {_SUM32}(?: state {_N} {_SUM64})?(?: differs {_N})?(?: snapshot {_N})?)?"
_DIFFERS = rf"(?: you differ {_N} (?:entries {_SUM32}|state {_SUM64}))?(?: all agree {_N})?"
_VOTE = re.compile(
    rf"(RequestVote|PreVote(?!.* transfer)) {_N}-{_N}-{_N}( transfer(?!.* without )| newborn)?"
    rf"(?: without ({NAME}(?: {NAME})*))?"
)
_GRANTED = re.compile(rf"Count on me term {_N}( prevote)?")
# The word of a denial, its facts, and its sentence for people. `hears` needs the leader's name.
_WORD = rf"(?!prevote[ :]|hears(?![A-Za-z-]| {NAME}: ))([A-Za-z-]+)((?: [^ :]+)*)"
_DENIED = re.compile(rf"Not this time term {_N}( prevote)? {_WORD}: (.*)")
_HEAD = re.compile(rf"AppendEntries {_N}-{_N}-{_N}-(?=\[)")
_TAIL = re.compile(rf"(?: commit {_N} round {_N}(?: vote again {_N}| you lost {_N})?{_DIFFERS})?")
_APPENDED = re.compile(rf"I am up to date term {_N} index {_N} round {_N}{_MARKS}{_SUMS}")
_MISSING = re.compile(rf"GiveEntriesAfterIndex {_N} term {_N} round {_N}{_MARKS}")
_INSTALL = re.compile(
    rf"InstallSnapshot {_N}-{_N}-{_N} offset {_N} of {_N} crc32 ([0-9a-f]{{8}}) round {_N}"
    r" data (?=\")"
)
_HELD = re.compile(rf"GiveSnapshotAfterByte {_N} of {_N}-{_N} term {_N} round {_N}{_WITHOUT_VOTE}")
_TIMEOUT_NOW = re.compile(rf"TimeoutNow {_N}")
_READ_INDEX = re.compile(rf"ReadIndex {_N} round {_N}")
_READ_AT = re.compile(rf"Read at index {_N} term {_N} round {_N}")


def format_message(message: Message) -> str:
    """Return the text of the message after `NAME@` on the wire."""
    match message:
        case AppendEntries():
            return format_append(message, format_entries(message.entries))
        case AppendAccepted(term=term, index=index, round=number):
            text = f"I am up to date term {term} index {index} round {number}"
            if message.lease_ms or message.without_vote:
                text += _marks(message)
            return text if message.sums is None else text + _format_sums(message.sums)
        case AppendRejected(term=term, index=index, round=number):
            return f"GiveEntriesAfterIndex {index} term {term} round {number}" + _marks(message)
        case RequestVote(term=term, last_index=index, last_term=last_term):
            word = "PreVote" if message.pre_vote else "RequestVote"
            return f"{word} {term}-{index}-{last_term}" + (
                " transfer" * message.transfer
                + " newborn" * message.newborn
                + (" without " + " ".join(message.never_ran) if message.never_ran else "")
            )
        case InstallSnapshot():
            return _format_install(message)
        case InstallSnapshotReply():
            return _format_held(message)
        case _:
            return _format_short(message)


def _format_short(message: RequestVoteReply | TimeoutNow | ReadIndex | ReadIndexReply) -> str:
    match message:
        case RequestVoteReply(term=term):
            kind = " prevote" if message.pre_vote else ""
            if message.granted:
                return f"Count on me term {term}{kind}"
            word, leader = message.word or Denial.OTHER, ""
            if word is Denial.HEARS:
                leader = f" {message.leader}"
            return f"Not this time term {term}{kind} {word.value}{leader}: {message.reason}"
        case ReadIndex(term=term, round=number):
            return f"ReadIndex {term} round {number}"
        case ReadIndexReply(index=index, term=term, round=number):
            return f"Read at index {index} term {term} round {number}"
        case TimeoutNow(term=term):
            return f"TimeoutNow {term}"


def format_append(message: AppendEntries, entries: str) -> str:
    """Return the text of an AppendEntries with entries serialized once for all followers."""
    head, tail = _around(message)
    return f"{head}{entries}{tail}"


def append_line(message: AppendEntries, entries: Sequence[str]) -> bytes:
    """Return the whole line of the same message. `entries` are the pieces of their text."""
    head, tail = _around(message)
    return "".join([f"{message.sender}@{head}", *entries, f"{tail}\n"]).encode()


def _around(message: AppendEntries) -> tuple[str, str]:
    """Return the text before and after the entries of an AppendEntries."""
    mark = ""
    if message.vote_again:
        mark = f" vote again {message.vote_again:d}"
    elif message.lost_index:
        mark = f" you lost {message.lost_index:d}"
    if message.differs is not None:
        index, kind, total = message.differs
        width = 8 if kind is SumKind.ENTRIES else 16
        mark += f" you differ {index} {kind.value} {total:0{width}x}"
    if message.agreed_index:
        mark += f" all agree {message.agreed_index:d}"
    return (
        f"AppendEntries {message.term}-{message.prev_index}-{message.prev_term}-",
        f" commit {message.commit_index} round {message.round}{mark}",
    )


def are_one_line(message: AppendEntries, other: AppendEntries) -> bool:
    """Whether both have the same list of entries and the same text, so that they differ only in
    their receivers."""
    return (
        message.entries is other.entries
        and message.prev_index == other.prev_index
        and message.commit_index == other.commit_index
        and message.round == other.round
        and message.vote_again == other.vote_again
        and message.lost_index == other.lost_index
        and message.differs == other.differs
        and message.agreed_index == other.agreed_index
        and message.prev_term == other.prev_term
        and message.term == other.term
    )


def _format_sums(sums: Sums) -> str:
    text = f" sum {sums.index} {sums.chain:08x}"
    if sums.state_index:
        text += f" state {sums.state_index} {sums.state:016x}"
    if sums.differs:
        text += f" differs {sums.differs}"
    return text + f" snapshot {sums.received}" if sums.received else text


def _marks(message: AppendAccepted | AppendRejected) -> str:
    lease = f" lease {message.lease_ms}" if message.lease_ms else ""
    return lease + _without_vote(message) if message.without_vote else lease


def _without_vote(message: AppendAccepted | AppendRejected | InstallSnapshotReply) -> str:
    if not message.without_vote:
        return ""
    return f" without vote {message.without_vote:d}" + " maybe new" * message.may_be_new


def _format_install(message: InstallSnapshot) -> str:
    index, term, size, crc = message.snapshot
    data = encode_basestring(message.data).encode("utf-8", "backslashreplace").decode()
    return (
        f"InstallSnapshot {message.term}-{index}-{term} offset {message.offset} of {size}"
        f" crc32 {crc:08x} round {message.round} data {data}"
    )


def _format_held(message: InstallSnapshotReply) -> str:
    return (
        f"GiveSnapshotAfterByte {message.offset} of {message.index}-{message.index_term}"
        f" term {message.term} round {message.round}{_without_vote(message)}"
    )


def read(sender: str, to: str, text: str) -> Message:
    """Return the message from `sender` to `to` with this text.

    Raises:
        PeerError: the text has no known form, a number is beyond 2^63-1, the entries of an
            AppendEntries don't follow one another from the previous index, or a chunk does not fit
            the size of its snapshot.
    """
    if text.startswith("AppendEntries "):
        return _read_append(sender, to, text)
    if match := _APPENDED.fullmatch(text):
        if match.lastindex == 3:  # the answer to entries, nearly always
            term, index, number = _checked(match.group(1, 2, 3))
            return AppendAccepted(sender, to, term, index, number)
        return _read_reported(sender, to, match)
    if match := _MISSING.fullmatch(text):
        index, term, number, vote, lease_ms = _given(match, 1, 2, 3, 5, 4)
        is_new = match[6] is not None
        return AppendRejected(sender, to, term, index, number, vote, lease_ms, is_new)
    if text.startswith("InstallSnapshot "):
        return _read_install(sender, to, text)
    if text.startswith("GiveSnapshotAfterByte "):
        return _read_held(sender, to, text)
    if match := _VOTE.fullmatch(text):
        term, index, last_term = _numbers(match, 2, 3, 4)
        if last_term >= term or (index == 0) != (last_term == 0):
            raise PeerError(f"a log can't end at index {index} of term {last_term} in term {term}")
        return RequestVote(
            sender,
            to,
            term,
            index,
            last_term,
            match[1] == "PreVote",
            match[5] == " transfer",
            match[5] == " newborn",
            tuple(match[6].split(" ")) if match[6] else (),
        )
    return _read_short(sender, to, text)


def _read_reported(sender: str, to: str, match: re.Match[str]) -> AppendAccepted:
    """Return the answer to a heartbeat, with what it reports of its sender."""
    term, index, number, vote, lease_ms, chained, summed, differs, received = _given(
        match, 1, 2, 3, 5, 4, 7, 9, 11, 12
    )
    sums = None
    if match[7] is not None:
        chain, total = int(match[8], 16), int(match[10] or "0", 16)
        sums = Sums(chained, chain, summed, total, differs, received)
    is_new = match[6] is not None
    return AppendAccepted(sender, to, term, index, number, vote, lease_ms, is_new, sums)


def _read_short(sender: str, to: str, text: str) -> Message:
    """Return an answer to a vote request, or a message with only numbers."""
    if match := _GRANTED.fullmatch(text):
        (term,) = _numbers(match, 1)
        return RequestVoteReply(sender, to, term, True, match[2] is not None)
    if match := _DENIED.fullmatch(text):
        (term,) = _numbers(match, 1)
        denial, is_pre = Denial(match[3]), match[2] is not None
        leader = match[4].strip(" ") if denial is Denial.HEARS else ""
        return RequestVoteReply(sender, to, term, False, is_pre, denial, match[5], leader)
    if match := _READ_INDEX.fullmatch(text):
        return ReadIndex(sender, to, *_numbers(match, 1, 2))
    if match := _READ_AT.fullmatch(text):
        return ReadIndexReply(sender, to, *_numbers(match, 2, 1, 3))
    if match := _TIMEOUT_NOW.fullmatch(text):
        return TimeoutNow(sender, to, *_numbers(match, 1))
    word = text.split(" ", 1)[0]
    raise PeerError(f"malformed {word}. Its form is: {_FORMS.get(word, 'unknown')}")


def _read_append(sender: str, to: str, text: str) -> AppendEntries:
    head = _HEAD.match(text)
    end = text.rfind("]") + 1
    tail = _TAIL.fullmatch(text, end) if end else None
    if head is None or tail is None:
        raise PeerError(f"malformed AppendEntries. Its form is: {_FORMS['AppendEntries']}")
    digits = (*head.groups(), *tail.groups("0")[:4])
    term, prev_index, prev_term, commit_index, number, incarnation, lost_index = _checked(digits)
    if prev_term > term or (prev_index == 0) != (prev_term == 0) or term == 0:
        raise PeerError(f"no log of term {term} has index {prev_index} of term {prev_term}")
    begin = head.end()
    try:
        is_empty = end - begin == 2  # "[]"
        entries = [] if is_empty else read_entries(text, prev_index, prev_term, term, begin, end)
    except ValueError as error:
        raise PeerError(str(error)) from None
    return AppendEntries(
        sender,
        to,
        term,
        prev_index,
        prev_term,
        entries,
        commit_index,
        number,
        incarnation,
        lost_index,
        _read_difference(tail),
        *_given(tail, 8),
    )


def _read_install(sender: str, to: str, text: str) -> InstallSnapshot:
    head = _INSTALL.match(text)
    if head is None:
        raise PeerError(f"malformed InstallSnapshot. Its form is: {_INSTALL_FORM}")
    term, index, last_term, offset, size, number = _numbers(head, 1, 2, 3, 4, 5, 7)
    if not 0 < last_term <= term or index == 0:
        raise PeerError(f"no log of term {term} has index {index} of term {last_term}")
    try:
        data = json.loads(text[head.end() :])
        length = len(data.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise PeerError(f"the data of InstallSnapshot is not a JSON string: {error}") from None
    if length > CHUNK_BYTES or offset + length > size:
        raise PeerError(f"{length} bytes from {offset} on don't fit in a snapshot of {size}")
    snapshot = Snapshot(index, last_term, size, int(head[6], 16))
    return InstallSnapshot(sender, to, term, snapshot, offset, length, number, data)


def _read_held(sender: str, to: str, text: str) -> InstallSnapshotReply:
    match = _HELD.fullmatch(text)
    if match is None:
        raise PeerError(f"malformed GiveSnapshotAfterByte. Its form is: {_HELD_FORM}")
    offset, index, index_term, term, number = _numbers(match, 1, 2, 3, 4, 5)
    return InstallSnapshotReply(
        sender,
        to,
        term,
        index,
        index_term,
        offset,
        number,
        _given(match, 6)[0],
        match[7] is not None,
    )


def _read_difference(tail: re.Match[str]) -> Difference | None:
    if tail[5] is None:
        return None
    kind = SumKind.STATE if tail[6] is None else SumKind.ENTRIES
    return Difference(_numbers(tail, 5)[0], kind, int(tail[6] or tail[7], 16))


def _given(match: re.Match[str], *groups: int) -> tuple[int, ...]:
    """Return optional numbers, 0 for a missing one."""
    return _checked([match[group] or "0" for group in groups])


def _numbers(match: re.Match[str], *groups: int) -> tuple[int, ...]:
    return _checked(map(match.__getitem__, groups))


def _checked(digits: Iterable[str]) -> tuple[int, ...]:
    numbers = tuple(map(int, digits))
    if max(numbers) > NUMBER_MAX:
        raise PeerError(f"{max(numbers)} is beyond 2^63-1")
    return numbers


def format_entries(entries: Sequence[Entry]) -> str:
    """Return these entries as a JSON list. No command of a log has a control character."""
    return "".join(pieces_of(entries))


def pieces_of(entries: Sequence[Entry]) -> list[str]:
    """Return the same list in pieces, so that a long command is copied only once, into its line."""
    if not entries:
        return ["[]"]
    pieces, begin = list[str](), "[{"
    for index, term, command in entries:
        pieces += (f'{begin}"index": {index}, "term": {term}, "command": "', command)
        begin = '"}, {'
    pieces.append('"}]')
    if True not in ['"' in command or "\\" in command for _, _, command in entries]:
        return pieces  # no character that JSON escapes
    items = [
        f'{{"index": {index}, "term": {term}, "command": {encode_basestring(command)}}}'
        for index, term, command in entries
    ]
    return [f"[{', '.join(items)}]"]


def read_entries(
    text: str, prev_index: int, prev_term: int, term: int, begin: int = 0, end: int | None = None
) -> list[Entry]:
    """Return the entries of a JSON list that continue from the previous index. The list is the text
    from `begin` to `end`; the text around it has only plain characters.

    A number may also be a string of digits, as in the course programs. The text comes from a
    received line, so a tab is its only possible control character.

    Raises:
        ValueError: the list is malformed; the message explains the error.
    """
    end = len(text) if end is None else end
    entries = _plain_entries(text, begin, end, prev_index + 1)
    if entries is not None and max(prev_term, 1) <= entries[0].term <= term:
        return entries  # nearly always
    try:
        items = json.loads(text[begin:end])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the entries of AppendEntries are not a JSON list: {error}") from None
    return _checked_entries(items, prev_index, prev_term, term)


def _checked_entries(items: Any, prev_index: int, prev_term: int, term: int) -> list[Entry]:
    """Return the entries of a parsed JSON list from any sender.

    Raises:
        ValueError: for the same reasons as `read_entries`.
    """
    entries = []
    for expected, item in enumerate(items, start=prev_index + 1):
        try:
            index, entry_term, command = item["index"], item["term"], item["command"]
        except (TypeError, KeyError):
            raise ValueError('an entry is {"index": I, "term": T, "command": "…"}') from None
        if type(index) is not int or type(entry_term) is not int:
            index, entry_term = _number(index), _number(entry_term)
        if index != expected:
            raise ValueError(f"entry {index} where {expected} must follow")
        if not prev_term <= entry_term <= term or entry_term == 0:
            raise ValueError(f"entry {index} has term {entry_term}, not from {prev_term} to {term}")
        if type(command) is not str or not is_one_line(command):
            raise ValueError(f"the command of entry {index} is not one line of plain text")
        prev_term = entry_term
        entries.append(Entry(index, entry_term, command))
    if entries and entries[-1].index > NUMBER_MAX:
        raise ValueError(f"index {entries[-1].index} is beyond 2^63-1")
    return entries


def _plain_entries(text: str, begin: int, end: int, first: int) -> list[Entry] | None:
    """Return the entries from index `first` on of a list in the form of `format_entries`, if they
    are of one term and no command needs a JSON escape; None otherwise. For 64 entries this takes
    three fifths of the time of JSON and `_checked_entries`, and for a very long command a tenth."""
    start = _FIRST.match(text, begin, end)
    if start is None or start[1] != str(first):
        return None
    if not text.isascii() or "\\" in text or "\t" in text or "\x7f" in text:
        return None
    between = f', "term": {start[2]}, "command": "'
    commands, index, place = list[str](), first, start.end()
    while True:
        quote = text.find('"', place, end)
        if quote <= place:  # no quote, or an empty command
            return None
        commands.append(text[place:quote])
        index += 1
        head = f'"}}, {{"index": {index}{between}'
        if not text.startswith(head, quote):
            break
        place = quote + len(head)
    if text[quote:end] != '"}]' or index > NUMBER_MAX + 1:
        return None
    return entries_of(first, int(start[2]), commands)


def is_one_line(command: str) -> bool:
    """Return whether a command can be a line of the log: UTF-8 without control characters."""
    if is_printable(command):  # so it has no lone surrogate either
        return command != ""
    try:
        command.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return not any(c < " " or "\x7f" <= c <= "\x9f" for c in command)


def _number(text: object) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 19):
        raise ValueError(f"not a number: {str(text)[:40]!r}")
    return int(text)
