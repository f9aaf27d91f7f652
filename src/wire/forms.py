"""Each command that a client or a controller may type: its operands, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Form(NamedTuple):
    """How one command is typed."""

    operands: str  # "" where it stands alone
    does: str


FORMS: Mapping[str, Form] = {
    "get": Form("KEY", "the value of KEY"),
    "set": Form("KEY VALUE", "VALUE is the rest of the line"),
    "delete": Form("KEY", "remove KEY"),
    "setnx": Form("KEY VALUE", "set KEY where it is not there yet"),
    "cas": Form("KEY OLD NEW", "set KEY to NEW where it is OLD"),
    "incr": Form("KEY [BY]", "add BY, or 1, to the number in KEY"),
    "append": Form("KEY VALUE", "put VALUE behind what KEY has"),
    "object": Form("KEY OPERATION [JSON ...]", "an operation on an object of programs"),
    "machine": Form("NAME JSON", "a command for a program's own state machine"),
    "show": Form("[PREFIX] [after KEY]", "all pairs"),
    "session": Form("", "begin one, so that a write sent twice takes effect once"),
    "status": Form("", "what this node knows of the cluster"),
    "transfer": Form("[NAME]", "hand the leadership over, to NAME or whoever can take it"),
    "backup": Form("[from BYTE]", "copy the state, then fetch the copy in pieces"),
    "help": Form("", "this list"),
    "members": Form("", "who the members are, and who of them votes"),
    "add": Form("NAME HOST PORT", "a new member: it catches up first, then votes"),
    "remove": Form("NAME", "take a member out"),
    "replace": Form("OLD NEW HOST PORT", "a new member instead of an old one, in one step"),
    "promote": Form("NAME", "let a learner vote"),
    "demote": Form("NAME", "let a voter learn only"),
}
# Those that are commands of the shell as well: `raftline get KEY`.
AT_THE_SHELL: Mapping[str, str] = {
    "get": "the value of KEY",
    "set": "set KEY to VALUE; several words are one value, a space between them",
    "delete": "remove KEY",
    "show": "all pairs, or those whose keys begin with PREFIX",
}
MEMBER_VERBS = frozenset({"members", "add", "remove", "replace", "promote", "demote"})

# A controller's orders (docs/learn/controller.md).
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
ORDERS = frozenset({*NODE_ORDERS, "SHUTDOWN", "RESTART", "DELETE-LOG", *FAULT_FORMS})


def form_of(verb: str) -> str:
    """Return how `verb` is typed: `set KEY VALUE`."""
    return f"{verb} {FORMS[verb].operands}".rstrip(" ")
