"""The effect of a transaction: one of its branches, all or nothing. Deterministic and total.

A transaction is one entry, so no other command runs between its conditions and operations. If an
operation fails, the Store takes back the changes of those before it, which nobody has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from json.encoder import encode_basestring_ascii
from typing import Final

from ...common.process.wakeup import give_way
from ...wire.commands.command_table import ReplyForm, row_of, transaction_of
from ...wire.commands.transaction_line import Condition
from ...wire.done_reply import ELSE, NO_SUCH_LEASE, THEN, done_reply, is_done, with_word
from ...wire.limits import ANSWER_BYTES, REWORK_BYTES
from ...wire.operands.lease_operands import without_lease
from ...wire.operands.operands import Kind, Limits
from ...wire.protocol import ProtocolError, real, shown
from ...wire.refusal import (
    ANSWERS_TOO_MUCH,
    LEASE_OVER,
    NOT_DONE,
    REWORKS_TOO_MUCH,
    SORRY,
    TOO_MUCH,
    RequestRefused,
    error,
    is_refusal,
)
from ..store import Store
from .key_commands import KEPT_OPEN, TRIALS, OpenValues, Trial, applies, execute, whole_number

# Without its lease, a key would stay after its holder died.
_NOTHING = "Nothing was done."
# An operation counts so many bytes at most for a character of its value: `read` answers with JSON
# in JSON, which has 14 for one beyond the basic plane.
_COUNTED: Final = 14


@applies("txn")
def _txn(store: Store, operands: str) -> str | None:
    try:
        txn = transaction_of(operands, Limits())
        is_met = all([holds(store, condition) for condition in txn.conditions])
    except (ProtocolError, RequestRefused) as problem:
        return problem.refusal
    store.begin()
    try:
        answers = _operate(store, txn.then if is_met else txn.otherwise)
    except (ProtocolError, RequestRefused) as problem:
        store.roll_back()
        return problem.refusal
    store.commit()
    return with_word("TXN", THEN if is_met else ELSE, f"[{', '.join(answers)}]")


def _may_be_too_much(store: Store, command: str, grown: int) -> bool:
    """Whether the operations may rewrite or answer more than one entry may, judged by the lengths
    of the values and of all that is put into them."""
    most = REWORK_BYTES // _COUNTED
    held, words = store.held, command.split(" ")
    longest = max([len(text) for text in map(held.get, words) if text is not None], default=0)
    longest += len(command) + grown
    if longest * (1 + words.count(";")) <= most:  # nearly always
        return False
    try:
        txn = transaction_of(command.partition(" ")[2], Limits())
    except (ProtocolError, RequestRefused):
        return False
    return any([_weight(store, branch, grown) > most for branch in (txn.then, txn.otherwise)])


def _weight(store: Store, operations: Sequence[str], grown: int) -> int:
    """Return the characters of the values that these operations look at and make."""
    sizes, weight = dict[str, int](), 0
    for operation in operations:
        key = _key_of(operation)
        if key not in sizes:
            sizes[key] = len(store.held.get(key, "")) + grown
        sizes[key] += len(operation)
        weight += sizes[key]
    return weight


def _key_of(operation: str) -> str:
    return without_lease(operation).split(" ", 2)[1]


def _why_too_much(
    store: Store, lock: AbstractContextManager[object], operands: str, user: str
) -> str:
    """Return why a transaction is too much for one entry by the present keys, or ""."""
    try:
        txn = transaction_of(operands, Limits())
        sorts = any([condition.is_on_prefix for condition in txn.conditions])
        while sorts:
            with lock:
                sorts = store.sort_some()
            give_way()
        with lock:
            is_met = all([holds(store, condition, ahead=1) for condition in txn.conditions])
            branch = txn.then if is_met else txn.otherwise
            trial = _part_of(store, branch)
        trial.user, trial.pause = user, give_way
        _operate(trial, branch)
    except RequestRefused as problem:
        return problem.refusal if problem.refusal.code == TOO_MUCH else ""
    except ProtocolError:
        pass
    return ""


def _part_of(store: Store, operations: Sequence[str]) -> Store:
    """Return a store with the keys and the leases that operations name."""
    texts = {key: store.held.get(key) for key in map(_key_of, operations)}
    held = {key: text for key, text in texts.items() if text is not None}
    part = Store(held, is_at_floor=False)
    part.number, part.term = store.number + 1, store.term
    for operation in operations:
        lease = operation.split(" ", 2)[1]  # a key, if it names none
        if lease in store.leases.granted:
            part.leases.granted[lease] = store.leases.granted[lease]
    for key in part.held:
        if lease := part.lease_of(key):
            part.leased.setdefault(lease, set()).add(key)
    return part


TRIALS["txn"] = Trial(_may_be_too_much, _why_too_much)


def holds(store: Store, condition: Condition, ahead: int = 0) -> bool:
    """Return whether a condition holds for the entry being applied, or so many entries ahead.

    Raises:
        RequestRefused: it names an entry that does not exist yet.
    """
    key, test, value, since, _ = condition
    if test == "unchanged" or since:
        return _holds_since(store, condition, store.number + ahead)
    if test in ("absent", "exists"):
        return (key in store.held) == (test == "exists")
    if condition.is_on_prefix:
        return store.has_keys_under(key) == (test == "keys")
    current = store.get(key)
    if test in (">", "<"):
        number = None if current is None else whole_number(current)
        return number is not None and (number > int(value) if test == ">" else number < int(value))
    return (current == value) == (test == "=")


def _holds_since(store: Store, condition: Condition, number: int) -> bool:
    """Return whether a key was neither changed nor removed after an entry that came before the one
    with this number.

    Raises:
        RequestRefused: that entry does not exist yet.
    """
    key, test, _, since, lease = condition
    if since >= number:
        why = f"{shown(key)} {test} since {since}: no entry has that index yet"
        raise RequestRefused(error(f"{why}. {_NOTHING}"))
    if test == "absent":
        return key not in store and store.last_removal(key) <= since
    facts = store.facts(key)
    is_unchanged = facts is not None and facts.changed <= since
    return is_unchanged and lease in (None, store.lease_of(key))


def _operate(store: Store, commands: Sequence[str]) -> list[str]:
    """Return the answer of each operation as JSON: the text after `response`, or null for the value
    of an absent key.

    Raises:
        RequestRefused: an operation failed, or the answers are too long.
    """
    answers: list[str] = []
    size, operations = 0, _Operations(store)
    for place, command in enumerate(commands, start=1):
        reply = operations.execute(command)
        if is_refusal(reply):
            why = reply.removeprefix(SORRY).removesuffix(_NOTHING).rstrip(" .")
            raise RequestRefused(NOT_DONE(place, shown(command), why))
        answer = reply.partition(" response")[2]
        is_absent = False
        if not is_done(reply):
            parts = done_reply(reply)
            if parts is not None and parts.word == NO_SUCH_LEASE:
                raise RequestRefused(LEASE_OVER(place, shown(command), parts.rest))
            is_absent = row_of(command).reply is ReplyForm.VALUE
        if store.reworked > REWORK_BYTES:
            raise RequestRefused(REWORKS_TOO_MUCH(place, REWORK_BYTES))
        answer = real(answer[2:]) if "\\" in answer else answer[2:]
        answers.append("null" if is_absent else encode_basestring_ascii(answer))
        size += len(answers[-1]) + len(", ")
        if size > ANSWER_BYTES:
            raise RequestRefused(ANSWERS_TOO_MUCH(place, f"{ANSWER_BYTES} bytes as JSON"))
    operations.end()
    if store.reworked > REWORK_BYTES:
        raise RequestRefused(REWORKS_TOO_MUCH(len(commands), REWORK_BYTES))
    return answers


class _Operations:
    """Executes the operations of a transaction in order, and keeps values open between them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept = [(f"{verb} ", keep(store)) for verb, keep in KEPT_OPEN.items()]

    def execute(self, command: str) -> str:
        """Execute an operation and return its reply, after closing the value of another verb under
        its key; a command on a prefix needs all of them closed.

        Raises:
            RequestRefused: a closed value does not fit.
        """
        own: OpenValues | None = None
        for verb, values in self._kept:
            if command.startswith(verb):
                own = values
            elif values.are_open and Kind.PREFIX in row_of(command).operands.kinds:
                values.close_all()
            elif values.are_open:
                values.close(without_lease(command).partition(" ")[2].partition(" ")[0])
        if own is None:
            return execute(self._store, command)
        return own.execute(command.partition(" ")[2])

    def end(self) -> None:
        """Close all values. Raises RequestRefused: one does not fit."""
        for _, values in self._kept:
            values.close_all()
