"""The effect of an entry with commands of Redis: all of them in order, or none. Deterministic and
total; no clock.

A command that fails changes nothing, and leaves the others alone, as in Redis. A key keeps the
lease that it is under; a time that a command sets is a lease of its own, as that of a `setex`.
"""

from __future__ import annotations

import itertools
from typing import Final

from raftline.state.commands.key_commands import applies
from raftline.state.commands.lease_commands import ms_of
from raftline.state.commands.transaction_commands import holds
from raftline.state.lease_table import own_lease
from raftline.state.store import Store
from raftline.wire.done_reply import NOT_DONE, with_word
from raftline.wire.key_stat import TYPED, value_and_lease
from raftline.wire.limits import VALUE_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, escape, is_number
from raftline.wire.refusal import RequestRefused

from .resp.entry import RESPONSE, VERB, RedisEntry, counted_answer, read_entry
from .resp.functions import FUNCTIONS
from .resp.known_scripts.scripts import CALL, SCRIPTS
from .resp.request_ledger import RequestLedger
from .resp.types.rows import LONG
from .resp.types.typed import PART
from .resp.view import HeldKey, View, held_of

_PER_KEY: Final = 13  # characters of a value that take as long as a key (state/work.py)
_FEW_WORDS: Final = 20  # of an entry: more may be of one command
_FEW_DIGITS: Final = 3  # of the number of elements that a script adds
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
    if not ("SETRANGE" in words or CALL in words):
        return (copied + max(named, longest * copies)) // _PER_KEY
    for place, word in enumerate(words[:-2]):
        if word == "SETRANGE" and is_number(words[place + 2]):
            longest = max(longest, min(int(words[place + 2]), VALUE_BYTES))
        elif word == CALL and is_number(words[place + 2]):  # it may set each key to an argument
            count = min(int(words[place + 2]), len(words))
            copied += count * max(map(len, words))
            copies += count
            if _grows(words[place + 1], words[place + 3 + count :]):
                longest = VALUE_BYTES
    return (copied + longest * copies) // _PER_KEY


def _grows(name: str, arguments: list[str]) -> bool:
    """Whether a script may make a long value of a few words."""
    script = SCRIPTS.get(name)
    if script is None or not script.grows:
        return False
    amount = arguments[script.grows - 1] if len(arguments) >= script.grows else ""
    return not is_number(amount) or len(amount) > _FEW_DIGITS


@applies(VERB, measure=_measure)
def _redis(store: Store, operands: str) -> str | None:
    """Execute `redis NOW [LEASE=MS ...] [if CONDITION ; ... then] COMMAND ; ...`."""
    try:
        entry = read_entry(operands)
        if not all([holds(store, condition) for condition in entry.conditions]):
            return with_word(VERB.upper(), NOT_DONE, "a watched key has changed")
        view, answers = _carried_out(store, entry)
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


def _carried_out(store: Store, entry: RedisEntry) -> tuple[View, list[str]]:
    """Return the keys after the commands, and the replies.

    Raises:
        OverLedgerError: they take too many bytes.
    """

    def held(key: str) -> HeldKey:
        if next(reads) % _MANY == 0:
            store.pause()
        text = store.held.get(escape(key, key=True))
        return HeldKey() if text is None else held_of(*value_and_lease(text))

    def ms_left(lease: str) -> int:
        whole = ms_of(store, lease)  # of a lease that began after the times were read
        return max(1, min(entry.left_ms.get(lease, whole), whole))

    def seed() -> str:  # each node has both from the leader
        return f"{entry.now_ms} {store.number}"

    ledger, reads = RequestLedger(_CHANGES_MAX), itertools.count(1)
    view, answers, looked = View(held, ms_left, entry.now_ms, ledger, seed), list[str](), 0
    for words in entry.commands:
        value = view.attempt(FUNCTIONS[words[0]].decide, words)
        answers.append(counted_answer(value, ledger))
        if ledger.worked > looked + _LONG or len(answers) % _MANY == 0:
            looked = ledger.worked
            store.pause()
    return view, answers


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
