"""Serving the commands of a Redis client that are not batches of lines, as a machine that yields
its waits."""

from __future__ import annotations

from collections.abc import Sequence

from ...resp.commands import Call
from ...resp.forms import value_of
from ...resp.replies import OK, Failure, Flat, Value, spell
from ...resp.session import Session
from .host import Host
from .redis_requests import RedisRequest
from .waits import Replies, Waits

VERSION = "7.0.0"  # of Redis, whose commands these are


class RedisServing:
    """Serves the calls of one connection."""

    def __init__(self, host: Host, replies: Replies, session: Session) -> None:
        self._host = host
        self._replies = replies
        self._session = session

    def serve(self, run: Sequence[RedisRequest]) -> Waits[None]:
        """Reply to commands, in order."""
        for request in run:
            value = request.answer
            if request.local:
                reply = self._host.logmanager.read([request.local])[0]
            elif request.id and isinstance(value, str):  # a refused line
                reply = value
            else:
                reply = ""
            if reply:
                form, _, key = request.id.partition(" ")
                value = value_of(form, key, reply)
            elif request.call is not None:
                value = self._called(request.call)
            yield from self._replies.add_spelled(spell(value, self._session.version))

    def _called(self, call: Call) -> Value:
        """Carry out a call, and return its reply."""
        if call.name == "HELLO":
            return self._hello(call.arguments)
        return self._client(call.arguments)

    def _hello(self, words: list[str]) -> Value:
        if words and words[0] not in ("2", "3"):
            return Failure("NOPROTO unsupported protocol version")
        if words:
            self._session.version = int(words[0])
        return Flat(
            [
                ("server", "redis"),
                ("version", VERSION),
                ("proto", self._session.version),
                ("id", 1),
                ("mode", "cluster"),
                ("role", "master"),
                ("modules", []),
            ]
        )

    def _client(self, words: list[str]) -> Value:
        verb = words[0].upper()
        if verb == "SETNAME":
            self._session.name = words[1]
            return OK
        if verb == "SETINFO":
            return OK
        return Failure(f"ERR unknown subcommand '{words[0]}'. Try CLIENT HELP.")
