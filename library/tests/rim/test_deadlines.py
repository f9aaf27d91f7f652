"""Every public call that takes a time limit, at nodes that serve nobody: none ends much later.

The nodes hang, or the name server does, or a reply comes byte by byte; in plain text, over TLS and
during a login; for threads and for tasks. All calls of a case wait side by side. One that ends late
is tried again by itself, and time in which the machine gives this process no turn does not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.access import authority
from raftline.access.tls import Tls, TlsFiles
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import Credentials
from raftline.clients.connections.client_tls import ClientTls
from raftline.clients.requests import pool
from raftline.clients.requests.conversation import Client
from raftline_testing.extensions import joined
from raftline_testing.nodes.cluster import Cluster, NodeProcess

pytestmark = pytest.mark.slow
LIMIT_S, GRACE_S, TRIES, DEADLINE_S = 0.7, 0.3, 3, 30.0
AT_ONCE = 16
PIECE_S = 0.1  # between two bytes of a reply
HANGING = "hangs.example"
Kwargs = dict[str, Any]
Call = Callable[[Any], object]
MORE = joined("timed_calls")  # of extensions: their CALLS, OWN_LIMITS and so on

CALLS: dict[str, Call] = {
    "get": lambda kv: kv.get("a"),
    "set": lambda kv: kv.set("a", "1"),
    "setnx": lambda kv: kv.setnx("a", "1"),
    "setdefault": lambda kv: kv.setdefault("a", "1"),
    "cas": lambda kv: kv.cas("a", "1", "2"),
    "incr": lambda kv: kv.incr("a"),
    "append": lambda kv: kv.append("a", "1"),
    "delete": lambda kv: kv.delete("a"),
    "pop": lambda kv: kv.pop("a"),
    "popitem": lambda kv: kv.popitem("a"),
    "update": lambda kv: kv.update({"a": "1"}),
    "clear": lambda kv: kv.clear("a"),
    "stat": lambda kv: kv.stat("a"),
    "ttl": lambda kv: kv.ttl("a"),
    "expire": lambda kv: kv.expire("a", 9),
    "persist": lambda kv: kv.persist("a"),
    "txn": lambda kv: kv.txn().then.set("a", "1").commit(),
    "get_many": lambda kv: kv.get_many(["a", "b"]),
    "snapshot": lambda kv: kv.snapshot("a"),
    "request": lambda kv: kv.request("get a"),
    "grant": lambda kv: kv.lease(9).grant(),
}
# With a limit of their own, shorter than that of the client.
OWN_LIMITS: dict[str, Call] = {
    "within": lambda kv: kv.within(LIMIT_S).set("a", "1"),
    "snapshot within": lambda kv: kv.within(LIMIT_S).snapshot("a"),
    "request": lambda kv: kv.request("get a", timeout=LIMIT_S),
    "next_event": lambda kv: kv.watch("a").next_event(LIMIT_S),
    "sync": lambda kv: kv.watch("a").sync(LIMIT_S),
}
for module in MORE:
    CALLS |= module.CALLS
    OWN_LIMITS |= module.own_limits(LIMIT_S)


def by_pipeline(kv: Any) -> None:
    with kv.pipeline() as batch:
        batch.set("a", "1")
        batch.get("b")


async def by_pipeline_of_tasks(kv: Any) -> None:
    async with kv.pipeline() as batch:
        batch.set("a", "1")
        batch.get("b")


async def listed(kv: Any) -> None:
    async for _ in kv.items("a"):
        pass


OF_THREADS: dict[str, Call] = {
    "pipeline": by_pipeline,
    "items": lambda kv: list(kv.items("a")),
    "contains": lambda kv: "a" in kv,
    "len": len,
}
OWN_LIMITS_OF_THREADS: dict[str, Call] = {}
for one in joined("timed_calls_of_threads"):  # of extensions
    OF_THREADS |= one.CALLS
    OWN_LIMITS_OF_THREADS |= one.own_limits(LIMIT_S)
OF_TASKS: dict[str, Call] = {"pipeline": by_pipeline_of_tasks, "items": listed}
CLIENTS: dict[str, Callable[[str, Kwargs], object]] = {
    "Client": lambda at, access: one_client(at, access).request("get a"),
    "Client that follows": lambda at, access: one_client(at, access, True).request("get a"),
    "Client.connect": lambda at, access: one_client(at, access, True).connect(),
    "Clients": lambda at, access: pool.Clients(*at.split(","), **clients_access(access)).request(
        "get a", LIMIT_S
    ),
}


def one_client(at: str, access: Kwargs, follow: bool = False) -> Client:
    nodes = [(each.rpartition(":")[0], int(each.rpartition(":")[2])) for each in at.split(",")]
    more = clients_access(access)
    return Client(*nodes[0], timeout_s=LIMIT_S, also=nodes[1:], follow=follow, **more)


def clients_access(access: Kwargs) -> Kwargs:
    if "user" in access:
        return {"access": ClientAccess(Credentials("ann", access["password"]))}
    return {"access": ClientAccess(tls=access.get("tls"))}


# --- nodes that serve nobody ----------------------------------------------------------------------


class TurnClock:
    """A clock that stands still while a thread that wants to run gets no turn."""

    STEP_S = 0.01

    def __init__(self) -> None:
        self.overslept_s = 0.0
        self.is_over = threading.Event()
        threading.Thread(target=self._sleep, daemon=True).start()

    def now_s(self) -> float:
        return time.monotonic() - self.overslept_s

    def _sleep(self) -> None:
        before_s = time.monotonic()
        while not self.is_over.wait(self.STEP_S):
            now_s = time.monotonic()
            self.overslept_s += max(0.0, now_s - before_s - 2 * self.STEP_S)
            before_s = now_s


@pytest.fixture
def clock() -> Iterator[TurnClock]:
    clock = TurnClock()
    yield clock
    clock.is_over.set()


class Node:
    """Takes every connection. It says nothing, or says its first line byte by byte."""

    def __init__(self, context: ssl.SSLContext | None, trickles: bool) -> None:
        self._context, self._trickles = context, trickles
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._server.getsockname()[1]
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one = self._server.accept()[0]
                self._taken.append(one)
                if self._trickles:
                    threading.Thread(target=self._trickle, args=(one,), daemon=True).start()

    def _trickle(self, one: socket.socket) -> None:
        text = b"s1@GET response: " + b"x" * 2000
        with contextlib.suppress(OSError, ssl.SSLError):
            data = text if self._context is None else _record_of(one, self._context, text)
            while not one.recv(1 << 16):
                return
            for place in range(len(data)):
                one.sendall(data[place : place + 1])
                time.sleep(PIECE_S)

    def close(self) -> None:
        for each in (self._server, *self._taken):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _record_of(one: socket.socket, context: ssl.SSLContext, text: bytes) -> bytes:
    """Shake hands, and return the text as it is to be sent."""
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(arrived, leaving, server_side=True)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            one.sendall(leaving.read())
            arrived.write(one.recv(1 << 16))
    one.sendall(leaving.read())
    tls.write(text)
    return leaving.read()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ClientTls]:
    """Return the context of a node, and the TLS of its clients."""
    folder: Path = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=127.0.0.1"], [])
    files = (folder / "s1.pem", folder / "s1.key", folder / "ca.pem")
    return Tls(TlsFiles(*files)).server_context(), ClientTls(ca=folder / "ca.pem")


@pytest.fixture
def access(kind: str, tls: tuple[ssl.SSLContext, ClientTls]) -> Kwargs:
    """Return what `connect` is given for this kind of access."""
    kinds: dict[str, Kwargs] = {
        "plain": {}, "TLS": {"tls": tls[1]}, "login": {"user": "ann", "password": "secret"}
    }  # fmt: skip
    return kinds[kind]


@pytest.fixture
def at(
    trouble: str,
    access: Kwargs,
    tls: tuple[ssl.SSLContext, ClientTls],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Return the addresses of three nodes with this trouble."""
    context = tls[0] if "tls" in access else None
    nodes = [Node(context, trouble == "trickle") for _ in range(3)]
    over, look_up = threading.Event(), socket.getaddrinfo

    def looked_up(host: Any, *more: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(HANGING):
            over.wait(DEADLINE_S)
            raise socket.gaierror
        return look_up(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    is_by_name = trouble == "names"
    hosts = [f"{n}.{HANGING}" if is_by_name else "127.0.0.1" for n in range(3)]
    yield ",".join(f"{host}:{node.port}" for host, node in zip(hosts, nodes, strict=True))
    over.set()
    for node in nodes:
        node.close()


# --- the table ------------------------------------------------------------------------------------

in_each_case = pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        *itertools.product(["hang", "trickle"], ["plain", "TLS", "login"]),
        ("names", "plain"),  # nothing is connected to, so there is no TLS and no login
    ],
)
Works = dict[str, Any]
Late = dict[str, float]


