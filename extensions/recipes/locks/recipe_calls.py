"""The requests of locks and queues: how each is written, and how its reply is read. Pure.

docs/use/protocol.md has the requests and their replies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from raftline.clients.calls.calls import Call, answered, raw_text
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.wire.done_reply import NO_SUCH_LEASE, DoneReply
from raftline.wire.protocol import escape

from ..command_rows import IN_LINE, NOT_FREE


class Seat(NamedTuple):
    """The key of a holder, and its fencing token: the index of the entry that set the key."""

    key: str
    token: int


class InLine(NamedTuple):
    """The key of a claim that waits."""

    key: str


class Delivery(NamedTuple):
    """A job that is delivered: its number, its token, how often it was delivered, its value."""

    number: int
    token: int
    deliveries: int
    value: str


class Dequeued(NamedTuple):
    """The numbers of the jobs that a `dequeue` ended, those that it delivered, and the key of its
    place in line."""

    ended: list[int]
    jobs: list[Delivery]
    place: str | None


def hold(
    prefix: str, mode: str, claim: str, value: str, *, now: bool = False
) -> Call[Seat | InLine | None]:
    """Claim a seat; return it, or the place in line. With `now`, return None if it is not free.

    Raises:
        LeaseLost: the lease of the claim has ended.
    """

    def read(text: str) -> Seat | InLine | None:
        reply = _of_lease(text)
        if reply.word == NOT_FREE:
            return None
        if reply.word == IN_LINE:
            return InLine(raw_text(reply.rest))
        if reply.word:
            raise ValueError(text)
        key, _, token = reply.rest.rpartition(" ")
        return Seat(raw_text(key), int(token))

    words = f"{mode} {'now ' if now else ''}{claim} {escape(value, key=False)}"
    return Call(f"hold {_formatted(prefix)} {words}", read)


def unhold(prefix: str, claim: str) -> Call[int | None]:
    """Give up the seat or the place in line of a claim; return 1, or None if it had neither."""

    def read(text: str) -> int | None:
        return None if answered(text).word else 1

    return Call(f"unhold {_formatted(prefix)} {claim}", read)


def abandon(prefix: str, claim: str) -> Call[int | None]:
    """Give up all that a claim has, or may still get by a request that is under way; return 1, or
    None if its lease has ended."""

    def read(text: str) -> int | None:
        return None if answered(text).word else 1

    return Call(f"abandon {_formatted(prefix)} {claim}", read)


def giving_up(prefix: str, claim: str, is_in_doubt: bool) -> Call[int | None]:
    """Give up a claim. If it is in doubt, a copy of a request of it may still be under way."""
    return (abandon if is_in_doubt else unhold)(prefix, claim)


def enqueue(prefix: str, value: str) -> Call[int]:
    """Add a job; return its number."""

    def read(text: str) -> int:
        return int(answered(text).rest)

    return Call(f"enqueue {_formatted(prefix)} {escape(value, key=False)}", read)


def dequeue(
    prefix: str,
    jobs_max: int,
    deliveries_max: int,
    claim: str,
    ends: Sequence[str] = (),
    *,
    now: bool = False,
    waits_as: str = "",
) -> Call[Dequeued]:
    """End or give back jobs of a claim, or take them over (`ending`, `taking_over`); then take
    others or a place in line, which is that of the claim `waits_as` if that is given. With `now`,
    or for no jobs, the claim has no place in line afterwards.

    Raises:
        LeaseLost: the lease of a claim has ended, so nothing was done.
    """

    def read(text: str) -> Dequeued:
        reply = _of_lease(text)
        if reply.word:
            raise ValueError(text)
        answer = json.loads(reply.rest)
        token = int(answer["index"])
        jobs = [
            Delivery(int(each["number"]), token, int(each["deliveries"]), each["value"])
            for each in answer["jobs"]
        ]
        return Dequeued([int(number) for number in answer["ended"]], jobs, answer["place"])

    how = ["now"] if now else ["as", waits_as] if waits_as else []
    words = [str(jobs_max), str(deliveries_max), *how, claim, *ends]
    return Call(f"dequeue {_formatted(prefix)} {' '.join(words)}", read)


def ending(number: int, token: int, *, is_back: bool = False) -> str:
    """Return the word of a `dequeue` that ends a job, or gives it back."""
    return f"{number}:{token}{':back' if is_back else ''}"


def taking_over(number: int, token: int, holder: str) -> str:
    """Return the word of a `dequeue` that takes a job over from another claim."""
    return f"{number}:{token}:{holder}"


def requeue(prefix: str, number: int) -> Call[bool]:
    """Return a dead job to the waiting ones; return whether it was dead."""

    def read(text: str) -> bool:
        return not answered(text).word

    return Call(f"requeue {_formatted(prefix)} {number}", read)


def _formatted(prefix: str) -> str:
    return escape(prefix, key=True)


def _of_lease(text: str) -> DoneReply:
    """Return the parts of a reply. Raises LeaseLost if the lease of a claim has ended."""
    reply = answered(text)
    if reply.word == NO_SUCH_LEASE:
        raise LeaseLost(f"{reply.rest} has ended, so nothing was done")
    return reply
