"""Refusals as values: their codes, the sentences of a node, and how a text is read back. Pure.

A refusal is a reply. People read `Sorry, SENTENCE`; a connection that sent `codes` gets
`Sorry [CODE FACT ...] SENTENCE`. The value is a text that also has the code and the facts, so it
passes through batches, sessions and lists of replies like any other reply. It is made where
something is refused, from a sentence of this module; other sentences name a mistake and have the
code `bad-request`.

A reply that a session kept, or that came from a node without codes, is only a text. The same
sentences, as patterns, give it its code (replies/refusals.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from typing import Final

SORRY: Final = "Sorry, "
CODED: Final = "Sorry ["  # on a connection that sent `codes`
OUTCOME_UNKNOWN: Final = "Sorry, outcome unknown: "  # the beginning of that reply
BAD_REQUEST: Final = "bad-request"  # of each sentence without a row, which names the mistake
TOO_MUCH: Final = "too-much"  # the code of a transaction that is too much for one entry
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
# Every other code, and a code of a later build, means that nothing was done.
_OUTCOMES: Final = {
    **dict.fromkeys(
        "not-leader no-leader stopping diverged removed down identity-unknown build-unknown "
        f"no-quorum full users-unknown other-cluster {TOO_MANY}".split(),
        ELSEWHERE,
    ),
    **dict.fromkeys(("done-once", "outcome-unknown"), RequestOutcome.UNKNOWN),
}


class Refusal(str):
    """A reply that refuses a request: `Sorry, SENTENCE`, with its code and facts."""

    __slots__ = ("code", "facts")

    code: str
    facts: tuple[str, ...]

    def __new__(cls, code: str, sentence: str, *facts: str) -> Refusal:
        self = super().__new__(cls, SORRY + sentence)
        self.code, self.facts = code, facts
        return self

    @property
    def sentence(self) -> str:
        """The text for people, without `Sorry, `."""
        return self[len(SORRY) :]

    @property
    def coded(self) -> str:
        """The reply on a connection that asked for codes."""
        return f"{CODED}{' '.join((self.code, *self.facts))}] {self.sentence}"

    @property
    def outcome(self) -> RequestOutcome:
        return _OUTCOMES.get(self.code, RequestOutcome.REFUSED)


REFUSALS: Final = (SORRY, CODED)  # what a reply begins with that refuses its request


def is_refusal(reply: str) -> bool:
    """Whether a reply refuses its request, with or without a code."""
    return reply.startswith(REFUSALS)


class RequestRefused(Exception):
    """A request was refused; nothing was changed."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.sentence)


# The fields of a sentence, as patterns. One in capitals is a fact.
_FIELD = re.compile(r"\{(\w+)(?::(\w))?\}")
_PATTERNS = {"n": "[0-9]+", "w": "[a-z]+", "s": r"\S+", None: ".*"}
READ: Final[list[tuple[str, re.Pattern[str]]]] = []  # code and pattern; the first that fits counts


class Sentence:
    """The sentences of one kind. Call it with the fields, in their order.

    A text is recognized by its beginning, up to `|`. `:n`, `:w` and `:s` after a field say that it
    is a number, a word in small letters, or without spaces.
    """

    def __init__(self, code: str, form: str, read_as: str | None = None) -> None:
        """Define a kind. `read_as` is a pattern in place of that of the form, "" for none."""
        self.code = code
        self.fields = [name for name, _ in _FIELD.findall(form)]
        self._form = _FIELD.sub(r"{\1}", form.replace("|", ""))
        if read_as is None:
            read_as = _pattern_of(form.partition("|")[0])
        if read_as:
            _read(code, read_as)

    def __call__(self, *values: object) -> Refusal:
        fields = dict(zip(self.fields, map(str, values), strict=True))
        facts = [text for name, text in fields.items() if name.isupper()]
        return Refusal(self.code, self._form.format_map(fields), *facts)


def _pattern_of(form: str) -> str:
    pattern, end = "", 0
    for field in _FIELD.finditer(form):
        pattern += re.escape(form[end : field.start()])
        pattern += r"(\S+)" if field[1].isupper() else _PATTERNS[field[2]]
        end = field.end()
    return pattern + re.escape(form[end:])


def _read(code: str, pattern: str) -> None:
    READ.append((code, re.compile(pattern, re.ASCII | re.DOTALL)))


