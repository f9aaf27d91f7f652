"""The door of the course's program, XML-RPC, in front of one node: its nine calls, on our client.

    python3 course/labs/repair/gateway.py node1 18000

A log's indexes begin at 0 there, and at 1 here.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import contextlib
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCServer

from labs.checking import end_with
from labs.repair.actions import RepairLab
from labs.repair.arguments import members_of, parser_of


def calls_of(lab: RepairLab, name: str) -> dict[str, Callable[..., Any]]:
    """Return the functions of the nine calls at the node with this name."""
    return {
        "vote": lambda candidate, term, last_log_term, last_log_index:
            lab.vote(name, candidate, term, last_log_index + 1, last_log_term),
        "receive_heartbeat": lambda term, leader="":
            lab.give_entries(name, leader, term),
        "receive_append_entries": lambda term, prev_index, prev_term, entries, commit, leader="":
            lab.give_entries(name, leader, term, prev_index + 1, prev_term, entries, commit + 1),
        "submit_value": lambda value: lab.submitted(str(value), name),
        "is_leader": lambda: lab.status(name).get("role") == "leader",
        "get_heartbeat_interval": lambda: lab.heartbeat_s(name),
        "set_heartbeat_interval": lambda seconds: lab.set_heartbeat_s(name, seconds),
        "set_replication_simulation":
            lambda fails: lab.order(name, f"SKIP-REPLICATION {'on' if fails else 'off'}"),
        "delete_log_file": lambda: lab.order(name, "DELETE-LOG"),
    }  # fmt: skip


class Gateway(ThreadingMixIn, SimpleXMLRPCServer):
    """Each call has its own thread: it may wait long for a majority."""

    daemon_threads = True

    def __init__(self, calls: dict[str, Callable[..., Any]], port: int) -> None:
        super().__init__(("localhost", port), allow_none=True, logRequests=False)
        self.funcs.update(calls)

    def _dispatch(self, method: str, params: tuple[Any, ...]) -> Any:
        """Carry out a call; return an error as a Fault of one line."""
        try:
            return super()._dispatch(method, params)
        except Exception as problem:
            raise Fault(1, f"{method}: {problem}") from None

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that did not wait for its answer."""


def main() -> int:
    """Serve until Ctrl-C; return the exit status."""
    parser = parser_of("XML-RPC in front of one node.")
    parser.add_argument("name", help="the node: node1")
    parser.add_argument("port", type=int, help="where to listen for XML-RPC: 18000")
    typed = parser.parse_args()
    lab = RepairLab(members_of(parser, typed.config, typed.name), say=lambda _: None)
    try:
        gateway = Gateway(calls_of(lab, typed.name), typed.port)
    except (OSError, OverflowError) as problem:
        parser.exit(2, f"gateway.py: can't listen on localhost port {typed.port}: {problem}\n")
    where = f"http://localhost:{gateway.server_address[1]}/"
    print(f"{typed.name} is reached by XML-RPC at {where}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        gateway.serve_forever()
    return 0


if __name__ == "__main__":
    end_with(main)
