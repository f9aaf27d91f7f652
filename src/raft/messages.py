"""The messages between servers: one frozen dataclass each, and its spelling as a line.

The words that begin each line are those of a person's course report ("Count on me", "I am up
to date"); what follows them (term, index, round) makes a late answer tell itself from a new
one. docs/use/protocol.md lists every form; `read(spell(m))` gives `m` back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from raftline.raft.chunks import (
    WITHOUT_VOTE,
    InstallSnapshot,
    InstallSnapshotReply,
    read_held,
    read_install,
    spell_held,
    spell_install,
    spell_without_vote,
)
from raftline.raft.entries import NUMBER_MAX, Entry, read_entries, spell_entries
from raftline.raft.questions import FORMS, PATTERNS, Question, ReadIndexReply, spell_question


class PeerError(Exception):
    """A line from outside that a server can't have meant: answer it, change nothing, go on."""


@dataclass(frozen=True, slots=True)
class RequestVote:
    """Paper, Figure 2, RequestVote; with `pre_vote` the question of thesis §9.6, where `term`
    is the term that the sender would stand in; with `transfer` the leader itself asked the
    sender to stand (thesis §3.10). `newborn`: the sender's log was written by hand, and no leader
    was ever heard there, so its entries tell of no history (raft/newborn.py)."""

    sender: str
    to: str
    term: int
    last_index: int
    last_term: int
    pre_vote: bool = False
    transfer: bool = False
    newborn: bool = False


@dataclass(frozen=True, slots=True)
class RequestVoteReply:
    """An answer to RequestVote. `term` is the voter's; in a granted PreVote the one asked for."""

    sender: str
    to: str
    term: int
    granted: bool
    pre_vote: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """Paper, Figure 2, AppendEntries. `round` numbers the leader's sends within its term: the
    echo of it confirms leadership (thesis §6.4). `vote_again` names the incarnation whose loss
    it ends (raft/recovering.py); 0: nobody's."""

    sender: str
    to: str
    term: int
    prev_index: int
    prev_term: int
    entries: Sequence[Entry] = ()
    commit_index: int = 0
    round: int = 0
    vote_again: int = 0


@dataclass(frozen=True, slots=True)
class AppendAccepted:
    """The sender's log equals the leader's up to `index`, and that much is on its disk.

    `lease_ms`: for so long after the question came it votes for nobody else (raft/lease.py)."""

    sender: str
    to: str
    term: int
    index: int
    round: int
    without_vote: int = 0  # the incarnation of a server that lost its memory; 0: it has a vote
    lease_ms: int = 0
    may_be_new: bool = False  # beside `without_vote`: it can't tell whether it lost anything


@dataclass(frozen=True, slots=True)
class AppendRejected:
    """The sender's log differs before what was sent; it may agree up to `index` (paper §5.3)."""

    sender: str
    to: str
    term: int
    index: int
    round: int
    without_vote: int = 0  # the incarnation of a server that lost its memory; 0: it has a vote
    lease_ms: int = 0
    may_be_new: bool = False  # as above


OfSnapshot = InstallSnapshot | InstallSnapshotReply
Message = (
    RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendAccepted
    | AppendRejected
    | Question
    | OfSnapshot
)
Answer = (RequestVoteReply, AppendAccepted, AppendRejected, ReadIndexReply, InstallSnapshotReply)

FIRST_WORDS = frozenset(
    {
        "RequestVote", "PreVote", "AppendEntries", "Count", "Not", "I", "GiveEntriesAfterIndex",
        "InstallSnapshot", "GiveSnapshotAfterByte", *FORMS,
    }
)  # fmt: skip

_FORMS = {
    "RequestVote": "RequestVote TERM-LASTINDEX-LASTTERM [transfer|newborn]",
    "PreVote": "PreVote TERM-LASTINDEX-LASTTERM [newborn]",
    "AppendEntries": "AppendEntries TERM-PREVINDEX-PREVTERM-[ENTRIES] commit C round R",
    "Count": "Count on me term T",
    "Not": "Not this time term T: REASON",
    "I": "I am up to date term T index I round R",
    "GiveEntriesAfterIndex": "GiveEntriesAfterIndex N term T round R",
    **FORMS,
}
_N = r"([0-9]{1,19})"
_VOTE = re.compile(rf"(RequestVote|PreVote(?!.* transfer)) {_N}-{_N}-{_N}( transfer| newborn)?")
_GRANTED = re.compile(rf"Count on me term {_N}( prevote)?")
_DENIED = re.compile(rf"Not this time term {_N}( prevote)?: (.*)")
_HEAD = re.compile(rf"AppendEntries {_N}-{_N}-{_N}-(?=\[)")
_TAIL = re.compile(rf"(?: commit {_N} round {_N}(?: vote again {_N})?)?")
_MARKS = rf"(?: lease {_N})?{WITHOUT_VOTE}"
_APPENDED = re.compile(rf"I am up to date term {_N} index {_N} round {_N}{_MARKS}")
_MISSING = re.compile(rf"GiveEntriesAfterIndex {_N} term {_N} round {_N}{_MARKS}")


