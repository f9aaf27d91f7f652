"""The conversations with all nodes: what each observes, and lines that are typed on the page."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping

from raftline.clients.connection import ClientError, why_unreachable
from raftline.clients.login import of_environment, text_in
from raftline.common.address import Address
from raftline.kv.asker import take_steps, tls_arguments
from raftline.view.picture import Event, Picture
from raftline.view.thinning import BATCH_MAX, thinned

AGAIN_S = 0.5  # between two tries to reach a node
BATCH_S = 0.05
KEPT = 6000  # events for a page that is opened later
WAITING_MAX = 20_000  # events of one batch
LINE_BYTES_MAX = 8 << 20
ASK_S = 30.0
SPEAKER = "view"
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)  # of JSON of another form


class Feed:
    """Observes all nodes, and gives each page what happens."""

    def __init__(self, members: Mapping[str, Address]) -> None:
        self.members = members
        self.picture = Picture()
        self.kept: deque[Event] = deque(maxlen=KEPT)
        self.left_out = 0
        self._waiting: list[Event] = []
        self._pages: set[asyncio.Queue[str]] = set()
        self._clocks: dict[str, tuple[float, float]] = {}  # a node's clock, and ours then
        self.refusals: dict[str, str] = {}  # why a node is not observed

    async def run(self) -> None:
        """Observe until this task is cancelled."""
        tasks = [self._observe(name, address) for name, address in self.members.items()]
        await asyncio.gather(self._hand_out(), *tasks)

    # --- the nodes ------------------------------------------------------------------------------

    async def _observe(self, name: str, address: Address) -> None:
        while True:
            try:
                reader, writer = await self._connected(name)
            except OSError as error:
                self.refusals[name] = why_unreachable(address, error, ASK_S)
                await asyncio.sleep(AGAIN_S)
                continue
            except ClientError as refusal:
                self.refusals[name] = str(refusal)
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                await self._read(name, reader, writer)
            except (OSError, *UNREADABLE):
                pass  # it is gone, or says what this build can't read: try again
            finally:
                writer.close()
            if name in self._clocks:
                self._put(self.picture.end(name, time.monotonic()))
                del self._clocks[name]
            await asyncio.sleep(AGAIN_S)

    async def _read(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked_s = time.monotonic()
        writer.write(f"{SPEAKER}@observe json all\n".encode())
        while line := await reader.readline():
            text = line.decode("utf-8", "replace").partition("@")[2]
            word, _, rest = text.partition(" ")
            if word == "OBSERVE":
                self.refusals.pop(name, None)
                state = json.loads(rest.removeprefix("response: "))
                self._clocks[name] = (float(state["clock"]), time.monotonic())
                self._put(self.picture.begin(name, state, asked_s, time.monotonic()))
            elif rest.startswith("lost "):
                self.left_out += int(rest.split(" ")[1])
            elif word == "OBSERVED":
                told = json.loads(rest)
                self._clocks[name] = (float(told["at"]), time.monotonic())
                self._put(self.picture.step(name, told))
            else:
                self.refusals[name] = text.strip().removeprefix("Sorry, ")
                return

    async def _connected(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to a node, with TLS and a login where this process has them.

        Raises:
            OSError: the node is not reached. ClientError: it does not take the login.
        """
        host, port = self.members[name]
        tls = tls_arguments(None, host)
        reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX, **tls)
        credentials = of_environment()
        if credentials is None:
            return reader, writer

        async def said(command: str) -> str:
            writer.write(f"{SPEAKER}@{command}\n".encode())
            line = await asyncio.wait_for(reader.readline(), ASK_S)
            return text_in(line.removesuffix(b"\n"))

        try:
            await take_steps(credentials, said)
        except asyncio.TimeoutError:
            writer.close()
            raise OSError("no answer came in time") from None
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def ask(self, name: str, line: str) -> str:
        """Type one line at a node, and return its answer as it came.

        Raises:
            OSError: the node is not reached, or did not answer in time.
        """
        try:
            reader, writer = await self._connected(name)
        except ClientError as refusal:
            raise OSError(str(refusal)) from None
        try:
            writer.write(line.encode("utf-8", "replace") + b"\n")
            answer = await asyncio.wait_for(reader.readline(), ASK_S)
        except asyncio.TimeoutError:
            raise OSError("no answer came in time") from None
        finally:
            writer.close()
        return answer.decode("utf-8", "replace").rstrip("\r\n")

    # --- the pages ------------------------------------------------------------------------------

    def open_page(self) -> asyncio.Queue[str]:
        """Return what a page is sent: all that is kept first, then each batch."""
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
        queue.put_nowait(self._spell(list(self.kept)))
        self._pages.add(queue)
        return queue

    def close_page(self, queue: asyncio.Queue[str]) -> None:
        """Send nothing more to a page."""
        self._pages.discard(queue)

    def everything(self) -> dict[str, object]:
        """Return what a saved page holds."""
        return {"events": list(self.kept), "offsets": self.picture.clocks.solve(),
                "members": list(self.members), "left_out": self.left_out}  # fmt: skip

    def _put(self, events: list[Event]) -> None:
        if len(self._waiting) < WAITING_MAX:
            self._waiting += events
        else:
            self.left_out += len(events)

    async def _hand_out(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(BATCH_S)
            now = time.monotonic()
            room, before = int(BATCH_MAX * max(1.0, (now - before) / BATCH_S)), now
            clocks = {name: at + now - ours for name, (at, ours) in self._clocks.items()}
            self._put(list(self.picture.lost(clocks)))
            events, self._waiting = self._waiting, []
            if not events:
                continue
            events, left_out = thinned(events, room)
            self.left_out += left_out
            self.kept.extend(events)
            batch = self._spell(events)
            for page in list(self._pages):
                if page.full():  # a page that stands still begins anew with what is kept
                    while not page.empty():
                        page.get_nowait()
                    page.put_nowait(self._spell(list(self.kept), anew=True))
                else:
                    page.put_nowait(batch)

    def _spell(self, events: list[Event], *, anew: bool = False) -> str:
        return json.dumps(
            {"events": events, "offsets": self.picture.clocks.solve(), "anew": anew,
             "now": time.monotonic(), "left_out": self.left_out}
        )  # fmt: skip
