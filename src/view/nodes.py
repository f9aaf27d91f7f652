"""The connections to the nodes: TLS and a login, if they are given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from typing import Any

from raftline.clients.connection import ClientError, LoginFailed
from raftline.clients.lines import ConnectionEnded
from raftline.clients.options import ClientAccess
from raftline.common.address import Address
from raftline.kv.line_stream import LineStream, open_stream

CONNECT_S = 10.0
STATUS_S = 2.0
ASK_S = 30.0
SPEAKER = "view"


class UserRefused(OSError):
    """A node refuses this user, or can't be trusted; the text explains why."""


class Nodes:
    """The nodes of one cluster, with the login and the TLS for them."""

    def __init__(self, members: Mapping[str, Address], access: ClientAccess) -> None:
        self.members = dict(members)
        self._access = access

    @property
    def has_rights(self) -> bool:
        """Whether there is a login or TLS, so that the page needs a key."""
        return self._access != (None, None)

    async def open(self, name: str) -> LineStream:
        """Return a connection to a node on which this user is logged in.

        Raises:
            UserRefused: it refuses this user. OSError: the node is not reached.
        """
        place, access = self.members[name], self._access
        try:
            return await open_stream(place, SPEAKER, access.tls, access.credentials, CONNECT_S)
        except TimeoutError:
            raise OSError("no connection came about in time") from None
        except ssl.SSLError as error:
            raise UserRefused(f"TLS: {error.reason or error}") from None
        except LoginFailed as error:
            raise UserRefused(f"the login failed: {error}") from None
        except ClientError as error:
            raise OSError(str(error)) from None

    async def ask(self, name: str, line: str) -> str:
        """Type one line at a node, and return its answer as it came, "" if it hung up.

        Raises:
            OSError: the node is not reached, or did not answer in time.
        """
        stream = await self.open(name)
        try:
            stream.send(line.encode("utf-8", "replace"))
            answer = await stream.read(ASK_S)
        except ConnectionEnded:
            return ""
        except TimeoutError:
            raise OSError("no answer came in time") from None
        finally:
            stream.abort()
        return answer.decode("utf-8", "replace").rstrip("\r")

    async def status(self, name: str) -> dict[str, Any]:
        """Return what a node answers of itself, nothing if it does not answer."""
        try:
            answer = await asyncio.wait_for(self.ask(name, f"{SPEAKER}@status"), STATUS_S)
            facts: Any = json.loads(answer.partition("STATUS response: ")[2])
        except (OSError, ValueError, asyncio.TimeoutError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def know(self, members: Mapping[str, str]) -> list[str]:
        """Take the members as a node reports them; return those that are new."""
        new = {}
        for name, where in members.items():
            with contextlib.suppress(ValueError):
                new[name] = Address.parse(where)
        new = {name: place for name, place in new.items() if name not in self.members}
        self.members |= new
        return list(new)
