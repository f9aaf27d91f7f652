"""`object KEY OPERATION [JSON …]`: an operation on the JSON value under a key.

docs/use/objects.md is the user's view. Every node applies these alike: no type has to be known to
it, and nothing here can raise.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from raftline.state.objectkinds import EMPTY, OPERATIONS, NotDone
from raftline.wire.escapes import ProtocolError, escape, unescape
from raftline.wire.objectcommands import Unfit, fits, operands_of
from raftline.wire.protocol import Limits, error, shown
from raftline.wire.strictjson import Json, NotJsonError, read_json, spell_json


def execute_object(pairs: MutableMapping[str, str], operands: str, number: int) -> str:
    """Carry out one operation and return its reply; `number` is its entry's (entry_numbers.py)."""
    key, _, rest = operands.partition(" ")
    name, _, text = rest.partition(" ")
    operation = OPERATIONS.get(name)
    if not key or operation is None:
        return error(f"there is no operation {shown(name)} on an object. Nothing was done.")
    try:
        given = operands_of(name, unescape(text))
        value = _held(pairs, key, operation.kind)
        entry_number = (number,) if operation.stamped else ()
        result = operation.act(*entry_number, value, *given)
    except NotDone as condition:
        return f"OBJECT response, not done: {condition}"
    except (Unfit, ProtocolError) as problem:
        return error(f"{problem}. Nothing was done.")
    return _keep(pairs, key, spell_json(value), spell_json(result))


def _held(pairs: MutableMapping[str, str], key: str, kind: str) -> Json:
    """Return the object under a key, an empty one where there is nothing.

    Raises:
        Unfit: something else is there.
    """
    try:
        value = read_json(unescape(pairs.get(key, EMPTY[kind])))
        if fits(kind, value):
            return value
    except (NotJsonError, ProtocolError):
        pass
    raise Unfit(f"{shown(key)} holds no {kind} but something else")


def _keep(pairs: MutableMapping[str, str], key: str, text: str, result: str) -> str:
    size, limit = len(text.encode("utf-8")), Limits().value_bytes
    if size > limit:
        return error(
            f"{shown(key)} would have {size} bytes as JSON; the limit is {limit}. Nothing was done."
        )
    pairs[key] = escape(text, key=False)
    return f"OBJECT response: {escape(result, key=False)}"
