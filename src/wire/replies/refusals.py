"""The codes of refusals: a word for programs that precedes the sentence for people. Pure.

A connection that sent `codes` gets `Sorry [CODE FACT ...] SENTENCE` instead of `Sorry, SENTENCE`.
Each row below has a code, its meaning for the request, and the form of its sentences. A sentence
without a row has the code `bad-request`. If a node sends no codes, the client derives them from the
sentences with the same table.
"""

from __future__ import annotations

import functools
import re
from enum import IntEnum
from typing import Final, NamedTuple

from .. import protocol
from ..commands.object_operations import OPERANDS
from ..commands.operands import NOT_UNDERSTOOD
from ..protocol import reply_line

SORRY: Final = "Sorry, "
TOO_MANY: Final = "too-many"  # the code of a node that serves no further watches


class RequestOutcome(IntEnum):
    """The outcome of a request; the number is the client's exit code, and the highest is the
    worst."""

    DONE = 0
    ABSENT = 1  # no such key, or a condition that did not hold (setnx, cas)
    USAGE = 2
    NO_LEADER = 3  # no leader known, not the leader, stopping, full: nothing was done
    UNKNOWN = 4  # a write that may still take effect
    REFUSED = 5  # refused, or no node answered: nothing was done


ELSEWHERE: Final = RequestOutcome.NO_LEADER  # nothing was done; a later try may succeed
UNKNOWN: Final = RequestOutcome.UNKNOWN
REFUSED: Final = RequestOutcome.REFUSED


class RefusalRow(NamedTuple):
    """A kind of refusal."""

    code: str
    outcome: RequestOutcome
    form: str  # the pattern of its sentences; the groups are the facts
    means: str


def _begins(*sentences: str) -> str:
    """Return a pattern for sentences that begin with one of these."""
    escaped = [re.escape(each.removeprefix(SORRY)) for each in sentences]
    return f"(?:{'|'.join(escaped)})"


_WATCH_ANEW: Final = r"; watch .* begins anew with what there is\.\Z"

