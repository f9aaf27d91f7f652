"""The effect of a transaction: one branch of it, all or nothing. Deterministic and total.

It is one entry, so it is one step: no other command comes between its conditions and operations.
The operations act on a draft of the Store. The Store becomes what the draft is if each of them
could be done; if one could not, nothing of the transaction is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from raftline.state.draft import Draft
from raftline.state.pairs import real_text
from raftline.state.store import Pairs, Store
from raftline.wire.commands import IN_TRANSACTIONS
from raftline.wire.operands import Limits
from raftline.wire.protocol import ProtocolError, error, shown
from raftline.wire.transactions import Condition, read_transaction

# Of what the operations answer together; one value fits, whatever its size.
CHARACTERS_MAX = 2 << 20
# A key without the lease that was meant for it would stay when its holder is gone.
NO_SUCH_LEASE = ", no such lease"
_NOTHING = "Nothing was done."
Execute = Callable[[Pairs, str, int], str]


class NotDone(Exception):
    """An operation or a condition that can't be; nothing of the transaction is done."""


def execute_transaction(store: Store, operands: str, execute: Execute) -> str:
    """Carry out a transaction and return its reply; `execute` carries out one operation."""
    try:
        txn = read_transaction(operands, IN_TRANSACTIONS, Limits())
        is_met = all([holds(store, condition) for condition in txn.conditions])
        draft = Draft(store)
        told = _operate(draft.store, txn.then if is_met else txn.otherwise, execute)
    except ProtocolError as mistake:
        return error(str(mistake))
    except NotDone as problem:
        return error(f"{problem}. {_NOTHING}")
    draft.adopt()
    return f"TXN response, {'then' if is_met else 'else'}: {json.dumps(told)}"


def holds(store: Store, condition: Condition) -> bool:
    """Return whether a condition holds.

    Raises:
        NotDone: it names an entry that is not there yet.
    """
    key, test, value, since = condition
    if test == "unchanged":
        if since >= store.number:
            raise NotDone(f"{shown(key)} unchanged since {since}: no entry has that index yet")
        facts = store.facts(key)
        return facts is not None and facts.changed <= since
    found = store.get(key)
    if test in ("absent", "exists"):
        return (found is None) == (test == "absent")
    return (found == value) == (test == "=")


def _operate(store: Store, commands: Sequence[str], execute: Execute) -> list[str | None]:
    """Return what each operation answered: the text behind `response`, as it is; None for the
    value of a key that is absent.

    Raises:
        NotDone: one of them can't be done, or they answer too much.
    """
    told: list[str | None] = []
    characters = 0
    for place, command in enumerate(commands, start=1):
        reply = execute(store, command, store.number)
        answer = reply.partition(" response")[2]
        is_error = reply.startswith(error(""))
        if is_error or answer.startswith(NO_SUCH_LEASE):
            why = reply.removeprefix(error("")) if is_error else answer.removeprefix(", ")
            why = why.removesuffix(_NOTHING).rstrip(" .")
            raise NotDone(f"operation {place}, {shown(command)}, can't be done: {why}")
        is_absent = answer.startswith(", ") and command.startswith("get ")
        told.append(None if is_absent else real_text(answer[2:]))
        characters += len(answer)
        if characters > CHARACTERS_MAX:
            raise NotDone(
                f"the first {place} operations answer more than {CHARACTERS_MAX} characters; "
                "read less in one transaction"
            )
    return told

