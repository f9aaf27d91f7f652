"""The row of the command `object`, and the parsing of its operands. Pure.

`command_effects.py` applies it.
"""

from __future__ import annotations

from typing import Final

from raftline.wire.commands.command_row import WRITE, Command, ReplyForm, Work
from raftline.wire.commands.rights import UPDATES_KEY
from raftline.wire.operands.operands import Limits, Operands, canonical
from raftline.wire.protocol import ProtocolError, escape, unescape
from raftline.wire.strict_json import format_json

from .object_operations import Unfit, operands_of


def _read_object(verb: str, operands: str, limits: Limits) -> str:
    """Parse `object KEY OPERATION [JSON ...]`, with each JSON value in canonical form."""
    key, _, rest = operands.strip(" ").partition(" ")
    operation, _, text = rest.partition(" ")
    if not key or not operation:
        raise ProtocolError('the form is: object KEY OPERATION [JSON ...]: object s dict.put "a" 1')
    key = canonical("key", key, limits.key_bytes)
    try:
        values = operands_of(operation, unescape(text))
    except Unfit as problem:
        raise ProtocolError(f"{problem}. Nothing was done.") from None
    value = " ".join(map(format_json, values))
    value = canonical("value", escape(value, key=False), limits.value_bytes)
    return f"{verb} {key} {operation} {value}".rstrip(" ")


ROWS: Final = (
    Command("object", Operands("KEY OPERATION [JSON ...]", _read_object),
            "run an operation on an object of programs", WRITE, UPDATES_KEY, ReplyForm.RESULT,
            at_the_shell="run an operation on an object of programs", is_at_floor=True,
            work=Work.BY_VALUE),
)  # fmt: skip
