"""`raftline.Node`: a node of the cluster inside a program of one's own.

It is the node of `raftline-server`, with the same files and the same port, on threads of its own:
`nc`, `raftline status` and the other nodes can't tell the difference.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from raftline.config import PACES, Address, ConfigError, Pace
from raftline.console import Console
from raftline.doors import Doors, PortRefused
from raftline.interrupts import threads_without_signals
from raftline.joining import check_member
from raftline.machines import Machines, StateMachine
from raftline.reading import Readings
from raftline.replicated.awaitable import Awaitable
from raftline.replicated.clients import TIMEOUT_S, Clients
from raftline.replicated.errors import NodeError
from raftline.replicated.inside import InnerServer, LogStream
from raftline.replicated.leadership import Leader, Leadership, View
from raftline.replicated.settling import check_open, settle
from raftline.snapshots import COMPACT_BYTES
from raftline.storage.errors import StorageError
from raftline.waking import Waking

CONNECTIONS_MAX = 1024
CLOSE_S = 15.0
SLOW_TIMEOUT_S = 60.0  # an election may take 18 s, and need a second try


class Node:
    """One node, from its construction until `close` or the end of the program.

    Replicated objects ask through it: `ReplicatedDict("settings", node=node)`. Any thread may.
    """

    def __init__(
        self,
        name: str,
        *,
        members: Mapping[str, str] | None = None,
        port: int | None = None,
        dir: str | Path = "logs",  # noqa: A002 - the word of every command's option
        machines: Mapping[str, StateMachine] | None = None,
        timeout: float | None = None,
        pace: str = "fast",
        console: TextIO | None = None,
        state_file_every: float | None = None,
        open_to_network: bool = False,
    ) -> None:
        """Start the node: recover its files in `dir`, listen, take part.

        `members` says who the cluster is at birth, name to `host:port`; without it the
        `server-configuration.txt` in `dir` does. `port` is where this node listens, by default
        the one in `members`. `machines` are state machines of the program's own, by name.
        `timeout`, in seconds, is for each request of the objects (10, at the human pace 60).
        `console` gets the lines that a server prints; by default they go to the logger
        "raftline", warnings as warnings. With
        `state_file_every`, in seconds, NAME.state_machine is written that soon after a change,
        for people to read; else only when the log is long.

        Raises:
            NodeError: it can't be; the message is one line that says why and what to do.
            TypeError, ValueError: the initial state of one of `machines` is no JSON.
        """
        self.name = name
        self.exit_status: int | None = None  # of the node, once it has stopped
        own_machines = Machines(machines)
        if pace not in PACES:
            raise NodeError(f"there is no pace {pace!r}; there is {', '.join(sorted(PACES))}")
        try:
            self._configuration = settle(Path(dir), name, members)
            self.address = self._configuration.members[name]
            check_open(self.address.host, open_to_network)
            self._leadership = Leadership(name)
            with threads_without_signals():
                self._console = Console(console or cast(TextIO, LogStream()), verbose=False)
                self._doors = Doors(
                    self.address.host, port or self.address.port, CONNECTIONS_MAX
                )
            self._server = self._recover(own_machines, PACES[pace], state_file_every)
        except (ConfigError, PortRefused, StorageError) as error:
            self._abandon()
            raise NodeError(str(error)) from None
        self._ended = threading.Event()
        if timeout is None:
            timeout = TIMEOUT_S if pace == "fast" else SLOW_TIMEOUT_S
        others = [str(each) for other, each in self._members() if other != name]
        self._clients = Clients(str(self.address), *others, name=f"{name}.program", timeout=timeout)
        with threads_without_signals():
            self._leadership.start()
            threading.Thread(target=self._run, name=f"{name} node", daemon=True).start()
        atexit.register(self.close)

    def _recover(
        self, machines: Machines, pace: Pace, state_file_every: float | None
    ) -> InnerServer:
        say = self._console.say
        server = InnerServer(
            Waking(self.name, self._configuration, say, machines=machines), pace, self._console,
            readings=Readings("index", False), compact_bytes=COMPACT_BYTES,
            leadership=self._leadership, state_file_every=state_file_every,
        )  # fmt: skip
        server.wake()
        try:
            for note in check_member(server.node.state, self._configuration):
                say(note)
        except Exception:
            server.logmanager.close()
            raise
        return server

    def _members(self) -> list[tuple[str, Address]]:
        return list(self._configuration.members.items())

    def _abandon(self) -> None:
        with contextlib.suppress(AttributeError):
            self._doors.close()
        with contextlib.suppress(AttributeError):
            self._console.close()

    def _run(self) -> None:
        self.exit_status = self._server.run(self._doors)
        self._leadership.stop()
        self._console.close()
        self._ended.set()
        if self.exit_status:
            logging.getLogger("raftline").error(
                "%s has stopped (status %d, see above); objects are asked of the other nodes",
                self.name, self.exit_status,
            )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Node {self.name} on {self.address}>"

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: hand over the leadership if it is here, close files and port. Again: nothing."""
        atexit.unregister(self.close)
        self._clients.close()
        self._server.stop()
        self._ended.wait(CLOSE_S)

    @property
    def is_running(self) -> bool:
        """Whether the node takes part; it stops by itself only where it must (see the log)."""
        return not self._ended.is_set()

    # --- asking the cluster ----------------------------------------------------------------------

    def request(self, command: str, timeout: float | None = None) -> str:
        """Return the cluster's reply to one command of the line protocol; see `Clients.request`."""
        return self._clients.request(command, timeout)

    @property
    def awaitable(self) -> Awaitable:
        """This node for asyncio: `await node.awaitable.wait_until_leader()`."""
        return Awaitable(self)

    def status(self) -> dict[str, Any]:
        """Return what `status` tells of this node."""
        return self._server.driver.status()

    # --- who leads -------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self.is_running and self._leadership.view.leader == self.name

    def get_leader(self) -> Leader | None:
        """Return who leads as far as this node knows; as text, its address."""
        return self._leader_of(self._leadership.view) if self.is_running else None

    def wait_until_leader(self, name: str | None = None, timeout: float | None = None) -> bool:
        """Wait until `name` leads, by default this node; return whether that came in time."""
        wanted = name or self.name
        return self._leadership.wait_for(lambda view: view.leader == wanted, timeout)

    def wait_for_leader(self, timeout: float | None = None) -> Leader | None:
        """Wait until anybody leads, and return who; None where nobody did in time."""
        self._leadership.wait_for(lambda view: bool(view.leader), timeout)
        return self.get_leader()

    def on_leader(self, call: Callable[[], object]) -> Callable[[], object]:
        """Call `call` each time this node becomes the leader; at once if it is. A decorator.

        All such calls are made by one thread, in the order of events; it may use objects.
        """
        was = [False]

        def told(view: View) -> None:
            before, was[0] = was[0], view.leader == self.name
            if was[0] and not before:
                call()

        self._leadership.tell(told)
        return call

    def on_follower(self, call: Callable[[], object]) -> Callable[[], object]:
        """Call `call` each time this node begins to follow somebody; at once if it does."""
        follows = [False]

        def told(view: View) -> None:
            before, follows[0] = follows[0], view.leader not in ("", self.name)
            if follows[0] and not before:
                call()

        self._leadership.tell(told)
        return call

    def on_leader_change(
        self, call: Callable[[Leader], object]
    ) -> Callable[[Leader], object]:
        """Call `call` with the leader each time that there is another one; at once if there is."""
        last = [""]

        def told(view: View) -> None:
            leader = self._leader_of(view)
            if leader is not None and leader.name != last[0]:
                last[0] = leader.name
                call(leader)

        self._leadership.tell(told)
        return call

    def _leader_of(self, view: View) -> Leader | None:
        if not view.leader:
            return None
        address = self._server.book.address(view.leader)
        return None if address is None else Leader(view.leader, *address)
