"""The commands of clients, one row each, and a typed line read by its row. Pure.

The parser, the help, completion, the commands of the shell, the client's rules and the forms of a
reply are made from the rows. The function in src/state/commands.py that is registered under a verb
applies its command. docs/develop/add-a-command.md adds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from raftline.wire import leaseoperands as of_leases
from raftline.wire import loginoperands as of_logins
from raftline.wire import operands as take
from raftline.wire import transactions
from raftline.wire.operands import EVERY, TRY, Limits, Operands, not_understood
from raftline.wire.protocol import ProtocolError, shown

READ_MODES = ("index", "lease", "log", "local")


class Access(NamedTuple):
    """How a node serves a command, and what a client does where no answer comes."""

    kind: str  # of its line: see ParsedLine
    is_read: bool = False  # it changes nothing
    is_numbered: bool = False  # asked again under the same number of a session, so done once
    is_sent_once: bool = False  # never asked again
    look: str = ""  # the read that tells whether it took effect, "" where that does not matter
    is_timed: bool = False  # the leader answers it by its clock of leases, after a round

    @property
    def takes_mode(self) -> bool:
        """Whether ` read MODE` may stand at its end."""
        return self.kind in ("read", "show") and not self.is_timed


READ = Access("read", is_read=True)
TIMED = Access("read", is_read=True, is_timed=True)  # a renewal may be asked again
WRITE = Access("write", is_numbered=True, look="get")
LEASE = Access("write", is_numbered=True, look="leases")  # a grant, an end
SHOW = Access("show", is_read=True)
BACKUP = Access("backup", is_read=True)
LOCAL = Access("local", is_read=True)
WATCH = Access("watch", is_read=True)
OBSERVE = Access("observe", is_read=True)
TRANSFER = Access("local", look="status")
SESSION = Access("write")  # one that is not used does nothing
FORGET = Access("write")  # a second time there is none
MEMBERS = Access("members", is_read=True)
CHANGE = Access("members", is_sent_once=True, look="members")  # a second time it is refused
LOGIN = Access("login", is_read=True)  # of the connection: docs/use/users.md


class Tells(Enum):
    """The part of a reply after `VERB response: `, as the screen and programs show it."""

    TEXT = auto()
    VALUE = auto()  # of a key, spelled for a line
    WRITTEN = auto()  # a value was set: the one at the end of the command
    DELETED = auto()
    NUMBER = auto()
    PAIRS = auto()  # JSON, and the command for the next page
    FACTS = auto()  # JSON
    RESULT = auto()  # JSON, spelled for a line
    LEASE = auto()  # `lease-57 for 10 s`
    RESULTS = auto()  # JSON, a list with one of each operation


class Command(NamedTuple):
    """One row."""

    verb: str
    operands: Operands
    does: str
    access: Access = WRITE
    tells: Tells = Tells.TEXT
    at_the_shell: str = ""  # its help where `raftline VERB` is a command of the shell as well
    elsewhere: tuple[str, ...] = ()  # other stores' words for it
    level: int = 1  # the lowest level of a cluster that understands it

    @property
    def form(self) -> str:
        """How it is typed: `set KEY VALUE`."""
        return f"{self.verb} {self.operands.form}".rstrip(" ")


def _read_txn(verb: str, operands: str, limits: Limits) -> str:
    return f"{verb} {transactions.read_transaction(operands, IN_TRANSACTIONS, limits).spelled}"


_ROWS = (
    Command(
        "get", take.KEY, "the value of KEY", READ, Tells.VALUE,
        at_the_shell="the value of KEY",
    ),
    Command(
        "set", take.KEY_VALUE, "VALUE is the rest of the line", WRITE, Tells.WRITTEN,
        at_the_shell="set KEY to VALUE; several words are one value, a space between them",
        elsewhere=("put",),
    ),
    Command(
        "delete", take.KEY, "remove KEY", WRITE, Tells.DELETED,
        at_the_shell="remove KEY", elsewhere=("del", "rm", "unset"),
    ),
    Command(
        "setnx", take.KEY_VALUE, "set KEY where it is not there yet", WRITE, Tells.WRITTEN
    ),
    Command("cas", take.KEY_OLD_NEW, "set KEY to NEW where it is OLD", WRITE, Tells.WRITTEN),
    Command(
        "incr", take.KEY_BY, "add BY, or 1, to the number in KEY", WRITE, Tells.NUMBER,
        elsewhere=("incrby",),
    ),
    Command("append", take.KEY_VALUE, "put VALUE behind what KEY has"),
    Command(
        "lease", of_leases.SECONDS, "grant a lease, whose keys go with it", LEASE, Tells.LEASE,
        at_the_shell="grant a lease; its keys go with it, unless it is renewed", level=2,
    ),
    Command(
        "renew", of_leases.LEASE_NAME, "give a lease its whole time again", TIMED, Tells.LEASE,
        at_the_shell="give a lease its whole time again", level=2,
    ),
    Command(
        "release", of_leases.LEASE_NAME, "end a lease, delete its keys", LEASE,
        at_the_shell="end a lease, delete its keys", level=2,
    ),
    Command("under", of_leases.LEASE_COMMAND, "a command, its key put under a lease", level=2),
    Command(
        "setex", of_leases.KEY_SECONDS_VALUE, "set KEY, for SECONDS", WRITE, Tells.WRITTEN, level=2
    ),
    Command("expire", of_leases.KEY_SECONDS, "let KEY go after SECONDS", level=2),
    Command("persist", take.KEY, "take KEY out of its lease", level=2),
    Command("ttl", take.KEY, "the seconds that KEY has left", TIMED, level=2),
    Command("leases", take.NONE, "the leases, their time and keys", TIMED, Tells.FACTS, level=2),
    Command(
        "txn", Operands(transactions.FORM, _read_txn, EVERY, is_line=True),
        "several operations in one step, all or none", WRITE, Tells.RESULTS,
        at_the_shell="several operations in one step, all or none", level=2,
    ),
    Command("clear", take.PREFIX, "remove all keys that begin with PREFIX", level=2),
    Command(
        "stat", take.KEY, "the last change of KEY, its lease, its bytes", READ, Tells.FACTS,
        at_the_shell="the last change of KEY, its lease, its bytes", level=2,
    ),
    Command(
        "object", take.OBJECT, "an operation on an object of programs", WRITE, Tells.RESULT
    ),
    Command(
        "machine", take.MACHINE, "a command for a program's own state machine", WRITE,
        Tells.RESULT,
    ),
    Command(
        "show", take.PAGE, "all pairs", SHOW, Tells.PAIRS,
        at_the_shell="all pairs, or those whose keys begin with PREFIX",
        elsewhere=("keys", "list", "ls", "dump"),
    ),
    Command(
        "watch", take.WATCHED, "the keys with PREFIX, then each change of one", WATCH,
        at_the_shell="the keys with PREFIX, then each change of one, until Ctrl-C", level=2,
    ),
    Command("unwatch", take.NONE, "end a watch of this connection", WATCH, level=2),
    Command("observe", take.OBSERVED, "each step of this node, and why", OBSERVE),
    Command("unobserve", take.NONE, "end the observe of this connection", OBSERVE),
    Command(
        "session", take.NONE, "begin one, so that a write sent twice takes effect once", SESSION
    ),
    Command("forget", take.NONE, "end a session, of which nothing is asked again", FORGET, level=3),
    Command(
        "status", take.NONE, "what this node knows of the cluster", LOCAL, Tells.FACTS,
        elsewhere=("info",),
    ),
    Command(
        "transfer", take.TO, "hand the leadership over, to NAME or whoever can take it", TRANSFER
    ),
    Command("backup", take.PIECE, "copy the state, then fetch the copy in pieces", BACKUP),
    Command("login", of_logins.NAME_PASSWORD, "say who asks on this connection", LOGIN),
    Command("auth", of_logins.MESSAGE, "the same by SCRAM-SHA-256, for programs", LOGIN),
    Command("help", take.NONE, "this list", LOCAL),
    Command(
        "members", take.words(""), "who the members are, and who of them votes", MEMBERS,
        Tells.FACTS,
    ),
    Command(
        "add", take.words("NAME HOST PORT"), "a new member: it catches up first, then votes",
        CHANGE,
    ),
    Command("remove", take.words("NAME"), "take a member out", CHANGE),
    Command(
        "replace", take.words("OLD NEW HOST PORT"),
        "a new member instead of an old one, in one step", CHANGE,
    ),
    Command("promote", take.words("NAME"), "let a learner vote", CHANGE),
    Command("demote", take.words("NAME"), "let a voter learn only", CHANGE),
)  # fmt: skip
COMMANDS: Final[Mapping[str, Command]] = {row.verb: row for row in _ROWS}
# Those on one key: they may stand in a transaction, and under a lease there.
IN_TRANSACTIONS: Mapping[str, Operands] = {
    row.verb: row.operands
    for row in _ROWS
    if row.verb == transactions.UNDER
    or (row.operands.begins_with_key and row.access in (READ, WRITE))
}
# Those that are commands of the shell as well: `raftline get KEY`.
AT_THE_SHELL: Mapping[str, str] = {row.verb: row.at_the_shell for row in _ROWS if row.at_the_shell}
# No row of ours, and maybe of a newer node: it may be a write.
FOREIGN: Final = Command("", take.words(""), "", Access("", look="get"))


def _forms(of_members: bool) -> str:
    rows = [row for row in COMMANDS.values() if (row.access.kind == "members") is of_members]
    return " | ".join(row.form for row in rows)


_READS = [row.verb for row in COMMANDS.values() if row.access.takes_mode]
HELP = (
    f"HELP response: {_forms(of_members=False)}."
    f" {', '.join(_READS[:-1])} and {_READS[-1]} may end in: read {'|'.join(READ_MODES)}."
    r" A value is the rest of the line; a space inside a key is written \s, a newline \n,"
    r" a backslash \\, any other byte \xNN. NAME@ or NAME#ID@ may stand before a command."
    f" Members: {_forms(of_members=True)}."
)

# A controller's orders (course/docs/controller.md).
FAULT_FORMS: Mapping[str, str] = {
    "PARTITION": "PARTITION NAME…",
    "HEAL": "HEAL [NAME…]",
    "DROP": "DROP PERCENT% [NAME…], as in DROP 30% s2",
    "DELAY": "DELAY TIME [NAME…], as in DELAY 200ms s2 or DELAY 1.5s",
    "SKIP-REPLICATION": "SKIP-REPLICATION on|off",
    "HEARTBEAT": "HEARTBEAT TIME|normal [for TIME], as in HEARTBEAT 20s for 1s",
}
# Those that only a node which runs can carry out.
NODE_ORDERS = ("STORE", "RETRIEVE", "LEADER_INFO", "CONVERT_FOLLOWER", "TIMEOUT")
ORDERS: Final = frozenset({*NODE_ORDERS, "SHUTDOWN", "RESTART", "DELETE-LOG", *FAULT_FORMS})


@dataclass(slots=True, init=False)  # see ParsedLine
class Request:
    """One understood command. `command` is its one canonical spelling, as it stands in the log."""

    sender: str  # "" for an anonymous person
    id: str  # "" where none was given
    verb: str
    command: str
    read: str  # how a get or show asks to be read, "" where it does not

    def __init__(
        self,
        sender: str,
        id: str,  # noqa: A002
        verb: str,
        command: str,
        read: str = "",
    ) -> None:
        self.sender = sender
        self.id = id
        self.verb = verb
        self.command = command
        self.read = read


def row_of(command: str) -> Command:
    """Return the row of a typed command; FOREIGN where there is none."""
    return COMMANDS.get(command.lstrip(" ").partition(" ")[0], FOREIGN)


def read_request(sender: str, request_id: str, message: str, limits: Limits) -> Request:
    """Return the command in canonical spelling, so that two spellings of a key are one key.

    Spaces before the command are dropped, and after it unless it ends in a value. A value is
    all that follows the one space after the key, kept to the byte.

    Raises:
        ProtocolError: no such command, an operand missing or too many, a key or value too long.
    """
    message = message.lstrip(" ")
    verb, _, operands = message.partition(" ")
    command = COMMANDS.get(verb)
    if command is None:
        line = message.rstrip(" ")
        raise ProtocolError(not_understood(line) if line else f"the line is empty. {TRY}")
    read = ""
    if command.access.is_read and command.access.takes_mode:
        message, read = _without_read_mode(command, message.rstrip(" "))
        operands = message.partition(" ")[2]
    if verb in ("session", "forget") and not sender:
        raise ProtocolError(f"a session needs a name before it: NAME@{verb}")
    return Request(sender, request_id, verb, command.operands.read(verb, operands, limits), read)


def _without_read_mode(command: Command, message: str) -> tuple[str, str]:
    """Return a read without ` read MODE` at its end, and that mode."""
    words = message.split(" ")
    if words[-2:-1] != ["read"] or len(words) < 3 + len(command.operands.needed):
        return message, ""
    if words[-1] not in READ_MODES:
        modes = ", ".join(READ_MODES)
        raise ProtocolError(f"there is no read {shown(words[-1])}; there is {modes}")
    if command.access is SHOW and words[-1] == "log":
        raise ProtocolError("a show is never an entry of the log; read index, lease or local")
    return " ".join(words[:-2]), words[-1]
