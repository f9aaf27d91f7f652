"""What a controller asks of a leader: to store a pair, to show what is committed, who leads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from raftline.controller.retrieval import numbered, page
from raftline.node.queue import Batch
from raftline.wire.escapes import ProtocolError, unescape
from raftline.wire.protocol import NO_LEADER, NOT_LEADER, error, outcome_unknown
from raftline.wire.requests import Request, read_request

if TYPE_CHECKING:
    from raftline.node.server import Server

COMMITTED = "COMMITED_LOGS"  # spelled as the course's programs read it


class Answer(NamedTuple):
    """What came of an order. `line` is the reply to a person, `key` and `value` a program's."""

    verb: str  # of the order; LEADER_INFO where another server is to be asked
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


def store(server: Server, operands: str, request: Request) -> Answer:
    """Write a pair through the log; the answer comes once a quorum has it on disk.

    Raises:
        ProtocolError: key or value are missing, or too long.
    """
    try:
        asked = read_request(request.sender, request.id, f"set {operands}", server.limits)
    except ProtocolError as mistake:
        form = str(mistake).replace("set KEY VALUE", "STORE KEY VALUE")
        raise ProtocolError(form) from None
    numbered_as = f"{request.sender}#{request.id}@" if request.id else ""
    batch = Batch([numbered_as + asked.command], is_read=False)
    server.driver.submit(batch)
    if not batch.wait(server.patience_s):
        return sorry("STORE", outcome_unknown("no quorum answered in time"))
    reply = batch.replies[0]
    if reply.startswith("Sorry, "):
        return _not_done(server, "STORE", reply)
    _, key, value = asked.command.split(" ", 2)
    return Answer("STORE", f"{key} set to {value}", unescape(key), unescape(value))


def retrieve(server: Server, words: Sequence[str]) -> Answer:
    """Return what is committed, once this server is known to lead.

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
    server.driver.submit(batch)
    if not batch.wait(server.patience_s):
        return leader_info(server)
    if batch.replies:
        return _not_done(server, "RETRIEVE", batch.replies[0])
    base, committed = server.driver.committed()
    entries, more = page(numbered(committed), after)
    facts: dict[str, object] = {COMMITTED: entries, "term": server.node.view.term}
    if base:
        facts["behind_snapshot_of"] = base
    if more:
        facts["more"] = f"RETRIEVE after {more}"
    for_programs = {**entries, **({"more": f"after {more}"} if more else {})}
    return Answer("RETRIEVE", json.dumps(facts), COMMITTED, for_programs)


def leader_info(server: Server) -> Answer:
    """Return who leads, as far as this server has heard."""
    view = server.node.view
    leader = view.leader
    address = server.book.address(leader) if leader else None
    where = str(address) if address else view.membership.addresses.get(leader or "")
    facts = {"LEADER": leader, "address": where, "term": view.term}
    return Answer("LEADER_INFO", json.dumps(facts), "LEADER", leader)


def _not_done(server: Server, verb: str, reply: str) -> Answer:
    """Return whom to ask where this server does not lead, else what it said."""
    if reply.startswith((NOT_LEADER, NO_LEADER)):
        return leader_info(server)
    return Answer(verb, reply, is_done=False)
