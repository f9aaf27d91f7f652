"""The connections to all nodes, for their steps and for lines typed on the page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping

from raftline.clients.requests.one_node import HangUp, NextLine, Rest, Send, Talk
from raftline.clients.terminal.exit_status import exit_status_to
from raftline.common.address import Address
from raftline.common.process.console import safe_line
from raftline.wire.replies.replies import RequestOutcome

from .picture import Event, Picture
from .thinning import BATCH_MAX, remembered, thinned
from .viewed_nodes import SPEAKER, UserRefused, ViewedNodes

AGAIN_S = 0.5  # between two attempts to reach a node
AGAIN_REFUSED_S = 5.0  # longer, since a node counts failed logins
BATCH_S = 0.05
SILENCE_S = 86_400.0  # an idle node may be silent for a long time; then the view reconnects
KEPT = 6000  # events for a page that is opened later
WAITING_MAX = 20_000  # events of one batch
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)  # for JSON of an unknown form


class PageFeed:
    """Observes all nodes, and sends the events to each page."""

    def __init__(self, nodes: ViewedNodes, say: Callable[[str], None] = print) -> None:
        """Prepare the feed. `say` prints a line on the console if a node refuses to be observed."""
        self.nodes = nodes
        self._say = say
        self.problems: dict[str, str] = {}  # by node, for nodes that are not observed now
        self.exit_statuses: dict[str, int] = {}  # the status of each of these problems
        self._has_news = False  # about members or problems
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.picture = Picture()
        self.kept: list[Event] = []
        self.left_out = 0
        self._waiting: list[Event] = []
        self._pages: set[asyncio.Queue[str]] = set()
        self._clocks: dict[str, tuple[float, float]] = {}  # a node's clock, and ours then
        self._gone: dict[str, tuple[float, float]] = {}  # the same for nodes that ended

    async def run(self) -> None:
        """Observe until this task is cancelled."""
        try:
            self._observe_all()
            await self._broadcast()
        finally:
            for task in self._tasks.values():
                task.cancel()

    # --- the nodes ------------------------------------------------------------------------------

    async def heard(self) -> None:
        """Wait until each node is observed, or there is a reason why not."""
        while not set(self.nodes.members) <= {*self._clocks, *self.problems}:
            await asyncio.sleep(BATCH_S)

    def _observe_all(self) -> None:
        for name in self.nodes.members:
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self.nodes.carry_out(self._observing(name)))
                self._has_news = True

    def _know(self, sent: Event) -> None:
        """Also observe the members that a node names."""
        members = sent.get("members")
        if isinstance(members, Mapping) and self.nodes.know(members):
            self._observe_all()

    def _note_problem(
        self,
        name: str,
        problem: str,
        status: int = RequestOutcome.REFUSED,
        *,
        is_refusal: bool = False,
    ) -> None:
        """Keep the reason why a node is not observed, or "" if it is. Print a refusal."""
        self.exit_statuses[name] = status
        if problem != self.problems.get(name, ""):
            self.problems[name], self._has_news = problem, True
            if is_refusal:
                self._say(safe_line(f"[!] {name} can't be observed: {problem}"))

    def _observing(self, name: str) -> Talk[None]:
        """Observe a node forever. Reconnect if it is gone, or refuses this user."""
        while True:
            try:
                address = yield from self.nodes.connecting(name)
            except UserRefused as error:
                self._note_problem(name, str(error), error.exit_status, is_refusal=True)
                yield Rest(AGAIN_REFUSED_S)
                continue
            except OSError:
                self._note_problem(name, "it can't be reached")
                yield Rest(AGAIN_S)
                continue
            with contextlib.suppress(OSError, *UNREADABLE):  # gone, or another build: try again
                yield from self._reading(name, address)
            yield HangUp()
            if name in self._clocks:
                self._put(self.picture.end(name, time.monotonic()))
                self._gone[name] = self._clocks.pop(name)
            yield Rest(AGAIN_REFUSED_S if self.problems.get(name) else AGAIN_S)

    def _reading(self, name: str, address: Address) -> Talk[None]:
        """Take the lines of a node.

        Raises:
            OSError: the connection has ended.
        """
        asked_s = time.monotonic()
        yield Send(f"{SPEAKER}@observe json all".encode())
        while True:
            line = yield NextLine(time.monotonic() + SILENCE_S)
            said_by, _, text = line.decode("utf-8", "replace").partition("@")
            word, _, rest = text.partition(" ")
            if said_by != name:
                self.nodes.missed(name, address)
                self._note_problem(name, f"{said_by} is at its place, {address}")
                return
            if word == "OBSERVE":
                state = json.loads(rest.removeprefix("response: "))
                self._clocks[name] = (float(state["clock"]), time.monotonic())
                self._note_problem(name, "")
                self._know(state)
                self._put(self.picture.begin(name, state, asked_s, time.monotonic()))
            elif rest.startswith("lost "):
                self.left_out += int(rest.split(" ")[1])
            elif word == "OBSERVED":
                sent = json.loads(rest)
                self._clocks[name] = (float(sent["at"]), time.monotonic())
                self._know(sent)
                self._put(self.picture.step(name, sent))
            else:
                status = exit_status_to("observe", text.rstrip())
                self._note_problem(name, text.rstrip(), status, is_refusal=True)
                return

    # --- the pages ------------------------------------------------------------------------------

    def open_page(self) -> asyncio.Queue[str]:
        """Return the queue of a page, with all kept events first and then each batch."""
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
        queue.put_nowait(self._encode(list(self.kept)))
        self._pages.add(queue)
        return queue

    def close_page(self, queue: asyncio.Queue[str]) -> None:
        """Stop sending to a page."""
        self._pages.discard(queue)

    def everything(self) -> dict[str, object]:
        """Return the content of a saved page."""
        return {"events": list(self.kept), "offsets": self.picture.clocks.solve(),
                "members": list(self.nodes.members), "left_out": self.left_out}  # fmt: skip

    def _put(self, events: list[Event]) -> None:
        if len(self._waiting) < WAITING_MAX:
            self._waiting += events
        else:
            self.left_out += len(events)

    async def _broadcast(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(BATCH_S)
            now = time.monotonic()
            room, before = int(BATCH_MAX * max(1.0, (now - before) / BATCH_S)), now
            last_clocks = {**self._gone, **self._clocks}
            clocks = {name: at + now - ours for name, (at, ours) in last_clocks.items()}
            self._put(list(self.picture.lost(clocks)))
            events, self._waiting = self._waiting, []
            if not events and not self._has_news:
                continue
            self._has_news = False
            events, left_out = thinned(events, room)
            self.left_out += left_out
            self.kept = remembered([*self.kept, *events], KEPT)
            batch = self._encode(events, thinned=bool(left_out))
            for page in list(self._pages):
                if page.full():  # a stopped page restarts with the kept events
                    while not page.empty():
                        page.get_nowait()
                    page.put_nowait(self._encode(list(self.kept), reset=True))
                else:
                    page.put_nowait(batch)

    def order(self, node: str, text: str) -> None:
        """Show an order to a node on all pages."""
        self._put([{"k": "act", "node": node, "at": time.monotonic(), "text": text}])

    def _encode(self, events: list[Event], *, reset: bool = False, thinned: bool = False) -> str:
        return json.dumps(
            {
                "events": events,
                "offsets": self.picture.clocks.solve(),
                "anew": reset,
                "thinned": thinned,
                "now": time.monotonic(),
                "left_out": self.left_out,
                "members": list(self.nodes.members),
                "problems": self.problems,
            }
        )