REFUSALS: Final = (
    RefusalRow("not-leader", ELSEWHERE,
               _begins(protocol.NOT_LEADER)
               + r" Last leader I heard from is: (\S+) \(([^\s()]+)\)\Z",
               "ask the leader; the facts are its name and HOST:PORT"),
    RefusalRow("not-leader", ELSEWHERE, _begins(protocol.NOT_LEADER),
               "ask another node; this one does not know the leader's address"),
    RefusalRow("no-leader", ELSEWHERE,
               _begins(protocol.NO_LEADER) + r" (\S+) has no vote, since it ",
               "no leader is known; the fact is a voter without a vote, for which the others wait"),
    RefusalRow("no-leader", ELSEWHERE,
               _begins(protocol.NO_LEADER) + r" (\S+?)(?:,| and) (?:.* and )?(\S+) have no vote, ",
               "no leader is known; the facts are the first and the last voter without a vote"),
    RefusalRow("no-leader", ELSEWHERE, _begins(protocol.NO_LEADER),
               "no leader is known; ask again after a pause"),
    RefusalRow("stopping", ELSEWHERE,
               _begins(protocol.STOPPING, "an entry failed on this server, which stops."),
               "ask another node"),
    RefusalRow("removed", ELSEWHERE, _begins(protocol.REMOVED),
               "ask another node, never this one"),
    RefusalRow("down", ELSEWHERE, _begins(protocol.SHUT_DOWN),
               "ask another node"),
    RefusalRow("level-rising", ELSEWHERE, _begins(protocol.RISING),
               "ask again after a pause"),
    RefusalRow("full", ELSEWHERE,
               _begins(protocol.FULL, protocol.TOO_MANY_LOGINS, protocol.TOO_MUCH_WAITS,
                       protocol.NOT_REACHED,
                       "too many backups at a time.", "the keys of this watch can't be listed: ",
                       "the keys of this watch can't be written to "),
               "ask another node, or this one after a pause"),
    RefusalRow("done-once", UNKNOWN,
               _begins(protocol.DONE_ONCE) + r"\Z",
               "a write took effect once; its reply is lost"),
    RefusalRow("outcome-unknown", UNKNOWN, _begins(protocol.OUTCOME_UNKNOWN),
               "a write may or may not take effect; repeat it only with a session's number"),
    RefusalRow("session-expired", REFUSED, r"session expired: ",
               "nothing was executed this time; begin a new session"),
    RefusalRow("no-session", REFUSED, r"\S+ is no(?:t a)? session that NAME@session began",
               "nothing was done; begin a session with NAME@session"),
    RefusalRow("no-login", REFUSED, r"a client without a login may not ", "log in first"),
    RefusalRow("not-allowed", REFUSED, r"(?:none|reader|writer|admin) [\w.-]+ may not ",
               "the user lacks the right to do this"),
    RefusalRow("login-failed", REFUSED, r"the login failed: ", "the name or the password is wrong"),
    RefusalRow("login-failed", REFUSED, r"others could read a password here\. ",
               "a password may be sent only over TLS"),
    RefusalRow("no-users", REFUSED, r"this node has no users, ", "ask without a login"),
    RefusalRow("tls-only", REFUSED, _begins(protocol.TLS_ALONE), "connect with TLS"),
    RefusalRow("low-level", REFUSED, r"this cluster is at level ([0-9]+) until ",
               "a member has to be upgraded first; the fact is the level of the cluster"),
    RefusalRow("low-level", REFUSED, r"it takes level [0-9]+ of the cluster\.",
               "a member has to be upgraded first"),
    RefusalRow("not-understood", REFUSED, _begins(NOT_UNDERSTOOD),
               "this build has no such command"),
    RefusalRow("too-long", REFUSED, r"(?:the (?:key|prefix|value) has|this line is longer than) ",
               "a key, a value or a line is over its limit"),
    RefusalRow("no-room", REFUSED, r"no room: ",
               "the cluster holds as much as it may, or its leader's disk is nearly full; only"
               " requests that free space are taken"),
    RefusalRow("lease-over", REFUSED,
               r"operation ([0-9]+), .*, can't be done: no such lease: (\S+)\. Nothing was done\.",
               "a transaction changed nothing; the facts are the operation's number and the lease"),
    RefusalRow("transaction", REFUSED, r"operation ([0-9]+), .*, can't be done: ",
               "a transaction changed nothing; the fact is the number of the operation"),
    RefusalRow("transaction", REFUSED,
               r"the first ([0-9]+) operations (?:answer|read and rewrite) more than ",
               "a transaction changed nothing; the fact is how many operations were too many"),
    RefusalRow("too-long", REFUSED, r".* would have [0-9]+ bytes(?: as JSON)?; the limit is ",
               "the result would be over its limit"),
    RefusalRow("wrong-kind", REFUSED, r".* holds no [a-z]+ but something else",
               "the key holds a value of another kind"),
    RefusalRow("no-number", REFUSED, r"the value of .* is no whole number, ",
               "the key holds no number to add to"),
    RefusalRow("out-of-range", REFUSED, r"the value of .* would go beyond 2\^63-1; ",
               "the sum would be too large"),
    RefusalRow("events-gone", REFUSED, r"events up to ([0-9]+) are gone" + _WATCH_ANEW,
               "the watch begins again with the keys; the fact is the last entry without events"),
    RefusalRow("events-gone", REFUSED, r"entry ([0-9]+) is not in the log any more" + _WATCH_ANEW,
               "the watch begins again with the keys: the cluster went back to an earlier state"),
    RefusalRow("not-yet", REFUSED, r"there is no entry ([0-9]+) yet; the last one is ([0-9]+)\.",
               "a watch after an entry that does not exist; the facts are it and the last entry"),
    RefusalRow("watch-ended", REFUSED,
               r"this (?:watch|server) .*(?:\. Go on|, before all keys were sent\. Begin) with: ",
               "this node ended the watch; resume elsewhere with the command after the colon"),
    RefusalRow("speaks-elsewhere", REFUSED,
               r"[\w.-]+ speaks on another connection; nobody else does for it\Z",
               "a member's message on a second connection; retry after the first has ended"),
    RefusalRow("not-taken-over", REFUSED, r"\S+ did not take over: (\S+) leads term ([0-9]+)\.\Z",
               "a transfer failed; the facts are the leader and its term"),
    RefusalRow("not-taken-over", REFUSED,
               r"(?:a transfer to \S+ is under way|no follower can take over"
               r"|\S+ (?:leads already|does not lead|is not a member of this cluster"
               r"|is a learner without a vote|is about to leave the cluster"
               r"|can't be reached at the moment|.* and catches up without a vote))\.\Z",
               "a transfer was refused"),
    RefusalRow("not-changed", REFUSED,
               r".*(?:\. Nothing was changed|is removed before it has caught up)\.\Z",
               "the members did not change; the sentence has the reason"),
    RefusalRow("no-backup", REFUSED,
               _begins("the backup can't be written to ", "the disk has no room for a backup "),
               "the node could not write the copy to its disk"),
    RefusalRow(TOO_MANY, ELSEWHERE,
               r"this server serves at most [0-9]+ (?:watches|observers)(?: of one user)?\. ",
               "ask another node"),
    RefusalRow("no-machine", REFUSED, r"this node has no state machine ",
               "the leader's program registers no state machine of this name"),
    RefusalRow("rejected", REFUSED,
               rf"(?!(?:{'|'.join(map(re.escape, OPERANDS))}): )\S+: .*\. Nothing was done\.\Z",
               "a state machine of the program refused the command; its reason follows its name"),
)  # fmt: skip
CODES_ID: Final = "0"  # of the line with which our clients request codes
BAD_REQUEST: Final = "bad-request"  # for all other sentences, which name the mistake
_OUTCOMES: Final = {row.code: row.outcome for row in reversed(REFUSALS)}
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_CODED = re.compile(r"Sorry \[([a-z-]+)((?: \S+?)*)\] (.*)\Z", re.ASCII | re.DOTALL)