def in_groups(works: Works) -> list[Works]:
    """Return parts of them, few enough to be under way at once on a slow machine."""
    names = list(works)
    parts = [names[place : place + AT_ONCE] for place in range(0, len(names), AT_ONCE)]
    return [{name: works[name] for name in part} for part in parts]


def late_in(took: Late) -> Late:
    return {name: seconds for name, seconds in took.items() if seconds > LIMIT_S + GRACE_S}


def seconds_of_threads(works: Works, clock: TurnClock) -> Late:
    """Make these calls side by side; return how long each took."""
    ended: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    def run(name: str, work: Callable[[], object]) -> None:
        began_s = clock.now_s()
        with contextlib.suppress(raftline.RaftlineError, KeyError):
            work()
        ended.put((name, clock.now_s() - began_s))

    for each in works.items():
        threading.Thread(target=run, args=each, daemon=True).start()
    return dict(ended.get(timeout=DEADLINE_S) for _ in works)


def late_of_threads(works: Works, clock: TurnClock) -> Late:
    """Make these calls side by side; return those that end late, and when."""
    return late_in(seconds_of_threads(works, clock))


@in_each_case
def test_no_call_of_a_thread_ends_late(at: str, access: Kwargs, clock: TurnClock) -> None:
    def with_client(call: Call, limit_s: float) -> object:
        with raftline.connect(at, timeout=limit_s, **access) as kv:
            return call(kv)

    works: Works = {name: partial(one, at, access) for name, one in CLIENTS.items()}
    for name, call in (CALLS | OF_THREADS).items():
        works[name] = partial(with_client, call, LIMIT_S)
    for name, call in (OWN_LIMITS | OWN_LIMITS_OF_THREADS).items():
        works[f"{name}, with a limit of its own"] = partial(with_client, call, DEADLINE_S)
    late: Late = {}
    for group in in_groups(works):
        late |= late_of_threads(group, clock)
    for _ in range(TRIES - 1):
        late = {
            k: v for each in late for k, v in late_of_threads({each: works[each]}, clock).items()
        }
    assert late == {}


