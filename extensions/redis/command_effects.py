"""The effect of an entry with commands of Redis: all of them in order, or none. Deterministic and
total; no clock.

A command that fails changes nothing, and leaves the others alone, as in Redis. A key keeps the
lease that it is under; a time that a command sets is a lease of its own, as that of a `setex`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from raftline.common.process.wakeup import PauseFunction, give_way
from raftline.state.commands.key_commands import TRIALS, Trial, applies
from raftline.state.commands.lease_commands import ms_of
from raftline.state.commands.transaction_commands import holds
from raftline.state.lease_table import own_lease
from raftline.state.store import Store
from raftline.wire.commands.rights import UserRole
from raftline.wire.done_reply import NOT_DONE, with_word
from raftline.wire.key_stat import TYPED, value_and_lease
from raftline.wire.limits import REQUEST_WORK_BYTES, VALUE_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, escape, is_number
from raftline.wire.refusal import RequestRefused

from .resp.entry import RESPONSE, VERB, RedisEntry, counted_answer, lacks_times, read_entry
from .resp.functions import FUNCTIONS
from .resp.request_ledger import OverLedgerError, RequestLedger
from .resp.scripts import BY_TEXT, FREEING_CALLS, NAMES, is_quick, key_of
from .resp.types.rows import LONG
from .resp.types.typed import PART
from .resp.view import HeldKey, View, held_of

_PER_KEY: Final = 13  # characters of a value that take as long as a key (state/work.py)
_FEW_WORDS: Final = 20  # of an entry: more may be of one command
_PER_PLACE: Final = 16 << 10  # the part of TRIED_BYTES that a long value takes
_SCRIPTS: Final = frozenset([*NAMES, *FREEING_CALLS])
_MADE: Final = 32  # characters of each command's own: the number of an element of a stream
_DRAWING: Final = frozenset(["HRANDFIELD", "SRANDMEMBER", "ZRANDMEMBER"])
# Of a value, these read as many copies as they have words.
_READ_OFTEN: Final = frozenset(["SDIFF", "SDIFFSTORE", "ZDIFF", "ZDIFFSTORE"])
_GROWING: Final = frozenset([  # these make long values of few words
    *_SCRIPTS, "SETRANGE", "COPY", "RENAME", "RENAMENX", "LMOVE", "RPOPLPUSH", "SMOVE", "BLMOVE",
    "BRPOPLPUSH", *[name for name in FUNCTIONS if name.endswith("STORE")],
])  # fmt: skip
_REPLACED: Final = frozenset(  # their values do not grow by what is set
    ["SET", "SETEX", "PSETEX", "MSET", "INCR", "DECR", "INCRBY", "DECRBY"]
)
TRIED_BYTES: Final = VALUE_BYTES // 4  # of an estimate: entries above it are tried out first
_LONG: Final = 64 << 10  # bytes of values, between two pauses
_MANY: Final = 500  # commands or keys, likewise
_CHANGES_MAX: Final = Limits().line_bytes


def _measure(store: Store, command: str) -> int:
    """Return how many keys take as long as this entry. Each command may copy the longest value
    that is named or made: a short `SETRANGE` makes a long one. One with a type is not written
    again, which takes most of that time, unless a command looks at each of its elements."""
    words = command.split(" ")
    part = PART if len(words) <= _FEW_WORDS and LONG.isdisjoint(words) else 1
    longest = named = 0
    for text in filter(None, map(store.held.get, words)):
        size = len(text) // (part if text.startswith(TYPED) else 1)
        longest, named = max(longest, size), named + size
    copied, copies = len(command), 1 + words.count(";")
    if not ("SETRANGE" in words or not _SCRIPTS.isdisjoint(words)):
        return (copied + max(named, longest * copies)) // _PER_KEY
    for place, word in enumerate(words[:-2]):
        if word == "SETRANGE" and is_number(words[place + 2]):
            longest = max(longest, min(int(words[place + 2]), VALUE_BYTES))
        elif word in _SCRIPTS and not _is_quick(store, word, words[place + 1]):
            longest = VALUE_BYTES
        elif word in _SCRIPTS and is_number(words[place + 2]):
            # It may set each key to an argument, and each key may be a long value.
            count = min(int(words[place + 2]), len(words))
            copied += (1 + count) * max(map(len, words))
            copies += 2 * (1 + count)
    return (copied + longest * copies) // _PER_KEY


def _is_quick(store: Store, name: str, word: str) -> bool:
    """Whether a script calls each of its commands once at most, and little else."""
    text = None if name in BY_TEXT else store.get(escape(key_of(word), key=True))
    return name not in BY_TEXT and (text is None or is_quick(text))


def _made_by_script(store: Store, words: list[str]) -> int:
    """Return how many bytes a call of a script makes, whose keys it may compute: as many as a long
    value without loops for each place of an argument in its text, and any number with loops."""
    if words[0] in BY_TEXT:
        text: str | None = escape(words[1], key=False)
    else:
        text = store.get(escape(key_of(words[1]), key=True))
    if text is None:
        return 0
    places = text.count(",") + text.count("(") + len(words) * text.count("unpack")
    return _PER_PLACE * places if is_quick(text) else VALUE_BYTES


def estimate(store: Store, command: str, grown: int = 0) -> int:
    """Return about how many bytes of values the commands of an entry look at and make, at least
    the part of TRIED_BYTES that their work, or their replies, are of an entry's bound; 0 if the
    entry has a mistake. A script with loops may do anything, and so may one with many words.

    A value is as long as all that was put into it, and each may have `grown` by so many characters.
    Beyond TRIED_BYTES it is not counted on.
    """
    try:
        entry = read_entry(command.partition(" ")[2])
    except (ProtocolError, RequestRefused):
        return 0
    escaped = 8 if "\\" in command else 2  # characters of a value, for one of a word
    sizes, weight = dict[str, int](), 0
    for words in entry.commands:
        keys = _keys_in(words)
        for key in keys:
            if key not in sizes:
                sizes[key] = len(store.held.get(escape(key, key=True), "")) + grown
        read = sum([sizes[key] for key in keys])
        made = _MADE + escaped * sum(map(len, words)) + _made_by_number(words, read)
        if words[0] in _SCRIPTS:
            made += _made_by_script(store, words)
        weight += made + read * (len(words) if words[0] in _READ_OFTEN else 1)
        if weight > TRIED_BYTES:
            break
        for key in () if FUNCTIONS[words[0]].is_read else keys:
            before = read if len(keys) > 1 else sizes[key]
            is_new = words[0] in _REPLACED
            sizes[key] = max(before, made) if is_new else min(VALUE_BYTES, before + made)
    return weight


def _made_by_number(words: list[str], read: int) -> int:
    """Return how many bytes a command makes because a number in it says so."""
    name, *operands = words
    number = operands[1] if len(operands) > 1 else ""
    if name == "SETRANGE" and is_number(number):
        return min(int(number), VALUE_BYTES)
    if name in _DRAWING and number[:1] == "-" and is_number(number[1:]):
        return min(int(number[1:]), REQUEST_WORK_BYTES) * (_MADE + read)
    return 0


@applies(VERB, measure=_measure)
def _redis(store: Store, operands: str) -> str | None:
    """Execute `redis NOW [LEASE=MS ...] [if CONDITION ; ... then] COMMAND ; ...`."""
    try:
        entry = read_entry(operands)
        if not all([holds(store, condition) for condition in entry.conditions]):
            return with_word(VERB.upper(), NOT_DONE, "a watched key has changed")
        view, answers = _carried_out(store, entry, store.held.get, store.pause, store.user)
        if view.lacking:
            return with_word(VERB.upper(), NOT_DONE, lacks_times(view.lacking))
        changes = list(view.changes())
    except (ProtocolError, RequestRefused) as problem:
        return problem.refusal
    for place, (key, now) in enumerate(changes, start=1):
        if place % _MANY == 0:
            store.pause()
        _change(store, escape(key, key=True), now)
    for channel, message in view.messages:
        store.tell(escape(channel, key=True), escape(message, key=False))
    return f"{RESPONSE}: [{', '.join(answers)}]"


def _growth(command: str) -> int:
    """Return by how many characters an entry makes values longer that it does not have."""
    return VALUE_BYTES if not _GROWING.isdisjoint(command.split(" ")) else 7 * len(command)


def _why_refused(
    store: Store, lock: AbstractContextManager[object], operands: str, user: str
) -> str:
    """Return why these commands are too much for one entry by the present keys, or ""."""
    try:
        entry = read_entry(operands)
        keys = {escape(key, key=True) for words in entry.commands for key in _keys_in(words)}
        with lock:
            if not all([holds(store, condition, ahead=1) for condition in entry.conditions]):
                return ""
            texts = _Texts(store, lock, {key: store.held.get(key) for key in keys})
        view, _ = _carried_out(store, entry, texts.get, give_way, user)
        list(view.changes())
    except OverLedgerError as problem:
        return problem.refusal
    except (ProtocolError, RequestRefused):
        pass
    return ""


class _Texts:
    """The keys of a moment. Those that a script computes are read when it names them."""

    def __init__(
        self, store: Store, lock: AbstractContextManager[object], texts: dict[str, str | None]
    ) -> None:
        self._store, self._lock, self._texts = store, lock, texts

    def get(self, key: str) -> str | None:
        if key not in self._texts:
            with self._lock:
                self._texts[key] = self._store.held.get(key)
        return self._texts[key]


def _may_be_too_much(store: Store, command: str, grown: int) -> bool:
    return estimate(store, command, grown) > TRIED_BYTES


TRIALS[VERB] = Trial(_may_be_too_much, _why_refused, _growth)


def _keys_in(words: list[str]) -> list[str]:
    return FUNCTIONS[words[0]].keys_in(words)


def _carried_out(
    store: Store,
    entry: RedisEntry,
    text_of: Callable[[str], str | None],
    pause: PauseFunction,
    user: str,
) -> tuple[View, list[str]]:
    """Return the keys after the commands, and the replies. `text_of` returns a key before them.

    Raises:
        OverLedgerError: they take too many bytes.
    """

    def held(key: str) -> HeldKey:
        if next(reads) % _MANY == 0:
            pause()
        text = text_of(escape(key, key=True))
        return HeldKey() if text is None else held_of(*value_and_lease(text))

    def ms_left(lease: str) -> int:
        whole = ms_of(store, lease)  # of a lease that began after the times were read
        return max(1, min(entry.left_ms.get(lease, whole), whole))

    def seed() -> str:  # each node has both from the leader
        return f"{entry.now_ms} {store.number}"

    ledger, reads = RequestLedger(_CHANGES_MAX), itertools.count(1)
    view, answers, looked = View(held, ms_left, entry.now_ms, ledger, seed), list[str](), 0
    view.may, view.pause = _may_of(store, user), pause
    view.knows_time = entry.left_ms.__contains__
    for words in entry.commands:
        value = view.attempt(FUNCTIONS[words[0]].decide, words)
        answers.append(counted_answer(value, ledger))
        if ledger.worked > looked + _LONG or len(answers) % _MANY == 0:
            looked = ledger.worked
            pause()
    return view, answers


def _may_of(store: Store, user: str) -> Callable[[str, bool, bool], bool] | None:
    """Return whether the user of the entry may use a key that a script names; None if anybody
    may."""
    if not (user and store.users):
        return None
    identity = store.users.identity(user)

    def may(key: str, reads: bool, writes: bool) -> bool:
        name = escape(key, key=True)
        return all([
            identity.role >= role and name.startswith(identity.prefixes_for(role))
            for role, is_needed in ((UserRole.READER, reads), (UserRole.WRITER, writes))
            if is_needed
        ])  # fmt: skip

    return may


def _change(store: Store, key: str, now: HeldKey) -> None:
    """Make the change of one key."""
    if now.value is None:
        store.pop(key, None)
        return
    lease = now.lease if now.left_ms is None else own_lease(store.number, now.left_ms)
    if now.is_written:
        store.put_under(lease, key, now.formatted)
    else:
        store.bind(key, lease)
    if now.left_ms is not None:
        store.leases.begin(lease)