def not_leader(name: str, host: str, port: int) -> Refusal:
    """Return the reply that redirects a client to the leader; nothing was done."""
    shown_host = f"[{host}]" if ":" in host else host
    return NOT_LEADER_AT(name, f"{shown_host}:{port}")


def outcome_unknown(reason: str) -> Refusal:
    """Return the reply to a write that may or may not still take effect."""
    return UNKNOWN_OUTCOME(reason)


def no_leader(because: str, voters: Sequence[str]) -> Refusal:
    """Return the refusal of a node without a known leader. `because` is "" if the reason is
    unknown; the facts are the first and the last of the voters without a vote."""
    if not because:
        return NO_LEADER
    return Refusal("no-leader", f"{_NO_LEADER} {because}", *voters[:1], *voters[1:][-1:])


def error(sentence: str) -> Refusal:
    """Return the refusal of a mistake, which the sentence names; a refusal stays as it is."""
    return sentence if isinstance(sentence, Refusal) else Refusal(BAD_REQUEST, sentence)


def reply_of(text: str) -> Refusal:
    """Return the refusal with this sentence, whose code is that of the first row that fits."""
    for code, pattern in READ:
        if match := pattern.match(text):
            return Refusal(code, text, *match.groups())
    return Refusal(BAD_REQUEST, text)


# --- the sentences, in the order in which a text is compared with them ----------------------------

