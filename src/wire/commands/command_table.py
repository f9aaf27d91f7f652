"""The commands of clients, one row each, and the parsing of a typed line by its row. Pure.

The rows define the parser, the help, completion, the shell commands, the client's rules, the rights
and the forms of replies. The function that is registered under a verb applies its command
(state/commands/key_commands.py). docs/develop/add-a-command.md shows how to add one. The module
`command_rows` of an extension has its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ...common.extensions import joined
from ..operands import lease_operands as of_leases
from ..operands import login_operands as of_logins
from ..operands import operands as take
from ..operands import user_operands as of_users
from ..operands.operands import ALL_KEYS, TRY, Limits, Operands, not_understood
from ..protocol import ProtocolError, shown
from . import transaction_line
from .command_row import (
    BACKUP,
    CHANGE,
    FORGET,
    LEASE,
    LOCAL,
    LOGIN,
    MEMBERS,
    OBSERVE,
    SESSION,
    SHOW,
    SUM,
    TIMED,
    TRANSFER,
    USERS,
    USERS_CHANGE,
    WATCH,
)
from .command_row import READ as READ
from .command_row import WRITE as WRITE
from .command_row import Command as Command
from .command_row import Handling as Handling
from .command_row import ReplyForm as ReplyForm
from .command_row import Work as Work
from .rights import (
    ADMINISTERS,
    ADMINISTERS_ALL,
    OPEN,
    READS,
    READS_ALL,
    READS_KEY,
    READS_PREFIX,
    UPDATES_KEY,
    WRITES,
    WRITES_ALL,
    WRITES_KEY,
    WRITES_LEASE,
    WRITES_PARTS,
    WRITES_PREFIX,
    WRITES_UNDER_LEASE,
)
from .transaction_line import TransactionCommand

READ_MODES = ("index", "lease", "log", "local")


def _read_txn(verb: str, operands: str, limits: Limits) -> str:
    txn = transaction_of(operands, limits)
    return f"{verb} {transaction_line.format_transaction(txn, IN_TRANSACTIONS)}"


_OF_EXTENSIONS: Final[list[Command]] = [
    row for extension in joined("command_rows") for row in extension.ROWS
]
_ROWS = (
    Command("get", take.KEY, "the value of KEY", READ, READS_KEY, ReplyForm.VALUE,
            at_the_shell="the value of KEY"),
    Command("set", take.KEY_VALUE, "VALUE is the rest of the line",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN,
            at_the_shell="set KEY to VALUE; several words form one value, joined by spaces",
            elsewhere=("put",), is_at_floor=True),
    Command("delete", take.KEY, "remove KEY", WRITE, WRITES_KEY, ReplyForm.DELETED,
            at_the_shell="remove KEY", elsewhere=("del", "rm", "unset"), is_at_floor=True),
    Command("setnx", take.KEY_VALUE, "set KEY if it does not exist",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN,
            at_the_shell="set KEY to VALUE if it does not exist", is_at_floor=True),
    Command("cas", take.KEY_OLD_NEW, "set KEY to NEW if its value is OLD",
            WRITE, UPDATES_KEY, ReplyForm.WRITTEN,
            at_the_shell="set KEY to NEW if its value is OLD", is_at_floor=True,
            work=Work.BY_VALUE),
    Command("incr", take.KEY_BY, "add BY, or 1, to the number in KEY",
            WRITE, UPDATES_KEY, ReplyForm.NUMBER,
            at_the_shell="add BY, or 1, to the number in KEY", elsewhere=("incrby",),
            is_at_floor=True),
    Command("append", take.KEY_VALUE, "append VALUE to the value of KEY", WRITE, WRITES_KEY,
            at_the_shell="append VALUE to the value of KEY", is_at_floor=True,
            work=Work.BY_VALUE),
    Command("lease", of_leases.SECONDS, "grant a lease; its keys end with it",
            LEASE, WRITES, ReplyForm.LEASE,
            at_the_shell="grant a lease; its keys end with it, unless it is renewed"),
    Command("renew", of_leases.LEASE_NAME, "renew a lease for its whole time",
            TIMED, WRITES_LEASE, ReplyForm.LEASE,
            at_the_shell="renew a lease for its whole time"),
    Command("release", of_leases.LEASE_NAME, "end a lease and delete its keys", LEASE, WRITES_LEASE,
            at_the_shell="end a lease and delete its keys", work=Work.BY_KEYS),
    Command("under", of_leases.LEASE_COMMAND, "run a command and put its key under a lease",
            WRITE, WRITES_UNDER_LEASE, work=Work.BY_VALUE, is_part=True),
    Command("setex", of_leases.KEY_SECONDS_VALUE, "set KEY for SECONDS",
            WRITE, WRITES_KEY, ReplyForm.WRITTEN),
    Command("expire", of_leases.KEY_SECONDS, "delete KEY after SECONDS",
            WRITE, WRITES_KEY, at_the_shell="delete KEY after SECONDS"),
    Command("persist", take.KEY, "remove KEY from its lease", WRITE, WRITES_KEY,
            at_the_shell="remove KEY from its lease, so that it stays"),
    Command("ttl", take.KEY, "the seconds that KEY has left", TIMED, READS_KEY,
            at_the_shell="the seconds that KEY has left"),
    Command("leases", take.NONE, "the leases, their remaining times and keys",
            TIMED, READS_ALL, ReplyForm.FACTS,
            at_the_shell="the leases, their remaining times and keys"),
    Command("txn", Operands(transaction_line.FORM, _read_txn, ALL_KEYS, is_line=True),
            "run several operations in one step, all or none",
            WRITE, WRITES_PARTS, ReplyForm.RESULTS,
            at_the_shell="run several operations in one step, all or none",
            work=Work.BY_VALUE),
    Command("clear", take.PREFIX, "remove all keys that begin with PREFIX",
            WRITE, WRITES_PREFIX,
            at_the_shell="remove all keys that begin with PREFIX", work=Work.BY_KEYS,
            is_part=True),
    Command("stat", take.KEY, "the last change of KEY, its lease, its bytes",
            READ, READS_KEY, ReplyForm.FACTS,
            at_the_shell="the last change of KEY, its lease, its bytes",
            work=Work.BY_VALUE),
    Command("read", take.KEY, "the value of KEY and its last change",
            READ, READS_KEY, ReplyForm.FACTS,
            at_the_shell="the value of KEY and the index of its last change",
            work=Work.BY_VALUE),
    Command("machine", take.MACHINE, "run a command on a program's own state machine",
            WRITE, WRITES_ALL, ReplyForm.RESULT, is_at_floor=True, work=Work.OF_PROGRAM),
    *_OF_EXTENSIONS,
    Command("show", take.PAGE, "all pairs", SHOW, READS_PREFIX, ReplyForm.PAIRS,
            at_the_shell="all pairs, or the pairs whose keys begin with PREFIX",
            elsewhere=("keys", "list", "ls", "dump")),
    Command("watch", take.WATCHED, "the keys with PREFIX, then each change to one",
            WATCH, READS_PREFIX,
            at_the_shell="the keys with PREFIX, then each change to one, until Ctrl-C"),
    Command("unwatch", take.NONE, "end a watch on this connection", WATCH, OPEN),
    Command("observe", take.OBSERVED, "each step of this node, and why", OBSERVE, ADMINISTERS_ALL),
    Command("unobserve", take.NONE, "end the observe on this connection", OBSERVE, OPEN),
    Command("session", take.NONE, "begin a session, in which a repeated write takes effect once",
            SESSION, WRITES, is_at_floor=True),
    Command("forget", take.NONE, "end a session that needs no more retries",
            FORGET, WRITES),
    Command("status", take.NONE, "what this node knows about the cluster",
            LOCAL, READS, ReplyForm.FACTS, elsewhere=("info",)),
    Command("users", take.NONE, "the users and the roles", USERS, ADMINISTERS, ReplyForm.FACTS),
    Command("user-add", of_users.NEW_USER, "add a user, whose password fits VERIFIER",
            USERS_CHANGE, ADMINISTERS),
    Command("user-password", of_users.PASSWORD, "change the password of a user",
            USERS_CHANGE, ADMINISTERS),
    Command("user-remove", of_users.A_NAME, "remove a user", USERS_CHANGE, ADMINISTERS),
    Command("user-grant", of_users.USER_ROLE, "give a user a role",
            USERS_CHANGE, ADMINISTERS),
    Command("user-revoke", of_users.USER_ROLE, "take a role from a user",
            USERS_CHANGE, ADMINISTERS),
    Command("role-add", of_users.A_ROLE, "add a role without rights",
            USERS_CHANGE, ADMINISTERS),
    Command("role-remove", of_users.A_ROLE, "remove a role, also from its users",
            USERS_CHANGE, ADMINISTERS),
    Command("role-grant", of_users.GRANT, "give a role the right to keys with PREFIX",
            USERS_CHANGE, ADMINISTERS),
    Command("role-revoke", of_users.REVOKED, "take from a role the right to keys with PREFIX",
            USERS_CHANGE, ADMINISTERS),
    Command("transfer", take.TO, "hand the leadership over to NAME, or to any suitable member",
            TRANSFER, ADMINISTERS),
    Command("begin", take.WITHOUT,
            "let nodes without files begin a cluster, since the silent members never ran",
            TRANSFER, ADMINISTERS),
    Command("backup", take.PIECE, "copy the state, then fetch the copy in pieces",
            BACKUP, ADMINISTERS_ALL),
    Command("sum", take.NONE, "let each node sum its state after this entry",
            SUM, ADMINISTERS, ReplyForm.NUMBER),
    Command("lines", take.LINES, "the pairs of this node with their facts, even if it differs",
            LOCAL, ADMINISTERS_ALL, ReplyForm.FACTS),
    Command("login", of_logins.NAME_PASSWORD, "log in on this connection", LOGIN, OPEN),
    Command("auth", of_logins.MESSAGE, "log in with SCRAM-SHA-256, for programs", LOGIN, OPEN),
    Command("codes", take.EXPECTED,
            "put a code before each refusal on this connection; only CLUSTER is to serve it",
            LOCAL, OPEN),
    Command("help", take.MORE, "this list, or all commands", LOCAL, OPEN),
    Command("members", take.words(""), "the members, and which of them vote",
            MEMBERS, READS, ReplyForm.FACTS),
    Command("add", take.words("NAME HOST PORT"),
            "add a member, which catches up first and then votes", CHANGE, ADMINISTERS),
    Command("remove", take.words("NAME [force]"), "remove a member", CHANGE, ADMINISTERS),
    Command("replace", take.words("OLD NEW HOST PORT [force]"),
            "replace an old member with a new one in one step", CHANGE, ADMINISTERS),
    Command("promote", take.words("NAME"), "make a learner a voter", CHANGE, ADMINISTERS),
    Command("demote", take.words("NAME [force]"), "make a voter a learner", CHANGE, ADMINISTERS),
    Command("update", take.words("NAME HOST PORT"), "give a member another address",
            CHANGE, ADMINISTERS),
)  # fmt: skip


COMMANDS: Final[Mapping[str, Command]] = {row.verb: row for row in _ROWS}
# The verbs that other implementations do not understand: they need a log with an identity.
BEYOND_FLOOR: Final = frozenset(
    [row.verb for row in _ROWS if row.handling.kind == "write" and not row.is_at_floor]
)
IN_TRANSACTIONS: Final[Mapping[str, Operands]] = {
    row.verb: row.operands for row in _ROWS if row.is_operation
}
_KEPT_CHARACTERS: Final = 1000  # of the longest transaction in the cache
# The commands that are also shell commands: `raftline get KEY`.
AT_THE_SHELL: Mapping[str, str] = {row.verb: row.at_the_shell for row in _ROWS if row.at_the_shell}
# The row of an unknown verb. A newer node may know it, so it counts as a write without a number: a
# client does not send it a second time.
FOREIGN: Final = Command(
    "", take.words(""), "", Handling("", is_sent_once=True, look="get"), ADMINISTERS_ALL
)


def _forms(rows: Iterable[Command]) -> str:
    return " | ".join(row.form for row in rows)


_READS = [row.verb for row in COMMANDS.values() if row.handling.takes_mode]
_SPELLING = (
    r" A value is the rest of the line; a space inside a key is written \s, a newline \n,"
    r" a backslash \\, any other byte \xNN."
)
# What a person types. The rest is for operators and programs, or of an extension.
_TYPED = {*AT_THE_SHELL, "status", "members", "transfer", "login", "help"}
_TYPED -= {row.verb for row in _OF_EXTENSIONS}
FIRST: Final = [row for row in COMMANDS.values() if row.verb in _TYPED]
_HELP: Final = f"HELP response: {_forms(FIRST)}.{_SPELLING} help all has all commands."
_HELP_ALL: Final = (
    f"HELP response: {_forms(COMMANDS.values())}."
    f" {', '.join(_READS[:-1])} and {_READS[-1]} may end in: read {'|'.join(READ_MODES)}."
    f"{_SPELLING} NAME@ or NAME#ID@ may stand before a command."
)


def help_on(command: str) -> str:
    """Return the reply to `help` or `help all`."""
    return _HELP_ALL if command.endswith(" all") else _HELP


@dataclass(slots=True)
class Request:
    """One parsed command. `command` is its canonical form, which is its form in the log."""

    sender: str  # "" for an anonymous person
    id: str  # "" if there is none
    verb: str
    command: str
    read: str = ""  # the read mode of a get or show, "" if there is none


def transaction_of(operands: str, limits: Limits) -> TransactionCommand:
    """Return the transaction after `txn `. A leader reads it on arrival and again when it is
    applied, so recent short ones are cached.

    Raises:
        ProtocolError: the transaction has a mistake; the message names the place.
    """
    if len(operands) <= _KEPT_CHARACTERS:
        return _kept_transaction(operands, limits)
    return transaction_line.read_transaction(operands, IN_TRANSACTIONS, limits)


@lru_cache(maxsize=256)
def _kept_transaction(operands: str, limits: Limits) -> TransactionCommand:
    return transaction_line.read_transaction(operands, IN_TRANSACTIONS, limits)


def row_of(command: str) -> Command:
    """Return the row of a typed command, or FOREIGN."""
    return COMMANDS.get(command.lstrip(" ").partition(" ")[0], FOREIGN)


def read_request(sender: str, request_id: str, message: str, limits: Limits) -> Request:
    """Return the command in canonical form, in which a key has only one form.

    Spaces before the command are dropped, and so are spaces after it unless it ends in a value. A
    value is everything after the single space that follows the key, byte for byte. The message
    comes from `decode_line`, so a tab is its only possible control character.

    Raises:
        ProtocolError: an unknown command, a missing or extra operand, or a key or value that is too
            long.
    """
    message = message.lstrip(" ")
    end = message.find(" ")
    verb = message if end < 0 else message[:end]
    command = COMMANDS.get(verb)
    if command is None:
        raise ProtocolError(_unknown(message.rstrip(" ")))
    if command.operands is take.KEY_VALUE and take.is_canonical_line(message, limits):
        return Request(sender, request_id, verb, message)  # no copy of it
    operands, read = message[len(verb) + 1 :], ""
    if command.handling.takes_mode and " read " in message:
        message, read = _without_read_mode(command, message.rstrip(" "))
        operands = message.partition(" ")[2]
    if verb in ("session", "forget") and not sender:
        raise ProtocolError(f"a session needs a name before it: NAME@{verb}")
    canonical = command.operands.read(verb, operands, limits)
    return Request(sender, request_id, verb, canonical, read)


def _unknown(line: str) -> str:
    if not line:
        return f"the line is empty. {TRY}"
    meant = COMMANDS.get(line.partition(" ")[0].lower())
    if meant is None:
        return not_understood(line)
    return not_understood(line, f"Commands have small letters: {meant.form}")


def _without_read_mode(command: Command, message: str) -> tuple[str, str]:
    """Return a read without ` read MODE` at its end, and the mode."""
    words = message.split(" ")
    if words[-2:-1] != ["read"] or len(words) < 3 + len(command.operands.needed):
        return message, ""
    if words[-1] not in READ_MODES:
        modes = ", ".join(READ_MODES)
        raise ProtocolError(f"there is no read mode {shown(words[-1])}; the modes are {modes}")
    if command.handling is SHOW and words[-1] == "log":
        raise ProtocolError("a show is never an entry of the log; read index, lease or local")
    return " ".join(words[:-2]), words[-1]
