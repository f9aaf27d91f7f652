"""The pages that a node serves to monitoring: /health, /ready, /leader, /metrics, /status."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from raftline.net.protocol.host import Batch
from raftline.net.protocol.subscriptions import CONFIRMED
from raftline.net.protocol.waits import AwaitReplies
from raftline.node.loop.measures import disk_hangs
from raftline.node.program.node_server import Server
from raftline.wire.refusal import DIVERGED

from .exposition import CONTENT_TYPE
from .metrics import metrics

PLAIN = "text/plain; charset=utf-8"
CORE_S = 2.0  # time limit for a step of the core
CONFIRM_S = 2.0  # time limit for a quorum to confirm a read


class HttpAnswer(NamedTuple):
    """One answer: its status, its content and the content type."""

    status: int
    text: str
    kind: str = PLAIN


class Pages:
    """The pages of one node. Before it has recovered, it is healthy and not ready."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self.by_path: dict[str, Callable[[], HttpAnswer]] = {
            "/health": self.health,
            "/ready": self.ready,
            "/leader": lambda: self._of_server(_leader),
            "/metrics": lambda: self._of_server(_metrics),
            "/status": lambda: self._of_server(_status),
        }

    def serve(self, server: Server) -> None:
        """Report on this node from now on."""
        self._server = server

    def health(self) -> HttpAnswer:
        """Report whether this process is healthy, regardless of the other nodes."""
        if self._server is None:
            return HttpAnswer(200, "ok: reading its files\n")
        why = unhealthy_reason(self._server)
        return HttpAnswer(503, f"{why}\n") if why else HttpAnswer(200, "ok\n")

    def ready(self) -> HttpAnswer:
        """Report whether this node serves: the leader and its quorum confirm a read, and all
        entries that were committed at the request are applied here."""
        return self._of_server(_ready)

    def _of_server(self, page: Callable[[Server], HttpAnswer]) -> HttpAnswer:
        if self._server is None:
            return HttpAnswer(503, "not ready: reading its files\n")
        return page(self._server)


def unhealthy_reason(server: Server) -> str:
    """Return why a node is not healthy, or "" if it is."""
    if server.is_down:
        return ""  # a controller shut it down
    driver = server.driver
    if server.exit_status or driver.has_written:
        return "unwell: this node is stopping"
    if driver.core.acquire(CORE_S) is None:
        return f"unwell: a step of the core takes longer than {CORE_S:g} s"
    driver.core.release()
    return ""


def hung_disk(waits_ms: int, election_timeout_ms: int) -> str:
    """Return a phrase if the disk hangs, or else ""."""
    if not disk_hangs(waits_ms, election_timeout_ms):
        return ""
    return f"a write of its disk has taken {waits_ms / 1000:.1f} s already"


# Why a node does not serve all requests, by what it lacks room for (`Server.room_facts`).
_LACKING = {
    "disk": "its disk is nearly full",
    "bytes": "keys and leases take all of --max-bytes",
    "leases": "there are as many leases as there may be",
    "log": "its log takes no entries before a snapshot",
}


def lacking(server: Server) -> str:
    """Return why this node would refuse some requests, or ""."""
    room = server.room_facts()
    if what := room["lacks_room_for"] or room["refuses_entries"]:
        return _LACKING[str(what)]
    if server.has_all_connections:
        return "all its connections are taken (--max-connections)"
    if server.driver.applies_nothing:
        return "it applies no entry, since its state machine hangs or is much too slow"
    return "it leads, and commits nothing" if server.driver.commits_nothing else ""


def _ready(server: Server) -> HttpAnswer:
    waits_ms = server.driver.measures.disk_waits_ms
    why = hung_disk(waits_ms, server.pace.election_timeout_ms)
    if not (why or server.is_down or unhealthy_reason(server)):
        why = lacking(server)
    if why:
        return HttpAnswer(503, f"not ready: {why}\n")
    steps = readiness(server)
    try:
        wait = next(steps)
        steps.send(wait.batch.wait(wait.within_s))
    except StopIteration as end:
        answer: HttpAnswer = end.value
        return answer
    raise AssertionError("one wait is enough")


def readiness(server: Server) -> Generator[AwaitReplies, bool, HttpAnswer]:
    """Find out whether a node serves. The caller sends in whether the awaited answer has
    arrived."""
    why = "shut down by its controller" if server.is_down else unhealthy_reason(server)
    if not why and server.node.view.differs:
        why = DIVERGED.sentence
    if not why:
        batch = Batch(["ready"], is_read=True, reading=CONFIRMED)
        server.submit(batch)
        if not (yield AwaitReplies(batch, CONFIRM_S)):
            why = _why_not_confirmed(server)
        elif batch.reader is None:  # it has a reply: no leader, for example
            why = batch.replies[0]
    return HttpAnswer(503, f"not ready: {why}\n") if why else HttpAnswer(200, "ready\n")


def _why_not_confirmed(server: Server) -> str:
    view = server.node.view
    if view.leader is None:
        return "no leader is known"
    return f"no read was confirmed and applied within {CONFIRM_S:g} s; {view.leader} leads"


def _leader(server: Server) -> HttpAnswer:
    """Return 200 at the leader alone, for a load balancer."""
    status: dict[str, Any] = server.driver.status()
    leader = status["leader"]
    if server.is_down:
        why = "shut down by its controller"
    elif unhealthy := unhealthy_reason(server):
        why = unhealthy
    elif leader == server.name:
        return HttpAnswer(200, f"{leader} leads term {status['term']}\n")
    elif leader is None:
        why = "no leader is known"
    else:
        address = status["members"].get(leader)
        why = f"{leader} leads term {status['term']}" + (f", at {address}" if address else "")
    return HttpAnswer(503, f"not the leader: {why}\n")


def _metrics(server: Server) -> HttpAnswer:
    return HttpAnswer(200, metrics(server), CONTENT_TYPE)


def _status(server: Server) -> HttpAnswer:
    return HttpAnswer(200, server.status().partition(": ")[2] + "\n", "application/json")
