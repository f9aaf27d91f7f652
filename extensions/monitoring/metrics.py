"""The metrics of a node for Prometheus. Each family, with its help text, is one line here."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

from raftline.common.arguments import build
from raftline.common.version import VERSION
from raftline.node.loop.measures import BOUNDS_S, Histogram
from raftline.node.program.node_server import Server
from raftline.raft.roles import Role

from .exposition import Exposition

Counts = tuple[list[int], float]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
Fact = tuple[str, str, float]  # kind, help, value


def metrics(server: Server) -> str:
    """Return all metrics of a node that has recovered its files."""
    out = Exposition()
    status = server.driver.status()
    labels = {"node": server.name, "version": VERSION, "build": build()}
    out.family("gauge", "info", "The version and the build of this node; always 1", [(labels, 1)])
    _consensus(out, server, status)
    _log(out, server, status)
    _requests(out, server)
    _state(out, server)
    _certificates(out, server)
    _process(out, server)
    return out.text()


def _consensus(out: Exposition, server: Server, status: dict[str, Any]) -> None:
    measures = server.driver.measures
    role = "down" if server.is_down else str(status["role"])
    roles = [*(one.value for one in Role), "down"]
    has = {one: int(one == role) for one in roles}
    out.labelled("gauge", "role", "1 for the role that this node has, else 0", "role", has)
    out.gauge("term", "The term", status["term"])
    out.gauge("has_leader", "1 where this node knows a leader", int(status["leader"] is not None))
    out.gauge(
        "foreigners",
        "Servers of other clusters that this node met under members' names in the last minute",
        len(server.foreigners.seen()),
    )
    out.gauge("voters", "Members that vote", len(status["voters"]))
    out.gauge("learners", "Members that don't vote", len(status["learners"]))
    _followers(out, server)
    out.counter("elections_total", "Elections in which this node stood", measures.elections)
    out.counter("leaderships_total", "Elections that this node won", measures.leaderships)
    out.counter(
        "takeovers_total",
        "Of these, elections that the leader before asked for: a transfer, or its planned stop",
        measures.takeovers,
    )
    out.counter("leader_changes_total", "Leaders that this node heard of", measures.leader_changes)


def _followers(out: Exposition, server: Server) -> None:
    driver = server.driver
    with driver.core:
        view = driver.node.view
        heard = view.now_ms
        lag = {
            name: max(0, view.log.last_index - one.match_index)
            for name, one in view.progress.items()
        }
        voters = view.membership.voters
        silent = {
            name: max(0, heard - one.heard_at_ms) / 1000 for name, one in view.progress.items()
        }
        differing, undecided = view.differing, view.undecided
    members = [view.name, *lag]
    for name, help_text, values in (
        ("follower_lag_entries", "Entries that a follower lacks; at the leader", lag),
        (
            "peer_votes", "1 for a member that votes, 0 for one that catches up; at the leader",
            {name: int(name in voters) for name in lag},
        ),
        ("follower_silent_seconds", "Time since a follower answered; at the leader", silent),
        (
            "replica_differs", "1 for a node whose state differs from the others'; this node, at "
            "the leader all members", {name: int(name in differing) for name in members},
        ),
        (
            "replica_undecided", "1 for a follower that differs while no quorum says which is "
            "right; at the leader", {name: int(name in undecided) for name in members},
        ),
    ):  # fmt: skip
        out.labelled("gauge", name, help_text, "peer", values)


def _log(out: Exposition, server: Server, status: dict[str, Any]) -> None:
    measures = server.driver.measures
    for name, help_text in (
        ("last_index", "The last entry of the log"),
        ("synced_index", "The last entry that is on this node's disk"),
        ("commit_index", "The last entry that this node knows to be committed"),
        ("last_applied", "The last entry that this node applied"),
        ("base_index", "The entry before the first one in memory"),
        ("snapshot_index", "The last entry in the snapshot on this node's disk"),
        ("snapshot_bytes", "The size of that snapshot"),
        ("arriving_bytes", "The received bytes of an arriving snapshot"),
        ("log_bytes", "The size of the log on this node's disk"),
    ):
        out.gauge(name, help_text, status[name])
    out.gauge(
        "lag_entries",
        "Committed entries that this node has not applied",
        status["commit_index"] - status["last_applied"],
    )
    out.counter("syncs_total", "Writes of the log that were synced", status["syncs"])
    out.histogram(
        "fsync_seconds",
        "Time of a write of this node's files, with its sync",
        [({}, BOUNDS_S, *_counts(measures.disk))],
    )
    since_s = measures.disk_since_s
    under_way = time.monotonic() - since_s if since_s else 0.0
    out.gauge("lost_files", "Files that other programs removed or cut", len(server.lost_files))
    out.gauge(
        "commit_stalled_seconds",
        "Time for which a leader has committed nothing although entries wait",
        server.driver.stalled_s(),
    )
    out.gauge(
        "apply_stalled_seconds",
        "Time for which committed entries have waited without one being applied",
        server.driver.apply_waits_s(),
    )
    out.gauge(
        "fsync_under_way_seconds", "Age of the write that is under way, 0 without one", under_way
    )


def _requests(out: Exposition, server: Server) -> None:
    measures = server.driver.measures
    with server.driver.core:
        writes, reads = _counts(measures.writes), _counts(measures.reads)
    out.histogram(
        "request_seconds",
        "Time from a request until it was applied or confirmed",
        [({"kind": "write"}, BOUNDS_S, *writes), ({"kind": "read"}, BOUNDS_S, *reads)],
    )
    waiting = server.driver.waiting()
    disk = waiting.pop("disk")
    what = "Waiting groups of requests, by the reason"
    out.labelled("gauge", "queue_batches", what, "stage", waiting)
    out.gauge("queue_disk_steps", "Steps of the core that wait for the disk", disk)
    what = "Requests that were refused or failed, by the code of the refusal"
    out.labelled("counter", "refusals_total", what, "code", server.refusals.by_code())
    _traffic(out, server)


def _traffic(out: Exposition, server: Server) -> None:
    count, taken, received, sent = server.listener.traffic()
    out.gauge("connections", "Connections that are open, of clients and of peers", count)
    most = server.listener.connections_max
    out.gauge("max_connections", "The bound of these connections (--max-connections)", most)
    out.counter("connections_taken_total", "Connections that were taken", taken)
    out.counter("received_bytes_total", "Bytes read on these connections", received)
    out.counter("sent_bytes_total", "Bytes of replies and events on these connections", sent)
    failed = server.access.failures.count if server.access is not None else 0
    out.gauge(
        "lacks_users",
        "1 where clients have to log in to change the users, and nobody can",
        int(server.lacks_users),
    )
    out.counter("logins_failed_total", "Logins that failed: a wrong name or password", failed)
    moved = server.book.traffic()
    bytes_sent = {name: one[0] for name, one in moved.items()}
    bytes_received = {name: one[1] for name, one in moved.items()}
    what = "Bytes sent to a peer that this node dialled"
    out.labelled("counter", "peer_sent_bytes_total", what, "peer", bytes_sent)
    what = "Bytes of that peer's answers"
    out.labelled("counter", "peer_received_bytes_total", what, "peer", bytes_received)


def _state(out: Exposition, server: Server) -> None:
    logmanager, watchers = server.logmanager, server.driver.watchers
    with logmanager.client_lock:
        store = logmanager.store
        keys, granted, leased = len(store), len(store.leases.granted), len(store.leased)
    out.gauge("keys", "Keys in the state machine", keys)
    quota, room = server.quota, server.room_facts()
    out.gauge("keys_bytes", "The estimated memory of keys, values and leases", store.bytes)
    out.gauge("keys_max_bytes", "The bound of that memory (--max-bytes)", quota.bytes_max)
    lacks = {what: int(room["lacks_room_for"] == what) for what in ("bytes", "disk", "leases")}
    lacks |= {"log": int(room["refuses_entries"] == "log")}
    lacks |= {"share": int(quota.has_user_beyond_share)}
    out.labelled(
        "gauge",
        "lacks_room",
        "1 if this node lacks room: a leader then refuses writes, and a follower may take no entry",
        "for",
        lacks,
    )
    out.gauge(
        "sessions", "Sessions of clients that number their requests", len(logmanager.state.sessions)
    )
    out.gauge("leases", "Leases that were granted and have not ended", granted)
    out.gauge(
        "leases_with_keys", "Leases that hold a key, including those of setex and expire", leased
    )
    out.gauge("watches", "Watches on this node", watchers.count)
    out.gauge(
        "history_events", "Events that are kept for resumed watches", len(watchers.feed.history)
    )


def _certificates(out: Exposition, server: Server) -> None:
    ends = server.tls.ends() if server.tls is not None else {}
    what = "The expiry of a certificate in this node's files, in seconds since 1970"
    out.labelled("gauge", "certificate_end_timestamp_seconds", what, "of", ends)


def _process(out: Exposition, server: Server) -> None:
    out.gauge(
        "clock_timestamp_seconds",
        "The time of day of this machine, in seconds since 1970",
        server.clock.day_s(),
    )
    out.gauge("threads", "Threads of this process", threading.active_count())
    for name, (kind, help_text, value) in process_facts().items():
        out.family(kind, f"process_{name}", help_text, [({}, value)])


def _counts(histogram: Histogram) -> Counts:
    return list(histogram.counts), histogram.sum_s


def process_facts() -> dict[str, Fact]:
    """Return the available facts about this process. Some exist only on Linux."""
    used = os.times()
    facts: dict[str, Fact] = {
        "cpu_seconds_total": ("counter", "Processor time", used.user + used.system)
    }
    with contextlib.suppress(ImportError):  # CPython in WebAssembly lacks this module
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        facts["max_fds"] = ("gauge", "Files that may be open", float(soft))
    try:
        size, resident = Path("/proc/self/statm").read_text("ascii").split()[:2]
        count = len(os.listdir("/proc/self/fd"))
    except (OSError, ValueError):
        return facts
    facts["virtual_memory_bytes"] = ("gauge", "Virtual memory", float(int(size) * PAGE_BYTES))
    facts["resident_memory_bytes"] = ("gauge", "Memory in use", float(int(resident) * PAGE_BYTES))
    facts["open_fds"] = ("gauge", "Files and sockets that are open", float(count))
    return facts
