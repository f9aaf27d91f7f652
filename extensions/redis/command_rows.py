"""The row of the command `redis`: commands of Redis as one entry. Pure.

`command_effects.py` applies it, and measures how long that takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raftline.wire.commands.command_row import Command, Handling, ReplyForm, Work
from raftline.wire.commands.rights import KeyRight, Right, Touches, UserRole
from raftline.wire.operands.operands import Operands
from raftline.wire.protocol import escape

from .resp.entry import FORM, VERB, read_entry, read_line
from .resp.functions import FUNCTIONS
from .resp.scripts import FREEING, FREEING_CALLS

_FREEING: Final = rf"(?:{FREEING}|{'|'.join(FREEING_CALLS)}|EVALSHA_RO)(?: (?!; )[^ ]+)*"


def _keys_in(command: str) -> Iterator[KeyRight]:
    """Yield the keys that the conditions and the commands of an entry name.

    Raises:
        ProtocolError: the entry has a mistake.
    """
    entry = read_entry(command.partition(" ")[2])
    for condition in entry.conditions:
        yield KeyRight("get", condition.key, reads=True, writes=False)
    for words in entry.commands:
        for key, reads, writes in FUNCTIONS[words[0]].rights_in(words):
            yield KeyRight(words[0], escape(key, key=True), reads, writes)


ROWS: Final = (
    Command(VERB, Operands(FORM, read_line, is_line=True), "run commands of Redis in one step",
            Handling("write", is_numbered=True, look="show"),
            Right(UserRole.WRITER, Touches.PARTS, keys=_keys_in), ReplyForm.RESULTS,
            work=Work.MEASURED, frees=rf"[0-9]+ (?:if (?:(?!then )[^ ]+ )*then )?{_FREEING}"
            rf"(?: ; {_FREEING})*\Z"),
)  # fmt: skip