_full = partial(Sentence, "full")
_too_long = partial(Sentence, "too-long")
_no_room = partial(Sentence, "no-room")
_transaction = partial(Sentence, "transaction")
_too_much = partial(Sentence, TOO_MUCH)
_too_many = partial(Sentence, TOO_MANY)
NOT_LEADER_AT = Sentence(
    "not-leader", "I am not the leader. Last leader I heard from is: {NAME} ({ADDRESS})"
)
NOT_LEADER = Sentence("not-leader", "I am not the leader.")()
# The core explains a silence by a text (raft/newborn.py): no_leader.
_NO_LEADER = "I know of no leader. Try again."
_read("no-leader", re.escape(_NO_LEADER) + r" (\S+) has no vote, since it ")
_read("no-leader", re.escape(_NO_LEADER) + r" (\S+?)(?:,| and) (?:.* and )?(\S+) have no vote, ")
_NEWBORN = re.escape(_NO_LEADER) + r" \S+ has no files, and waits until it hears that "
_read("no-leader", _NEWBORN + r"(\S+) has none ")
_read("no-leader", _NEWBORN + r"(\S+?)(?:,| and) (?:.* and )?(\S+) have none ")
_read("no-leader", re.escape(_NO_LEADER) + r" (\S+) has no files, and its configuration names ")
NO_LEADER = Sentence("no-leader", _NO_LEADER)()
NO_QUORUM = Sentence(
    "no-quorum",
    "{leader:s} leads, but no quorum confirms its entries. |Nothing was done; try again. See: "
    "status",
)
STOPPING = Sentence("stopping", "this server is stopping. Nothing was done; try another.")()
HALF_APPLIED = Sentence(
    "stopping", "an entry failed on this server, which stops.| Nothing was done; try another."
)()
DIVERGED = Sentence(
    "diverged",
    "the state of this server differs from that of the others. Nothing was read; try another.",
)()
REMOVED = Sentence(
    "removed", "this server was removed from the cluster. Nothing was done; try another."
)()
OTHER_CLUSTER = Sentence(
    "other-cluster",
    "this server is part of cluster {CLUSTER}, |and this connection is for cluster {expected}. "
    "Nothing was done; ask another, or connect again if the cluster was replaced.",
)
SHUT_DOWN = Sentence("down", "this server was shut down by its controller; ask another")()
NO_IDENTITY = Sentence(
    "identity-unknown", "this server does not know the identity of its cluster yet. Try again."
)()
FULL = _full("too many connections; the last places are for peers. Try later.")()
TOO_MANY_LOGINS = _full("too many logins at a time. Nothing was done; try again.")()
NO_USERS_YET = Sentence("users-unknown", "this server does not know the users yet. Try again.")()
TOO_MUCH_WAITS = _full("too many requests wait here. Nothing was done; try again.")()
NOT_REACHED = _full(
    "this server did not get to this request in time. Nothing was done; try again."
)()
TOO_MANY_BACKUPS = _full("too many backups at a time.| Nothing was done; try again.")()
NOT_LISTED = _full(
    "the keys of this watch can't be listed: |a look at them failed. Nothing was done; try another."
)()
NOT_WRITTEN = _full(
    "the keys of this watch can't be written to |{folder}: {why}. Nothing was done; try another."
)
# The answer to a retry. No node knows more about it, so the client does not ask again.
DONE_ONCE = Sentence(
    "done-once", "outcome unknown: it was executed once, but its reply is no longer kept"
)()
UNKNOWN_OUTCOME = Sentence("outcome-unknown", "outcome unknown: {reason}")
SESSION_FORGOTTEN = Sentence(
    "session-expired",
    "session expired: |nothing is known of {name} any more, so this request may be a retry; it was "
    "not executed. Begin a session with NAME@session",
)
SESSION_PAST = Sentence(
    "session-expired",
    "session expired: |request {number} of {name} is earlier than those that are remembered, so it "
    "may be a retry; it was not executed",
)
NO_SESSION = Sentence(
    "no-session", "{name:s} is not a session that NAME@session began|. Nothing was done."
)
INVENTED_NAME = Sentence(
    "no-session",
    "{name:s} is not a session that NAME@session began|, and a node with users takes the numbers "
    "of no other. Nothing was done.",
)
NO_LOGIN = Sentence("no-login", "a client without a login may not |{what}. Nothing was done.")
NOT_ALLOWED = Sentence("not-allowed", "{user:s} may not |{what}. Nothing was done.")
FIRST_USER = Sentence(
    "first-user",
    "the first user needs the role admin and a password|, so that somebody can log in. Nothing was "
    "done.",
)()
LAST_ADMIN = Sentence("last-admin", "{name:s} is the last admin|. Nothing was done.")
TOO_MANY_USERS = Sentence("too-many-users", "there may be at most |{limit}. Nothing was done.")
LOGIN_FAILED = Sentence(
    "login-failed", "the login failed: |the name or the password is wrong. Nothing was done."
)()
NOT_PRIVATE = Sentence(
    "not-private",
    "others could read a password here. |Nothing was done; use TLS, or a client that logs in by "
    "{mechanism}: raftline client --user USER",
)
NO_USERS = Sentence("no-users", "this node has no users, |and takes no login. Nothing was done.")()
TLS_ALONE = "this port speaks TLS alone."  # without its advice to a person
TLS_ONLY = Sentence("tls-only", f"{TLS_ALONE}| Try: openssl s_client -quiet -connect HOST:PORT")()
AT_FLOOR = Sentence(
    "at-floor",
    "this cluster is at the floor, |where it serves only what other implementations understand: "
    "{why}. Nothing was done.",
)
UNHEARD_PART = Sentence(
    "build-unknown",
    "{member:s} was not heard yet|, and may lack {part}, which this needs. "
    "Nothing was done; try again.",
)
LACKS_PART = Sentence(
    "lacks-extension",
    "{member} lacks |{part}, so it could not apply this: start it from a build "
    "that has it, or remove it. Nothing was done.",
)
APPLIES_OTHERWISE = Sentence(
    "lacks-extension",
    "{member} applies |{part} otherwise than {leader:s} does: start all members from one build. "
    "Nothing was done.",
)
NOT_UNDERSTOOD = Sentence("not-understood", "I don't understand: |{line}. {advice}")
KEY_TOO_LONG = _too_long("the key has |{size} bytes; the limit is {limit}. Nothing was done.")
PREFIX_TOO_LONG = _too_long("the prefix has |{size} bytes; the limit is {limit}. Nothing was done.")
VALUE_TOO_LONG = _too_long("the value has |{size} bytes; the limit is {limit}. Nothing was done.")
LINE_TOO_LONG = _too_long(
    "this line is longer than |{limit} bytes; nothing of it was done. {limits}"
)
NO_BYTES = _no_room(
    "no room: |keys and leases take {limit} bytes (--max-bytes). Nothing was done; delete or clear "
    "some keys first."
)
NO_DISK = _no_room(
    "no room: |the leader's disk is nearly full. Nothing was done; delete or clear some keys first."
)()
NO_LEASES = _no_room("no room: |there are {count} leases. Nothing was done; release some first.")
SHARE_USED = _no_room(
    "no room: |{who} {held}, and a user may hold {share} times the room that is left, {now} now. "
    "Nothing was done; {remedy} first."
)
LEASE_OVER = Sentence(
    "lease-over",
    "operation {PLACE}, {command}, can't be done: no such lease: {LEASE}. Nothing was done.",
)
NOT_DONE = _transaction("operation {PLACE}, {command}, can't be done: |{why}. Nothing was done.")
ANSWERS_TOO_MUCH = _too_much(
    "the first {PLACE} operations answer more than |{limit}; read less in one transaction. Nothing "
    "was done."
)
REWORKS_TOO_MUCH = _too_much(
    "the first {PLACE} operations read and rewrite more than |{limit} bytes of values; do less in "
    "one transaction. Nothing was done."
)
APPENDED_TOO_LONG = _too_long(
    "the value would have {size:n} bytes; the limit is |{limit}. Nothing was done."
)
JSON_TOO_LONG = _too_long(
    "{what} would have {size:n} bytes as JSON; the limit is |{limit}. Nothing was done."
)
WRONG_KIND = Sentence(
    "wrong-kind", "{key} holds no {kind:w} but something else|. Nothing was done."
)
NO_NUMBER = Sentence(
    "no-number", "the value of {key} is not a whole number, |so nothing was added to it"
)
NUMBER_TOO_LARGE = Sentence(
    "no-number", "the value of {key} is a number beyond 2^63-1, |so nothing was added to it"
)
OUT_OF_RANGE = Sentence(
    "out-of-range", "the value of {key} would go beyond 2^63-1; |nothing was added to it"
)
EVENTS_GONE = Sentence(
    "events-gone", "events up to {ENTRY} are gone; watch {prefix} begins anew with what there is."
)
ENTRY_GONE = Sentence(
    "events-gone",
    "entry {ENTRY} is not in the log any more; watch {prefix} begins anew with what there is.",
)
NOT_YET = Sentence(
    "not-yet",
    "there is no entry {ENTRY} yet; the last one is {LAST}. |Nothing was done; see: {form}",
)
WATCH_ENDED = Sentence("watch-ended", "this {what}. Go on with: |{command}")
WATCH_ENDED_EARLY = Sentence(
    "watch-ended", "this {what}, before all keys were sent. Begin with: |{command}"
)
SPEAKS_ELSEWHERE = Sentence(
    "speaks-elsewhere", "{name:s} speaks on another connection; nobody else does for it"
)
NOT_TAKEN_OVER = Sentence(
    "not-taken-over", "{name:s} did not take over: {LEADER} leads term {TERM}."
)
# These two end a sentence of the core.
NO_TRANSFER = Sentence("not-taken-over", "{why}.", read_as="")
NOT_BEGUN = Sentence(
    "not-begun", "{why}. Nothing has begun.", read_as=r".*\. Nothing has begun\.\Z"
)
NOT_CHANGED = Sentence(
    "not-changed",
    "{why}.",
    read_as=r".*(?:\. Nothing was changed|is removed before it has caught up)\.\Z",
)
BACKUP_FAILED = Sentence(
    "no-backup",
    "the backup can't be written to |{folder}: {why}. Nothing was done, and this server continues. "
    "Check that disk.",
)
NO_ROOM_FOR_BACKUP = Sentence(
    "no-backup",
    "the disk has no room for a backup |besides the log. Nothing was done, and this server "
    "continues. Check the disk of {folder}.",
)
TOO_MANY_OF_USER = _too_many(
    "this server serves at most {limit} watches of one user. |Nothing was done; try another."
)
TOO_MANY_WATCHES = _too_many(
    "this server serves at most {limit} watches. |Nothing was done; try another."
)
TOO_MANY_OBSERVERS = _too_many("this server serves at most {limit} observers. |Nothing was done.")
NO_MACHINE = Sentence(
    "no-machine",
    'this node has no state machine |"{name}". Nothing was done. Start each node from the program '
    "that registers it",
)
# Operands of an object are refused alike, with an operation (`list.append: …`) in front.
REJECTED = Sentence(
    "rejected",
    "{machine}: {why}. Nothing was done.",
    read_as=r"(?!(?:dict|list|set|queue|lock)\.[a-z]+: )\S+: .*\. Nothing was done\.\Z",
)
CODES: Final = tuple(sorted({BAD_REQUEST, *(code for code, _ in READ)}))
