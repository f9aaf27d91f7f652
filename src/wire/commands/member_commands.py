"""Parsing and replies of `members` and of the changes of members. Pure."""

from __future__ import annotations

import re

from ...common.address import EVERYWHERE, HOST
from ...common.config import NAME, ConfigError, port_number
from ...raft.change import FORCE, Change
from ...raft.membership import Configurations
from ..protocol import ProtocolError, shown
from ..refusal import NOT_CHANGED, outcome_unknown
from .command_table import COMMANDS

_LEARNER = re.compile(r"[A-Z]+ response: \S+ is a learner without a vote, ")
CHANGE_S = 600.0  # a new member may be slow to catch up; the leader gives up earlier


def read_change(message: str) -> Change | None:
    """Return the requested change; None for `members`, which requests none.

    Raises:
        ProtocolError: a missing or extra word, or an invalid name, host or port.
    """
    verb, *words = message.split()
    if verb == "members":
        _expect(not words, "members takes no operands")
        return None
    form = COMMANDS[verb].form
    needed, bracket, _ = form.partition(" [")
    count = len(needed.split()) - 1
    force = bool(bracket) and words[count:] == [FORCE]
    words = words[:count] if force else words
    _expect(len(words) == count, f"the form is: {form}")
    if verb in ("add", "replace", "update"):
        *names, host, port = words
        _expect(HOST.fullmatch(host) is not None, f'"{shown(host)}" is not a host name or address')
        _expect(host not in EVERYWHERE, f"{host} is an address to listen on, not one to connect to")
        address = f"{host}:{_port(port)}"
    else:
        names, address = words, ""
    for name in names:
        _expect(NAME.fullmatch(name) is not None, f'"{shown(name)}" is not the name of a node')
    return Change(verb, names[-1], address, names[0] if verb == "replace" else "", force=force)


def change_reply(command: str, outcome: str, text: str) -> str:
    """Return the reply to a change: done, refused, or outcome unknown."""
    if outcome == "refused":
        return NOT_CHANGED(text)
    if outcome == "unknown":
        return outcome_unknown(text)
    return f"{command.split()[0].upper()} response: {text}"


def leaves_learner(reply: str) -> bool:
    """Whether a membership change ended halfway, so that the new member has no vote."""
    return _LEARNER.match(reply) is not None


def membership_facts(configurations: Configurations, commit_index: int) -> dict[str, object]:
    """Return the members as `members` and `status` print them. `outgoing` lists the voters of the
    old configuration while the configuration is joint."""
    members = configurations.latest
    return {
        "voters": list(members.voters),
        "learners": list(members.learners),
        "outgoing": list(members.outgoing),
        "members": dict(members.addresses),
        "members_since": configurations.index,
        "members_committed": configurations.index <= commit_index,
    }


def _port(text: str) -> int:
    try:
        return port_number(text, "")
    except ConfigError:
        raise _mistake(f'"{shown(text)}" is not a port: a number from 1 to 65535') from None


def _expect(fact: bool, otherwise: str) -> None:
    if not fact:
        raise _mistake(otherwise)


def _mistake(what: str) -> ProtocolError:
    return ProtocolError(NOT_CHANGED(f"{what}. Nothing was changed"))