@in_each_case
def test_no_call_of_a_task_ends_late(at: str, access: Kwargs, clock: TurnClock) -> None:
    async def timed(call: Call, limit_s: float) -> float:
        kv = raftline.aio.connect(at, timeout=limit_s, **access)
        began_s = clock.now_s()
        with contextlib.suppress(raftline.RaftlineError, KeyError):
            await call(kv)  # type: ignore[misc]
        took_s = clock.now_s() - began_s
        await kv.close()
        return took_s

    async def late_of(works: Works) -> Late:
        took = await asyncio.gather(*(work() for work in works.values()))
        return late_in(dict(zip(works, took, strict=True)))

    async def late_in_all(works: Works) -> Late:
        late: Late = {}
        for group in in_groups(works):
            late |= await late_of(group)
        for _ in range(TRIES - 1):
            late = {k: v for each in late for k, v in (await late_of({each: works[each]})).items()}
        return late

    works: Works = {}
    for name, call in (CALLS | OF_TASKS).items():
        works[name] = partial(timed, call, LIMIT_S)
    for name, call in OWN_LIMITS.items():
        works[f"{name}, with a limit of its own"] = partial(timed, call, DEADLINE_S)
    loop = asyncio.new_event_loop()  # not asyncio.run, which waits for look-ups of names
    try:
        assert loop.run_until_complete(late_in_all(works)) == {}
    finally:
        loop.close()


# --- what is held when the nodes begin to hang ----------------------------------------------------


HELD_LIMIT_S = 2.0  # enough for a slow machine to take hold first


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), 1).start() as cluster:
        yield cluster


@pytest.fixture
def node(cluster: Cluster) -> Iterator[NodeProcess]:
    node = cluster.leader()
    yield node
    node.resume()


def at_of(node: NodeProcess) -> str:
    return f"localhost:{node.port}"


HELD: dict[str, Call] = {
    "lease.check": lambda held: held["lease"].check(HELD_LIMIT_S),
    "lease.release": lambda held: held["lease"].release(),
}
HELD_BY_THREADS: dict[str, Call] = {
    "lease.wait_lost": lambda held: held["lease"].wait_lost(HELD_LIMIT_S),
}
TAKES: dict[str, Callable[[Any, str], Any]] = {}
for module in MORE:
    TAKES |= module.TAKES
    HELD |= module.HELD
    HELD_BY_THREADS |= module.held_by_threads(HELD_LIMIT_S)


@pytest.mark.parametrize("name", [*HELD, *HELD_BY_THREADS])
def test_no_call_of_what_a_thread_holds_ends_late(
    node: NodeProcess, name: str, clock: TurnClock
) -> None:
    with raftline.connect(at_of(node), timeout=HELD_LIMIT_S) as kv:
        held = {
            "lease": kv.lease(60).grant(),
            **{what: take(kv, name) for what, take in TAKES.items()},
        }
        node.pause()
        took = seconds_of_threads({name: partial((HELD | HELD_BY_THREADS)[name], held)}, clock)
    assert took[name] <= HELD_LIMIT_S + GRACE_S


@pytest.mark.parametrize("name", HELD)
def test_no_call_of_what_a_task_holds_ends_late(
    node: NodeProcess, name: str, clock: TurnClock
) -> None:
    async def took() -> float:
        async with raftline.aio.connect(at_of(node), timeout=HELD_LIMIT_S) as kv:
            held = {
                "lease": await kv.lease(60).grant(),
                **{what: await take(kv, f"{name} of a task") for what, take in TAKES.items()},
            }
            node.pause()
            began_s = clock.now_s()
            with contextlib.suppress(raftline.RaftlineError):
                await HELD[name](held)  # type: ignore[misc]
            return clock.now_s() - began_s

    assert asyncio.run(took()) <= HELD_LIMIT_S + GRACE_S
