"""`raftline.Node`: a node of the cluster inside a Python program.

It is the node of `raftline-server`, with the same files and the same port, on extra threads. `nc`,
`raftline status` and the other nodes see no difference.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from raftline.clients.calls.listeners import plain
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import credentials_of
from raftline.clients.connections.client_tls import ClientTls
from raftline.clients.requests.pool import TIMEOUT_S, Clients, time_limit
from raftline.clients.requests.times import Seconds
from raftline.common.address import port_in
from raftline.common.config import PACES, ConfigError, Pace, PortRefused
from raftline.common.extensions import is_there
from raftline.common.no_copies import NoCopies
from raftline.common.process.console import Console
from raftline.common.process.guarded_thread import begin_thread
from raftline.common.process.signals import threads_without_signals
from raftline.common.public import public
from raftline.net.connections.connection_slots import fewer_than_wanted
from raftline.net.connections.listener import Listener
from raftline.node.program.access_settings import AccessSettings
from raftline.node.program.reload import readers_of
from raftline.node.program.startup import Startup, check_member
from raftline.node.snapshots.snapshots import COMPACT_BYTES
from raftline.state.commands.machines import Machines, StateMachine
from raftline.storage.disk import StorageError, exit_status_of
from raftline.wire.commands.parsing import ReadSettings

from .base import NodeError
from .embedded_server import EmbeddedServer, Leader, Leadership, LeadershipView, LogStream
from .fork_guard import ForkGuard
from .named_members import check_open, resolve_members

if TYPE_CHECKING or is_there("recipes"):
    from raftline.recipes.recipe_kv import RecipeKV as KV
else:
    from raftline.clients.kv.kv import KV

CONNECTIONS_MAX = 1024
NAME_MAX = 56  # characters of the node's name in its clients' names, which have at most 64
CLOSE_S = 15.0
SLOW_TIMEOUT_S = 60.0  # an election may take 18 s, and need a second try


@public("raftline")
class Node(NoCopies):
    """One node, from its construction until `close` or the end of the program.

    Replicated objects send their requests through it: `ReplicatedDict("settings", node=node)`. Any
    thread may use it.

    `members` maps the names of the first members to `host:port`; without it they come from the
    `server-configuration.txt` in `dir`. `port` is the port on which this node listens, by default
    its port in `members`. `machines` are the program's state machines, by name. `timeout`, in
    seconds, is for each request of the objects (10, at the human pace 60). `console` gets the lines
    that a server prints; by default they go to the logger "raftline", and warnings go there as
    warnings. With `state_file_every`, in seconds, the readable file NAME.state_machine is written
    within that time after a change; without it, only when the log is long. `secret`, `anonymous`,
    `first_admin`, `tls_cert` and so on are like the options of a server (docs/use/objects.md): the
    rights of clients, and the login of the objects at the other nodes.
    """

    def __init__(
        self,
        name: str,
        *,
        members: Mapping[str, str] | None = None,
        port: int | None = None,
        dir: str | Path = "logs",  # noqa: A002 - the word of every command's option
        machines: Mapping[str, StateMachine] | None = None,
        timeout: Seconds | None = None,
        pace: str = "fast",
        console: TextIO | None = None,
        state_file_every: float | None = None,
        open_to_network: bool = False,
        insecure: bool = False,
        secret: str | Path | None = None,
        secret_mode: str | None = None,
        first_admin: str | Path | None = None,
        anonymous: str | None = None,
        tls_cert: str | Path | None = None,
        tls_key: str | Path | None = None,
        tls_ca: str | Path | None = None,
        tls_only: bool = False,
        tls_require: bool = False,
        tls_crl: str | Path | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        """Start the node: recover its files in `dir`, listen, and take part in the cluster.

        Raises:
            NodeError: the node can't start; the message is one line with the reason and what to do.
            TypeError, ValueError: a state machine, a time limit or a setting is invalid.
        """
        self.name = name
        self.exit_status: int | None = None  # None: the node has not stopped
        own_machines = Machines(machines)
        timeout_s = _time_limit_at(pace, timeout)
        if state_file_every is not None:
            time_limit(state_file_every)
        if port is not None:
            port = port_in(str(port))
        credentials = credentials_of(user, password)  # before any change, as it may raise
        try:
            folder = Path(dir).absolute()  # the program may change its directory
            self._configuration = resolve_members(folder, name, members)
            self.address = self._configuration.members[name]
            check_open(self.address.host, open_to_network)
            settings = AccessSettings(
                self.address.host, insecure, _path(secret), secret_mode, anonymous,
                _path(tls_cert), _path(tls_key), _path(tls_ca), tls_only, tls_require,
                _path(tls_crl), _path(first_admin),
                called=str,  # a keyword has the name of its setting
            )  # fmt: skip
            settings.check()
            (peer_auth, tls), access = settings.proofs(), settings.access()
            own_tls = None if tls is None else ClientTls.of(tls)
            self._clients = self._asking(timeout_s, ClientAccess(credentials, own_tls))
            self._listen(port, console)
            self._server = self._recover(
                own_machines, PACES[pace], state_file_every, settings,
                peer_auth=peer_auth, tls=tls, access=access,
            )  # fmt: skip
        except (ConfigError, PortRefused, StorageError) as error:
            self._abandon()
            raise NodeError(str(error)) from None
        self._begin(folder)

    def _asking(self, timeout_s: float, access: ClientAccess) -> Clients:
        return Clients(
            str(self.address),
            *map(str, self._configuration.members.values()),
            name=f"{self.name[:NAME_MAX]}.program",
            timeout=timeout_s,
            access=access,
        )

    def _listen(self, port: int | None, console: TextIO | None) -> None:
        self._leadership = Leadership(self.name)
        self._port = port or self.address.port
        with threads_without_signals():
            self._console = Console(console or cast(TextIO, LogStream()), verbose=False)
            if console is None:
                self._console.set_level("info")  # a program's log does not show traffic
            self._listener = Listener(self.address.host, self._port, CONNECTIONS_MAX)
        limit = self._listener.connections_max
        if limit < CONNECTIONS_MAX:
            self._console.say(fewer_than_wanted(self.name, limit, CONNECTIONS_MAX))

    def _recover(
        self,
        machines: Machines,
        pace: Pace,
        state_file_every: float | None,
        settings: AccessSettings,
        **proofs: Any,
    ) -> EmbeddedServer:
        say = self._console.say
        for warning in settings.warnings():
            say(warning)
        server = EmbeddedServer(
            Startup(
                self.name,
                self._configuration,
                say,
                machines=machines,
                is_private=settings.is_protected,
            ),
            pace,
            self._console,
            readings=ReadSettings("index", False),
            compact_bytes=COMPACT_BYTES,
            leadership=self._leadership,
            state_file_every=state_file_every,
            **proofs,
        )
        server.recover()
        try:
            for note in check_member(server.node.view, self._configuration):
                say(note)
        except Exception:
            server.logmanager.close()
            raise
        return server

    def _begin(self, folder: Path) -> None:
        """Start serving, or release everything if no thread can be started."""
        name, members = self.name, self._configuration.members
        self._process = os.getpid()
        self._fork_guard = ForkGuard(folder, name, self._port, tuple(members.values()))
        self._fork_guard.register()
        self._ended = threading.Event()
        self._kv = KV(self._clients, TEXT)
        try:
            with threads_without_signals():
                self._server.begin(self._listener)  # here, because no thread can start at exit
            self._leadership.start()  # with signals, because its callbacks may start processes
            with threads_without_signals():
                begin_thread(self._run, f"{name} node", self._ended_by)
        except BaseException:
            self._server.stop()
            self._run()
            raise
        atexit.register(self.close)

    def _abandon(self) -> None:
        with contextlib.suppress(AttributeError):
            self._listener.close()
        with contextlib.suppress(AttributeError):
            self._console.close()

    def _run(self) -> None:
        self.exit_status = self._server.wait()
        self._end()

    def _ended_by(self, error: Exception) -> None:
        self._console.say(f"[!] {self.name} could not stop cleanly: {error!r}")
        self.exit_status = self._server.exit_status or exit_status_of(error)
        self._end()

    def _end(self) -> None:
        self._leadership.stop()
        self._console.close()
        self._fork_guard.end()
        self._ended.set()
        if self.exit_status:
            logging.getLogger("raftline").error(
                "%s has stopped (status %d, see above); objects use the other nodes",
                self.name,
                self.exit_status,
            )

    def __repr__(self) -> str:
        return f"<Node {self.name} on {self.address}>"

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: hand over the leadership if this node leads, and close the files and the port.
        Idempotent."""
        atexit.unregister(self.close)
        if self._process == os.getpid():
            self._server.stop()
            self._ended.wait(CLOSE_S)
        self._kv.close()  # last: callbacks may send requests while the leadership moves

    def reload(self) -> None:
        """Reload the files of certificates and the secret, as a server does at SIGHUP.

        Raises:
            NodeError: a file can't be used, so its old content stays in effect; the others are
                reloaded.
        """
        self._led_here()
        problems = []
        for read in readers_of(self._server).values():
            try:
                read()
            except ConfigError as problem:
                problems.append(str(problem))
        if problems:
            raise NodeError("; ".join(problems))

    @property
    def is_running(self) -> bool:
        """Whether the node is running. A failure may stop it without `close` (see the log)."""
        return not self._ended.is_set() and self._process == os.getpid()

    # --- asking the cluster ----------------------------------------------------------------------

    def request(self, command: str, timeout: Seconds | None = None) -> str:
        """Return the cluster's reply to one command of the line protocol; see `Clients.request`."""
        return self._clients.request(command, timeout)

    @property
    def kv(self) -> KV[str]:
        """The cluster's keys and values, with watches and locks, as from `raftline.connect`."""
        return self._kv

    def status(self) -> dict[str, Any]:
        """Return the status of this node, as `status` prints it."""
        self._led_here()
        return self._server.driver.status()

    # --- leadership ------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self._led_here().view.leader == self.name and self.is_running

    def get_leader(self) -> Leader | None:
        """Return the leader as far as this node knows; its text is the address."""
        leader = self._leader_of(self._led_here().view)
        return leader if self.is_running else None

    def wait_until_leader(self, name: str | None = None, timeout: Seconds | None = None) -> bool:
        """Wait until `name` leads, by default this node; return whether it did so in time."""
        if not isinstance(name, str | None):
            raise TypeError(f"{name!r} is not a node name; for a time limit say timeout={name!r}")
        expected = name or self.name
        return self._led_here().wait_for(lambda view: view.leader == expected, timeout)

    def wait_for_leader(self, timeout: Seconds | None = None) -> Leader | None:
        """Wait for a leader, and return it, or None after the time limit."""
        self._led_here().wait_for(lambda view: bool(view.leader), timeout)
        return self.get_leader()

    def on_leader(self, call: Callable[[], object]) -> Callable[[], object]:
        """Call `call` each time this node becomes the leader, and at once if it already is. A
        decorator.

        One thread makes all such calls, in the order of events; `call` may use objects.
        """
        self._led_here().on_role(plain(call, "the callback"), leads=True)
        return call

    def on_follower(self, call: Callable[[], object]) -> Callable[[], object]:
        """Call `call` each time this node becomes a follower: when it hears of its first leader,
        and each time it loses the leadership. Also call it at once if it is a follower. A
        decorator.

        It alternates with `on_leader`, so it can end the work that `on_leader` began.
        """
        self._led_here().on_role(plain(call, "the callback"), leads=False)
        return call

    def on_leader_change(self, call: Callable[[Leader], object]) -> Callable[[Leader], object]:
        """Call `call` with the leader each time the leader changes, and at once if there is a
        leader."""
        last = [""]
        plain(call, "the callback")

        def changed(view: LeadershipView) -> None:
            leader = self._leader_of(view)
            if leader is not None and leader.name != last[0]:
                last[0] = leader.name
                call(leader)

        self._led_here().listen(changed)
        return call

    def _led_here(self) -> Leadership:
        """Return the leadership as this node knows it.

        Raises:
            NodeError: this is a child of the process in which the node runs.
        """
        if self._process != os.getpid():
            raise NodeError(
                f"{self.name} runs in process {self._process}, which forked this one: its "
                "objects work here, but ask there for the leader"
            )
        return self._leadership

    def _leader_of(self, view: LeadershipView) -> Leader | None:
        if not view.leader:
            return None
        address = self._server.book.address(view.leader)
        return None if address is None else Leader(view.leader, *address)


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)


def _time_limit_at(pace: str, timeout: Seconds | None) -> float:
    """Return the time limit of a request, in seconds.

    Raises:
        NodeError: there is no such pace.
        ValueError: the time limit is invalid.
    """
    if pace not in PACES:
        raise NodeError(f"unknown pace {pace!r}; the paces are {', '.join(sorted(PACES))}")
    default_s = TIMEOUT_S if pace == "fast" else SLOW_TIMEOUT_S
    return time_limit(default_s if timeout is None else timeout)
