"""Growth row of a million keys: the time of a cluster to load, write out, list and hand over the
keys."""

from __future__ import annotations

import json
import re
import signal

from clusters import memory_bytes, wait_until
from costs import Costs
from generator import BenchError, Load
from growth_setup import Setup
from raftline.net.line_connection import LineConnection
from raftline_nodes import Raftline

PATIENCE_S = 300
_BEGUN = re.compile(r".*BACKUP response: \S+ of ([0-9]+) bytes crc32 .*")
_PIECE = re.compile(r".*?BACKUP response: from [0-9]+ ")
_MORE = re.compile(r" more: (show after \S+)$")


def million(setup: Setup) -> None:
    """A million keys: to set them, to back them up (a snapshot), to list them, to bring back a
    follower that lost its files, and to start a node. Waits are those for a node's core."""
    with Raftline(setup.folder, setup.port, options=("--pace", "class")) as nodes:
        leader = nodes.wait_for_leader()
        with Costs(nodes) as costs:
            nodes.fill(Load("load", connections=8, in_flight=64, keys=setup.entries))
        leader = nodes.wait_for_leader()
        pid = nodes.processes[leader].pid
        running = {"leader MiB": memory_bytes(pid) / 2**20}
        setup.add("set, 8 x 64 in flight", nodes, costs.figures() | running)
        _settle(nodes)
        for name, work in (("backup", back_up), ("show, all pages", show_all)):
            with Costs(nodes) as costs:
                amount = work(nodes.port(leader))
            peak = {"leader MiB": memory_bytes(pid) / 2**20}
            setup.add(name, nodes, costs.figures() | peak | {"MiB": amount / 2**20})
        follower = (leader + 1) % nodes.count
        for name, is_lost in (("a follower that lost all", True), ("a follower starts", False)):
            nodes.end(follower, signal.SIGKILL)
            if is_lost:
                for path in nodes.folder.glob(f"s{follower + 1}.*"):
                    path.unlink()
            with Costs(nodes) as costs:
                nodes.start(follower)
                nodes.wait_until_level(PATIENCE_S)
            setup.add(name, nodes, costs.figures())


def _settle(nodes: Raftline) -> None:
    """Wait until all nodes have applied everything and no snapshot is in progress."""
    nodes.wait_until_level(PATIENCE_S)

    def look() -> bool | None:
        return not list(nodes.folder.glob("*.tmp")) or None

    wait_until(look, "a snapshot takes too long", PATIENCE_S)


def back_up(port: int) -> int:
    """Back up a node's state; return the number of bytes, all of them fetched."""
    with LineConnection(port, PATIENCE_S) as connection:
        header = _BEGUN.fullmatch(reply := connection.ask("backup"))
        if header is None:
            raise BenchError(f"no backup: {reply[:100]}")
        size, got = int(header[1]), 0
        while got < size:
            reply = connection.ask(f"backup from {got}")
            piece = _PIECE.match(reply)
            if piece is None:
                raise BenchError(f"no piece: {reply[:100]}")
            got += len(json.loads(reply[piece.end() :]).encode("utf-8", "surrogateescape"))
        return size


def show_all(port: int) -> int:
    """List all pairs, page by page; return the bytes."""
    with LineConnection(port, PATIENCE_S) as connection:
        command, got = "show", 0
        while command:
            page = connection.ask(command)
            if "SHOW response: " not in page:
                raise BenchError(f"no page: {page[:100]}")
            got += len(page)
            more = _MORE.search(page)
            command = more[1] if more else ""
        return got
