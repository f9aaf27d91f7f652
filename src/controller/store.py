"""The orders for a leader: store a pair, show the committed entries, name the leader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from raftline.controller.controlled import ControlledNode
from raftline.controller.course_lines import numbered, page
from raftline.net.batch import Batch
from raftline.wire.commands import Request, read_request
from raftline.wire.escapes import ProtocolError, unescape
from raftline.wire.protocol import NO_LEADER, NOT_LEADER, error, outcome_unknown

COMMITTED = "COMMITED_LOGS"  # spelled as the course's programs read it


class Answer(NamedTuple):
    """The outcome of an order. `line` is the reply to a person, `key` and `value` a program's."""

    verb: str  # of the order; LEADER_INFO where another node is to be asked
    text: str
    key: str = ""
    value: object = None
    is_done: bool = True

    @property
    def line(self) -> str:
        return f"{self.verb} response: {self.text}" if self.is_done else self.text


def sorry(verb: str, why: str) -> Answer:
    """Return the answer that says why an order was not carried out."""
    return Answer(verb, why if why.startswith("Sorry, ") else error(why), is_done=False)


def store(node: ControlledNode, operands: str, request: Request) -> Answer:
    """Write a pair through the log; the answer comes once a quorum has it on disk.

    Raises:
        ProtocolError: key or value are missing, or too long.
    """
    try:
        asked = read_request(request.sender, request.id, f"set {operands}", node.limits)
    except ProtocolError as mistake:
        form = str(mistake).replace("set KEY VALUE", "STORE KEY VALUE")
        raise ProtocolError(form) from None
    numbered_as = f"{request.sender}#{request.id}@" if request.id else ""
    batch = Batch([numbered_as + asked.command], is_read=False)
    node.submit(batch)
    if not batch.wait(node.patience_s):
        return sorry("STORE", outcome_unknown("no quorum answered in time"))
    reply = batch.replies[0]
    if reply.startswith("Sorry, "):
        return _not_done(node, "STORE", reply)
    _, key, value = asked.command.split(" ", 2)
    return Answer("STORE", f"{key} set to {value}", unescape(key), unescape(value))


def retrieve(node: ControlledNode, words: Sequence[str]) -> Answer:
    """Return what is committed, once this node is known to lead.

    Raises:
        ProtocolError: the words are not of the form.
    """
    match words:
        case []:
            after = 0
        case ["after", number] if number.isascii() and number.isdigit() and len(number) < 19:
            after = int(number)
        case _:
            raise ProtocolError("the form is: RETRIEVE [after NUMBER]")
    batch = Batch(["RETRIEVE"], is_read=True)
    node.submit(batch)
    if not batch.wait(node.patience_s):
        return leader_info(node)
    if batch.replies:
        return _not_done(node, "RETRIEVE", batch.replies[0])
    base, committed = node.committed()
    entries, more = page(numbered(committed), after)
    facts: dict[str, object] = {COMMITTED: entries, "term": node.view.term}
    if base:
        facts["behind_snapshot_of"] = base
    if more:
        facts["more"] = f"RETRIEVE after {more}"
    for_programs = {**entries, **({"more": f"after {more}"} if more else {})}
    return Answer("RETRIEVE", json.dumps(facts), COMMITTED, for_programs)


def leader_info(node: ControlledNode) -> Answer:
    """Return who leads, as far as this node has heard."""
    view = node.view
    leader = view.leader
    address = node.address(leader) if leader else None
    where = str(address) if address else view.membership.addresses.get(leader or "")
    facts = {"LEADER": leader, "address": where, "term": view.term}
    return Answer("LEADER_INFO", json.dumps(facts), "LEADER", leader)


def _not_done(node: ControlledNode, verb: str, reply: str) -> Answer:
    """Return whom to ask where this node does not lead, else what it said."""
    if reply.startswith((NOT_LEADER, NO_LEADER)):
        return leader_info(node)
    return Answer(verb, reply, is_done=False)