class Refusal(NamedTuple):
    """A refusal in the form for programs."""

    code: str
    facts: tuple[str, ...]
    text: str  # the sentence for people
    outcome: RequestOutcome


def refusal_in(reply: str) -> Refusal | None:
    """Return the refusal in the text of a reply, with or without a code; None for other replies."""
    if reply.startswith(SORRY):
        return _by_sentence(reply.removeprefix(SORRY))
    match = _CODED.match(reply) if reply.startswith("Sorry [") else None
    if match is None:
        return None
    code, facts, text = match.groups()
    return Refusal(code, tuple(facts.split()), text, _OUTCOMES.get(code, REFUSED))


def leader_named_in(reply: str) -> tuple[str, str, int] | None:
    """Return (name, host, port) if a reply redirects a client to the leader; otherwise None."""
    refusal = refusal_in(reply)
    return None if refusal is None else leader_in(refusal)


def leader_in(refusal: Refusal) -> tuple[str, str, int] | None:
    """Return the leader's (name, host, port) if a refusal names it; otherwise None."""
    if refusal.code != "not-leader" or len(refusal.facts) != 2:
        return None
    name, address = refusal.facts
    host, _, port = address.rpartition(":")
    if not _PORT.fullmatch(port):
        return None
    return name, host.removeprefix("[").removesuffix("]"), int(port)


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], RefusalRow]]:
    """Return the patterns, compiled on first use. A sentence is matched from its beginning."""
    return [(re.compile(row.form, re.ASCII | re.DOTALL), row) for row in REFUSALS]


def _by_sentence(text: str) -> Refusal:
    for pattern, row in _patterns():
        if match := pattern.match(text):
            return Refusal(row.code, match.groups(), text, row.outcome)
    return Refusal(BAD_REQUEST, (), text, REFUSED)


def with_code(reply: str) -> str:
    """Return a reply in the form for a connection that requested codes."""
    refusal = refusal_in(reply)
    if refusal is None:
        return reply
    return f"Sorry [{' '.join((refusal.code, *refusal.facts))}] {refusal.text}"


def coded_line(name: str, request_id: str, text: str) -> str:
    """Return the line of a reply, like `reply_line`, with a code if it is a refusal."""
    return reply_line(name, request_id, with_code(text))


def codes_line(sender: str) -> bytes:
    """Return the line with which a client requests codes, before its first request. The client does
    not wait for the answer: an earlier build refuses the line, and the client then reads
    sentences."""
    return f"{sender}#{CODES_ID}@codes".encode()


def answers_codes(line: bytes) -> bool:
    """Whether the first line of a connection answers `codes_line`. If not, the node sent another
    line first, for example a refusal because it is full."""
    before, _, text = line.partition(b"@")
    if before.endswith(f"#{CODES_ID}".encode()):
        return True
    refusal = refusal_in(text.decode("utf-8", "surrogateescape").rstrip("\r"))
    return refusal is not None and refusal.code == "not-understood"  # a node that reads no ids


def code_of(reply: str) -> str:
    """Return the code of a refusal, "" for any other reply."""
    refusal = refusal_in(reply)
    return "" if refusal is None else refusal.code


def for_people(reply: str) -> str:
    """Return the text of a reply for people, without a code."""
    refusal = refusal_in(reply)
    return reply if refusal is None else f"{SORRY}{refusal.text}"


def sentence_of(reply: str) -> str:
    """Return the sentence of a reply for people, without `Sorry, ` and without a code."""
    refusal = refusal_in(reply)
    return reply if refusal is None else refusal.text
