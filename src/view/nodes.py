"""The connections to the nodes: TLS and a login, if they are given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from typing import Any

from raftline.clients.connection import ClientError, LoginFailed
from raftline.clients.login import text_in
from raftline.clients.options import ClientAccess
from raftline.common.address import Address
from raftline.kv.asker import take_steps, tls_arguments

LINE_BYTES_MAX = 8 << 20
CONNECT_S = 10.0
STATUS_S = 2.0
ASK_S = 30.0
SPEAKER = "view"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refusal(OSError):
    """A node that is reached takes nobody like us, or can't be trusted; the text explains why."""


class Nodes:
    """The nodes of one cluster, and how they are spoken to."""

    def __init__(self, members: Mapping[str, Address], access: ClientAccess) -> None:
        self.members = dict(members)
        self._access = access

    @property
    def has_rights(self) -> bool:
        """Whether the nodes may know who asks, so that a page is not for everybody."""
        return self._access != (None, None)

    async def open(self, name: str) -> Streams:
        """Return a connection to a node on which this user is logged in.

        Raises:
            Refusal: it does not take us. OSError: the node is not reached.
        """
        host, port = self.members[name]
        try:
            tls = tls_arguments(self._access.tls, host)
            opening = asyncio.open_connection(host, port, limit=LINE_BYTES_MAX, **tls)
            reader, writer = await asyncio.wait_for(opening, CONNECT_S)
        except asyncio.TimeoutError:
            raise OSError("no connection came about in time") from None
        except ssl.SSLError as error:
            raise Refusal(f"TLS: {error.reason or error}") from None
        try:
            await self._log_in(reader, writer)
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._access.credentials is None:
            return

        async def answer_to(command: str) -> str:
            return text_in(await said(reader, writer, f"{SPEAKER}@{command}"))

        try:
            await take_steps(self._access.credentials, answer_to)
        except LoginFailed as error:
            raise Refusal(f"the login failed: {error}") from None
        except ClientError as error:
            raise OSError(str(error)) from None

    async def ask(self, name: str, line: str) -> str:
        """Type one line at a node, and return its answer as it came, "" if it hung up.

        Raises:
            OSError: the node is not reached, or did not answer in time.
        """
        reader, writer = await self.open(name)
        try:
            answer = await said(reader, writer, line)
        finally:
            writer.close()
        return answer.decode("utf-8", "replace")

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


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str) -> bytes:
    """Return the line that answers one that is sent, without its end; "" if there is none.

    Raises:
        OSError: none came in time, or it is too long.
    """
    writer.write(line.encode("utf-8", "replace") + b"\n")
    try:
        return (await asyncio.wait_for(reader.readline(), ASK_S)).rstrip(b"\r\n")
    except asyncio.TimeoutError:
        raise OSError("no answer came in time") from None
    except ValueError:
        raise OSError(f"the answer is longer than {LINE_BYTES_MAX >> 20} MiB") from None
