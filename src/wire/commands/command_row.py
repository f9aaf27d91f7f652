"""A row of the table of commands: what the parser, a node and a client know of a command. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from ..operands.operands import Operands
from .rights import COVERED, Right, Touches, UserRole


class Handling(NamedTuple):
    """How a node serves a command, and how a client reacts if it gets no answer."""

    kind: str  # the kind of its line: see ParsedLine
    is_read: bool = False  # it changes nothing
    is_numbered: bool = False  # retried with the same session number, so executed once
    is_sent_once: bool = False  # never retried
    look: str = ""  # a read that shows whether it took effect; "" if none is needed
    is_timed: bool = False  # answered by the leader's lease clock, after a round
    takes_mode: bool = False  # it may end in ` read MODE`


READ = Handling("read", is_read=True, takes_mode=True)
TIMED = Handling("read", is_read=True, is_timed=True)  # a renewal may be repeated
WRITE = Handling("write", is_numbered=True, look="get")
LEASE = Handling("write", is_numbered=True, look="leases")  # a grant, an end
SHOW = Handling("show", is_read=True, takes_mode=True)
BACKUP = Handling("backup", is_read=True)
LOCAL = Handling("local", is_read=True)
WATCH = Handling("watch", is_read=True)
OBSERVE = Handling("observe", is_read=True)
TRANSFER = Handling("local", is_sent_once=True, look="status")
SESSION = Handling("write")  # an unused session does nothing
FORGET = Handling("write")  # a repeated one finds no session
SUM = Handling("write")  # a repeated one sums again
MEMBERS = Handling("members", is_read=True)
CHANGE = Handling("members", is_sent_once=True, look="members")  # a repeated one is refused
USERS = Handling("read", is_read=True)
USERS_CHANGE = Handling("write", is_numbered=True, look="users")
LOGIN = Handling("login", is_read=True)  # of the connection: docs/use/users.md


class ReplyForm(Enum):
    """The part of a reply after `VERB response: `, as the screen and programs show it."""

    TEXT = auto()
    VALUE = auto()  # of a key, written for a line
    WRITTEN = auto()  # the value at the end of the command was set
    DELETED = auto()
    NUMBER = auto()
    PAIRS = auto()  # JSON, and the command for the next page
    FACTS = auto()  # JSON
    RESULT = auto()  # JSON, written for a line
    LEASE = auto()  # `lease-57 for 10 s`
    RESULTS = auto()  # JSON, a list with one result for each operation


class Work(Enum):
    """How much work it takes to apply an entry with the command (state/work.py)."""

    SHORT = auto()
    BY_VALUE = auto()  # it grows with the values of the keys that it names
    BY_KEYS = auto()  # it grows with the keys of a lease, or with all keys
    MEASURED = auto()  # the module that applies it has a measure
    OF_PROGRAM = auto()  # unknown


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table of commands.

    Raises:
        ValueError: its form names something for which its right takes no right.
    """

    verb: str
    operands: Operands
    does: str
    handling: Handling
    right: Right
    reply: ReplyForm = ReplyForm.TEXT
    at_the_shell: str = ""  # its help if `raftline VERB` is also a shell command
    elsewhere: tuple[str, ...] = ()  # its names in other stores
    is_at_floor: bool = False  # a write that other implementations understand
    work: Work = Work.SHORT
    frees: str | None = None  # a pattern of its operands with which it needs no room
    is_part: bool = False  # a transaction may contain it, though its first operand is not a KEY
    not_met: tuple[str, ...] = ()  # words of its replies, with those of wire/done_reply.py

    def __post_init__(self) -> None:
        operands, right = self.operands, self.right
        if right.role is UserRole.ADMIN or right.touches is Touches.EVERY:
            return  # whatever it names
        unclear = [*operands.unknown, *operands.unplaced]
        covered = COVERED[right.touches]
        unclear += sorted([kind.value for kind in covered ^ operands.kinds])
        if unclear:
            raise ValueError(
                f"{self.form}: its right is for {right.touches.value}, and nothing says which keys "
                f"{', '.join(unclear)} names. Write KEY, PREFIX, LEASE or CLAIM for what does, and "
                "give the row the right for it; or say in Operands.names where it stands."
            )

    @property
    def form(self) -> str:
        """The form in which it is typed: `set KEY VALUE`."""
        return f"{self.verb} {self.operands.form}".rstrip(" ")

    @property
    def is_operation(self) -> bool:
        """Whether a transaction may contain it: a command on one key, or one whose row says so."""
        return self.is_part or (self.operands.begins_with_key and self.handling in (READ, WRITE))