def spell(message: Message) -> str:
    """Return the message as it stands behind `NAME@` on the wire."""
    match message:
        case AppendEntries():
            return spell_append(message, spell_entries(message.entries))
        case AppendAccepted(term=term, index=index, round=number):
            return f"I am up to date term {term} index {index} round {number}" + _marks(message)
        case AppendRejected(term=term, index=index, round=number):
            return f"GiveEntriesAfterIndex {index} term {term} round {number}" + _marks(message)
        case RequestVote(term=term, last_index=index, last_term=last_term):
            word = "PreVote" if message.pre_vote else "RequestVote"
            return f"{word} {term}-{index}-{last_term}" + (
                " transfer" * message.transfer + " newborn" * message.newborn
            )
        case InstallSnapshot():
            return spell_install(message)
        case InstallSnapshotReply():
            return spell_held(message)
        case RequestVoteReply(term=term):
            kind = " prevote" if message.pre_vote else ""
            if message.granted:
                return f"Count on me term {term}{kind}"
            return f"Not this time term {term}{kind}: {message.reason}"
        case _:
            return spell_question(message)


def _marks(message: AppendAccepted | AppendRejected) -> str:
    lease = f" lease {message.lease_ms}" if message.lease_ms else ""
    return lease + spell_without_vote(message.without_vote, message.may_be_new)


def spell_append(message: AppendEntries, entries: str) -> str:
    """Return an AppendEntries whose entries were spelled before (once for all followers)."""
    return (
        f"AppendEntries {message.term}-{message.prev_index}-{message.prev_term}-{entries}"
        f" commit {message.commit_index} round {message.round}"
        + (f" vote again {message.vote_again:d}" if message.vote_again else "")
    )


def read(sender: str, to: str, text: str) -> Message:
    """Return the message that `sender` spelled for `to`.

    Raises:
        PeerError: the text is none of the forms, a number is beyond 2^63-1, or the entries of
            an AppendEntries don't follow one another from the index before them.
    """
    if text.startswith("AppendEntries "):
        return _read_append(sender, to, text)
    if text.startswith(("InstallSnapshot ", "GiveSnapshotAfterByte ")):
        return _read_of_snapshot(sender, to, text)
    if found := _APPENDED.fullmatch(text):
        term, index, number = _numbers(found, 1, 2, 3)
        return AppendAccepted(sender, to, term, index, number, *_read_marks(found))
    if found := _MISSING.fullmatch(text):
        index, term, number = _numbers(found, 1, 2, 3)
        return AppendRejected(sender, to, term, index, number, *_read_marks(found))
    if found := _VOTE.fullmatch(text):
        term, index, last_term = _numbers(found, 2, 3, 4)
        if last_term >= term or (index == 0) != (last_term == 0):
            raise PeerError(f"a log can't end at index {index} of term {last_term} in term {term}")
        return RequestVote(
            sender, to, term, index, last_term,
            found[1] == "PreVote", found[5] == " transfer", found[5] == " newborn",
        )  # fmt: skip
    if found := _GRANTED.fullmatch(text):
        return RequestVoteReply(sender, to, _numbers(found, 1)[0], True, found[2] is not None)
    if found := _DENIED.fullmatch(text):
        return RequestVoteReply(
            sender, to, _numbers(found, 1)[0], False, found[2] is not None, found[3]
        )
    return _read_question(sender, to, text)


def _read_question(sender: str, to: str, text: str) -> Message:
    for pattern, kind in PATTERNS:
        if found := pattern.fullmatch(text):
            return kind(sender, to, *_numbers(found, *range(1, pattern.groups + 1)))
    word = text.split(" ", 1)[0]
    raise PeerError(f"malformed {word}. Its form is: {_FORMS.get(word, 'none that I know')}")


def _read_of_snapshot(sender: str, to: str, text: str) -> Message:
    try:
        return (read_install if text.startswith("I") else read_held)(sender, to, text)
    except ValueError as error:
        raise PeerError(str(error)) from None


def _read_append(sender: str, to: str, text: str) -> AppendEntries:
    head = _HEAD.match(text)
    end = text.rfind("]") + 1
    tail = _TAIL.fullmatch(text, end) if end else None
    if head is None or tail is None:
        raise PeerError(f"malformed AppendEntries. Its form is: {_FORMS['AppendEntries']}")
    term, prev_index, prev_term = _numbers(head, 1, 2, 3)
    commit_index, number = _numbers(tail, 1, 2) if tail[1] else (0, 0)
    if prev_term > term or (prev_index == 0) != (prev_term == 0) or term == 0:
        raise PeerError(f"no log of term {term} has index {prev_index} of term {prev_term}")
    listed = text[head.end() : end]
    try:
        entries = [] if listed == "[]" else read_entries(listed, prev_index, prev_term, term)
    except ValueError as error:
        raise PeerError(str(error)) from None
    incarnation = _given(tail, 3)
    return AppendEntries(
        sender, to, term, prev_index, prev_term, entries, commit_index, number, incarnation
    )


def _read_marks(found: re.Match[str]) -> tuple[int, int, bool]:
    """Return `without_vote`, `lease_ms` and `may_be_new` of an answer to AppendEntries."""
    return _given(found, 5), _given(found, 4), found[6] is not None


def _given(found: re.Match[str], group: int) -> int:
    """Return a number that may be left out."""
    return _numbers(found, group)[0] if found[group] else 0


def _numbers(found: re.Match[str], *groups: int) -> tuple[int, ...]:
    numbers = tuple(int(found[group]) for group in groups)
    if max(numbers) > NUMBER_MAX:
        raise PeerError(f"{max(numbers)} is beyond 2^63-1")
    return numbers
