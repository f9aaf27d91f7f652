"""The commands of clients, one row each, and a typed line read by its row. Pure.

The parser, the help, completion, the commands of the shell, the client's rules, the rights and the
forms of a reply are made from the rows. The function that is registered under a verb applies its
command (state/commands.py). docs/develop/add-a-command.md adds one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final, NamedTuple

from . import leaseoperands as of_leases
from . import loginoperands as of_logins
from . import operands as take
from . import transactions
from .operands import ALL_KEYS, NO_LIMITS, TRY, Limits, Operands, not_understood
from .protocol import ProtocolError, shown
from .rights import (
    ADMINISTERS,
    ADMINISTERS_ALL,
    OPEN,
    READS,
    READS_ALL,
    READS_KEY,
    READS_PREFIX,
    WRITES,
    WRITES_ALL,
    WRITES_KEY,
    WRITES_LEASE,
    WRITES_PARTS,
    WRITES_PREFIX,
    WRITES_UNDER_LEASE,
    Right,
)
from .transactions import TransactionCommand

READ_MODES = ("index", "lease", "log", "local")


class Handling(NamedTuple):
    """How a node serves a command, and what a client does if no answer comes."""

    kind: str  # the kind of its line: see ParsedLine
    is_read: bool = False  # it changes nothing
    is_numbered: bool = False  # retried with the same number of a session, so done once
    is_sent_once: bool = False  # never asked again
    look: str = ""  # a read that shows whether it took effect; "": not needed
    is_timed: bool = False  # answered by the leader's lease clock, after a round
    takes_mode: bool = False  # ` read MODE` may stand at its end


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
FORGET = Handling("write")  # a second one finds no session
MEMBERS = Handling("members", is_read=True)
CHANGE = Handling("members", is_sent_once=True, look="members")  # a second time it is refused
LOGIN = Handling("login", is_read=True)  # of the connection: docs/use/users.md


class ReplyForm(Enum):
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


class Work(Enum):
    """How much there is to do when an entry with the command is applied (state/work.py)."""

    SHORT = auto()
    BY_VALUE = auto()  # it grows with the values of the keys that it names
    BY_KEYS = auto()  # it grows with the keys of a lease, or with all keys
    OF_PROGRAM = auto()  # nobody knows


class Command(NamedTuple):
    """One row."""

    verb: str
    operands: Operands
    does: str
    handling: Handling
    right: Right
    reply: ReplyForm = ReplyForm.TEXT
    at_the_shell: str = ""  # its help if `raftline VERB` is a command of the shell as well
    elsewhere: tuple[str, ...] = ()  # its names in other stores
    level: int = 1  # the lowest level of a cluster that understands it
    work: Work = Work.SHORT

    @property
    def form(self) -> str:
        """How it is typed: `set KEY VALUE`."""
        return f"{self.verb} {self.operands.form}".rstrip(" ")

    @property
    def is_operation(self) -> bool:
        """Whether it may be in a transaction: a command on one key, perhaps put under a
        lease, or `clear`."""
        is_on_a_key = self.operands.begins_with_key and self.handling in (READ, WRITE)
        return is_on_a_key or self.verb in (transactions.UNDER, transactions.CLEAR)


def _read_txn(verb: str, operands: str, limits: Limits) -> str:
    return f"{verb} {transaction_of(operands, _ALL_OPERATIONS, limits).spelled}"


_ROWS = (
    Command("get", take.KEY, "the value of KEY", READ, READS_KEY, ReplyForm.VALUE,
            at_the_shell="the value of KEY"),
    Command("set", take.KEY_VALUE, "VALUE is the rest of the line",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN,
            at_the_shell="set KEY to VALUE; several words are one value, a space between them",
            elsewhere=("put",)),
    Command("delete", take.KEY, "remove KEY", WRITE, WRITES_KEY, ReplyForm.DELETED,
            at_the_shell="remove KEY", elsewhere=("del", "rm", "unset")),
    Command("setnx", take.KEY_VALUE, "set KEY where it is not there yet",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN,
            at_the_shell="set KEY to VALUE where it is not there yet"),
    Command("cas", take.KEY_OLD_NEW, "set KEY to NEW where it is OLD",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN,
            at_the_shell="set KEY to NEW where it is OLD", work=Work.BY_VALUE),
    Command("incr", take.KEY_BY, "add BY, or 1, to the number in KEY",
            WRITE, WRITES_KEY, ReplyForm.NUMBER,
            at_the_shell="add BY, or 1, to the number in KEY", elsewhere=("incrby",)),
    Command("append", take.KEY_VALUE, "put VALUE behind what KEY has", WRITE, WRITES_KEY,
            at_the_shell="put VALUE behind what KEY has", work=Work.BY_VALUE),
    Command("lease", of_leases.SECONDS, "grant a lease, whose keys go with it",
            LEASE, WRITES, ReplyForm.LEASE,
            at_the_shell="grant a lease; its keys go with it, unless it is renewed", level=2),
    Command("renew", of_leases.LEASE_NAME, "give a lease its whole time again",
            TIMED, WRITES_LEASE, ReplyForm.LEASE,
            at_the_shell="give a lease its whole time again", level=2),
    Command("release", of_leases.LEASE_NAME, "end a lease, delete its keys", LEASE, WRITES_LEASE,
            at_the_shell="end a lease, delete its keys", level=2, work=Work.BY_KEYS),
    Command("under", of_leases.LEASE_COMMAND, "a command, its key put under a lease",
            WRITE, WRITES_UNDER_LEASE, level=2, work=Work.BY_VALUE),
    Command("setex", of_leases.KEY_SECONDS_VALUE, "set KEY, for SECONDS",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN, level=2),
    Command("expire", of_leases.KEY_SECONDS, "let KEY go after SECONDS",
            WRITE, WRITES_KEY, at_the_shell="let KEY go after SECONDS", level=2),
    Command("persist", take.KEY, "take KEY out of its lease", WRITE, WRITES_KEY,
            at_the_shell="take KEY out of its lease, so that it stays", level=2),
    Command("ttl", take.KEY, "the seconds that KEY has left", TIMED, READS_KEY,
            at_the_shell="the seconds that KEY has left", level=2),
    Command("leases", take.NONE, "the leases, their time and keys",
            TIMED, READS_ALL, ReplyForm.FACTS,
            at_the_shell="the leases, their time and keys", level=2),
    Command("txn", Operands(transactions.FORM, _read_txn, ALL_KEYS, is_line=True),
            "several operations in one step, all or none", WRITE, WRITES_PARTS, ReplyForm.RESULTS,
            at_the_shell="several operations in one step, all or none", level=2,
            work=Work.BY_VALUE),
    Command("clear", take.PREFIX, "remove all keys that begin with PREFIX",
            WRITE, WRITES_PREFIX,
            at_the_shell="remove all keys that begin with PREFIX", level=2, work=Work.BY_KEYS),
    Command("stat", take.KEY, "the last change of KEY, its lease, its bytes",
            READ, READS_KEY, ReplyForm.FACTS,
            at_the_shell="the last change of KEY, its lease, its bytes", level=2,
            work=Work.BY_VALUE),
    Command("object", take.OBJECT, "an operation on an object of programs",
            WRITE, WRITES_KEY, ReplyForm.RESULT,
            at_the_shell="an operation on an object of programs", work=Work.BY_VALUE),
    Command("machine", take.MACHINE, "a command for a program's own state machine",
            WRITE, WRITES_ALL, ReplyForm.RESULT, work=Work.OF_PROGRAM),
    Command("show", take.PAGE, "all pairs", SHOW, READS_PREFIX, ReplyForm.PAIRS,
            at_the_shell="all pairs, or those whose keys begin with PREFIX",
            elsewhere=("keys", "list", "ls", "dump")),
    Command("watch", take.WATCHED, "the keys with PREFIX, then each change of one",
            WATCH, READS_PREFIX,
            at_the_shell="the keys with PREFIX, then each change of one, until Ctrl-C", level=2),
    Command("unwatch", take.NONE, "end a watch of this connection", WATCH, OPEN, level=2),
    Command("observe", take.OBSERVED, "each step of this node, and why", OBSERVE, ADMINISTERS_ALL),
    Command("unobserve", take.NONE, "end the observe of this connection", OBSERVE, OPEN),
    Command("session", take.NONE, "begin one, so that a write sent twice takes effect once",
            SESSION, WRITES),
    Command("forget", take.NONE, "end a session, of which nothing is asked again",
            FORGET, WRITES, level=3),
    Command("status", take.NONE, "what this node knows of the cluster",
            LOCAL, READS, ReplyForm.FACTS, elsewhere=("info",)),
    Command("transfer", take.TO, "hand the leadership over, to NAME or whoever can take it",
            TRANSFER, ADMINISTERS),
    Command("backup", take.PIECE, "copy the state, then fetch the copy in pieces",
            BACKUP, ADMINISTERS_ALL),
    Command("login", of_logins.NAME_PASSWORD, "say who asks on this connection", LOGIN, OPEN),
    Command("auth", of_logins.MESSAGE, "the same by SCRAM-SHA-256, for programs", LOGIN, OPEN),
    Command("codes", take.NONE, "put a code before each refusal on this connection", LOCAL, OPEN),
    Command("help", take.NONE, "this list", LOCAL, OPEN),
    Command("members", take.words(""), "who the members are, and who of them votes",
            MEMBERS, ADMINISTERS, ReplyForm.FACTS),
    Command("add", take.words("NAME HOST PORT"),
            "a new member: it catches up first, then votes", CHANGE, ADMINISTERS),
    Command("remove", take.words("NAME"), "take a member out", CHANGE, ADMINISTERS),
    Command("replace", take.words("OLD NEW HOST PORT"),
            "a new member instead of an old one, in one step", CHANGE, ADMINISTERS),
    Command("promote", take.words("NAME"), "let a learner vote", CHANGE, ADMINISTERS),
    Command("demote", take.words("NAME"), "let a voter learn only", CHANGE, ADMINISTERS),
)  # fmt: skip
COMMANDS: Final[Mapping[str, Command]] = {row.verb: row for row in _ROWS}
IN_TRANSACTIONS: Final[Mapping[str, Operands]] = {
    row.verb: row.operands for row in _ROWS if row.is_operation
}
_MAY_BE_NEW: Final = re.compile(" (?:clear|has|<|>) ")  # what level 3 brought to transactions
_KEPT_CHARACTERS: Final = 1000  # of a transaction that is kept as it was read
_ALL_OPERATIONS: Final = max(row.level for row in _ROWS if row.is_operation)
# Those that are commands of the shell as well: `raftline get KEY`.
AT_THE_SHELL: Mapping[str, str] = {row.verb: row.at_the_shell for row in _ROWS if row.at_the_shell}
# No row here; a newer node may have one, so it counts as a write that has no number: a client does
# not send it a second time.
FOREIGN: Final = Command(
    "", take.words(""), "", Handling("", is_sent_once=True, look="get"), ADMINISTERS_ALL
)


def _forms(of_members: bool) -> str:
    rows = [row for row in COMMANDS.values() if (row.handling.kind == "members") is of_members]
    return " | ".join(row.form for row in rows)


_READS = [row.verb for row in COMMANDS.values() if row.handling.takes_mode]
HELP = (
    f"HELP response: {_forms(of_members=False)}."
    f" {', '.join(_READS[:-1])} and {_READS[-1]} may end in: read {'|'.join(READ_MODES)}."
    r" A value is the rest of the line; a space inside a key is written \s, a newline \n,"
    r" a backslash \\, any other byte \xNN. NAME@ or NAME#ID@ may stand before a command."
    f" Members: {_forms(of_members=True)}."
)


@dataclass(slots=True)
class Request:
    """One understood command. `command` is its one canonical spelling, as it stands in the log."""

    sender: str  # "" for an anonymous person
    id: str  # "" if none was given
    verb: str
    command: str
    read: str = ""  # the read mode that a get or show names, "" if none
    level: int = FOREIGN.level  # that a cluster must have for it


def operations_at(level: int) -> Mapping[str, Operands]:
    """Return the commands that a transaction may hold at this level of a cluster: those that
    each of its builds has."""
    if level >= _ALL_OPERATIONS:
        return IN_TRANSACTIONS
    return {verb: form for verb, form in IN_TRANSACTIONS.items() if COMMANDS[verb].level <= level}


def transaction_of(operands: str, level: int, limits: Limits) -> TransactionCommand:
    """Return the transaction that stands after `txn `, at this level of a cluster. A leader reads
    it as it comes and as it is applied, so the last short ones are kept.

    Raises:
        ProtocolError: something in it is mistyped; the message names the place.
    """
    level = min(level, _ALL_OPERATIONS)
    if len(operands) <= _KEPT_CHARACTERS:
        return _kept_transaction(operands, level, limits)
    return transactions.read_transaction(operands, operations_at(level), limits)


@lru_cache(maxsize=256)
def _kept_transaction(operands: str, level: int, limits: Limits) -> TransactionCommand:
    return transactions.read_transaction(operands, operations_at(level), limits)


def _level_of_transaction(command: Command, canonical: str) -> int:
    """Return the level that a cluster must have for a transaction, in its one spelling."""
    if not _MAY_BE_NEW.search(canonical):
        return command.level
    operands = canonical.partition(" ")[2]
    read = transactions.read_transaction(operands, IN_TRANSACTIONS, NO_LIMITS)
    return max(command.level, read.level)


def row_of(command: str) -> Command:
    """Return the row of a typed command, else FOREIGN."""
    return COMMANDS.get(command.lstrip(" ").partition(" ")[0], FOREIGN)


def read_request(sender: str, request_id: str, message: str, limits: Limits) -> Request:
    """Return the command in canonical spelling, so that two spellings of a key are one key.

    Spaces before the command are dropped, and after it unless it ends in a value. A value is
    all that follows the one space after the key, kept to the byte. The message is as `decode_line`
    returns a line: of the control characters it holds a tab at most.

    Raises:
        ProtocolError: no such command, an operand missing or too many, a key or value too long.
    """
    message = message.lstrip(" ")
    end = message.find(" ")
    verb = message if end < 0 else message[:end]
    command = COMMANDS.get(verb)
    if command is None:
        line = message.rstrip(" ")
        raise ProtocolError(not_understood(line) if line else f"the line is empty. {TRY}")
    if command.operands is take.KEY_VALUE and take.is_as_spelled(message, limits):
        return Request(sender, request_id, verb, message, "", command.level)  # no copy of a value
    operands, read = message[len(verb) + 1 :], ""
    if command.handling.takes_mode and " read " in message:
        message, read = _without_read_mode(command, message.rstrip(" "))
        operands = message.partition(" ")[2]
    if verb in ("session", "forget") and not sender:
        raise ProtocolError(f"a session needs a name before it: NAME@{verb}")
    canonical = command.operands.read(verb, operands, limits)
    level = _level_of_transaction(command, canonical) if verb == "txn" else command.level
    return Request(sender, request_id, verb, canonical, read, level)


def _without_read_mode(command: Command, message: str) -> tuple[str, str]:
    """Return a read without ` read MODE` at its end, and that mode."""
    words = message.split(" ")
    if words[-2:-1] != ["read"] or len(words) < 3 + len(command.operands.needed):
        return message, ""
    if words[-1] not in READ_MODES:
        modes = ", ".join(READ_MODES)
        raise ProtocolError(f"there is no read {shown(words[-1])}; there is {modes}")
    if command.handling is SHOW and words[-1] == "log":
        raise ProtocolError("a show is never an entry of the log; read index, lease or local")
    return " ".join(words[:-2]), words[-1]
