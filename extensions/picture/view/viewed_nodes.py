"""The view's connections to nodes, with TLS and a login if these are given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from typing import Any

from raftline.clients.asyncio.line_protocol import ends_within
from raftline.clients.asyncio.line_stream import AioNodeShell
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import ClientError, Deadline, LoginFailed
from raftline.clients.requests.one_node import Connect, Talk, answer_to
from raftline.clients.steps import carry_out_awaiting
from raftline.clients.terminal.exit_status import EXIT_LOGIN, EXIT_TLS
from raftline.common.address import Address
from raftline.net.line_connection import ConnectionEnded

CONNECT_S = 10.0
STATUS_S = 2.0
ASK_S = 30.0
SPEAKER = "view"


class UserRefused(OSError):
    """A node refuses this user, or can't be trusted. The text explains why."""

    def __init__(self, why: str, exit_status: int) -> None:
        super().__init__(why)
        self.exit_status = exit_status


class ViewedNodes:
    """The nodes of one cluster, with their login and TLS."""

    def __init__(self, members: Mapping[str, Address], access: ClientAccess) -> None:
        self._places = {name: [place] for name, place in members.items()}  # next to try: first
        self._access = access

    @property
    def members(self) -> dict[str, Address]:
        """The members, each with the address to try next."""
        return {name: places[0] for name, places in self._places.items()}

    @property
    def has_rights(self) -> bool:
        """Whether there is a login or TLS, which means that the page needs a key."""
        return self._access != (None, None)

    async def carry_out(self, talk: Talk[Any]) -> Any:
        """Run a conversation with one node, and return its result."""
        shell = AioNodeShell(SPEAKER, self._access, asks_codes=False)
        try:
            return await carry_out_awaiting(talk, shell.do)
        finally:
            shell.close()

    def connecting(self, name: str) -> Talk[Address]:
        """Connect to a node, and log in.

        Raises:
            UserRefused: the node refuses this user. OSError: the node can't be reached.
        """
        address = self.members[name]
        try:
            yield Connect(address, CONNECT_S)
        except ssl.SSLError as error:
            raise UserRefused(f"TLS: {error.reason or error}", EXIT_TLS) from None
        except LoginFailed as error:
            raise UserRefused(f"the login failed: {error}", EXIT_LOGIN) from None
        except (ClientError, OSError) as error:
            self.missed(name, address)
            in_time = "no connection in time"
            raise OSError(in_time if isinstance(error, TimeoutError) else str(error)) from None
        return address

    def missed(self, name: str, address: Address) -> None:
        """Try the next address of a node, if there is one, since it was not found at this one."""
        places = self._places[name]
        if places[0] == address:
            places.append(places.pop(0))

    def asking(self, name: str, line: str) -> Talk[str]:
        """Send one line to a node, and return its raw answer, or "" if it hung up.

        Raises:
            OSError: the node can't be reached, or did not answer in time.
        """
        address = yield from self.connecting(name)
        try:
            raw = yield from answer_to(line.encode("utf-8", "replace"), address, Deadline(ASK_S))
        except ConnectionEnded:
            return ""
        except TimeoutError:
            raise OSError("no answer in time") from None
        return raw.decode("utf-8", "replace")

    async def ask(self, name: str, line: str) -> str:
        """Run `asking`."""
        answer: str = await self.carry_out(self.asking(name, line))
        return answer

    async def status(self, name: str) -> dict[str, Any]:
        """Return a node's status, or an empty dict if it does not answer."""
        asking = asyncio.ensure_future(self.ask(name, f"{SPEAKER}@status"))
        if not await ends_within(asking, STATUS_S):
            return {}
        try:
            facts: Any = json.loads(asking.result().partition("STATUS response: ")[2])
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def know(self, members: Mapping[str, str]) -> list[str]:
        """Take the members that a node reports, and return the new ones. The new address of a moved
        member is tried after the old one has failed."""
        new = []
        for name, where in members.items():
            with contextlib.suppress(ValueError):
                place = Address.parse(where)
                if name not in self._places:
                    new.append(name)
                if place not in self._places.setdefault(name, []):
                    self._places[name].append(place)
        return new
