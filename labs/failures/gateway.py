"""The door of the course's program, XML-RPC, in front of one node: its nine calls, on our lines.

    python3 labs/failures/gateway.py node1 18000

`xmlrpc.client.ServerProxy("http://localhost:18000").submit_value(44)` then does what it did there,
except that it says `Success` only once a majority has the value on disk. Indexes begin at 0 there
and at 1 here; a value is a line `set value 44`. The gateway holds no state of the cluster's.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A clone that nobody installed will do.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.entry import end_quietly

    end_quietly()

import argparse
import json
import re
from socketserver import ThreadingMixIn
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCServer

from labs.checking import end_with
from labs.failures.actions import NORMAL_S, Lab
from labs.failures.asking import LabError, written
from raftline import config
from raftline.client import ClientError


class Door(ThreadingMixIn, SimpleXMLRPCServer):
    """Serves each call in a thread of its own: one may wait long for a majority."""

    daemon_threads = True

    def __init__(self, gateway: Gateway, port: int) -> None:
        super().__init__(("localhost", port), allow_none=True, logRequests=False)
        self.register_instance(gateway)

    def _dispatch(self, method: str, params: tuple[object, ...]) -> object:
        """Call a method; what it was wrongly given is told in one line, as Fault 1."""
        try:
            return super()._dispatch(method, params)
        except (TypeError, ValueError, ClientError, LabError) as problem:
            raise Fault(1, f"{method}: {problem}") from None


class Gateway:
    """The nine calls of one node. What it is asked in a peer's name, it says in that name: a peer
    that speaks for itself at the moment can't be played, and then the answer is False."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self._name = name
        self._peers = [peer for peer in lab.members if peer != name]

    def vote(self, candidate: str, term: int, last_log_term: int, last_log_index: int) -> bool:
        """Ask for the node's vote."""
        line = f"RequestVote {term:d}-{last_log_index + 1}-{last_log_term:d}"
        return self._ask_as_peer(candidate, line).startswith("Count on me")

    def receive_heartbeat(self, leader_term: int, leader: str = "") -> bool:
        """Say that `leader` leads; the course's program did not say who, then it is a peer."""
        return self.receive_append_entries(leader_term, -1, 0, [], -1, leader)

    def receive_append_entries(
        self,
        term: int,
        prev_log_index: int,
        prev_log_term: int,
        entries: list[str],
        leader_commit: int,
        leader: str = "",
    ) -> bool:
        """Give the node entries, each `TERM,VALUE`, behind one that it must hold."""
        numbered = []
        for index, entry in enumerate(entries, start=prev_log_index + 2):
            found = re.fullmatch(r"(\d+),(.*)", entry, re.DOTALL)
            if found is None:
                raise ValueError(f"an entry is TERM,VALUE, as in 2,44, not {entry!r}")
            command = written(found[2])
            numbered.append({"index": index, "term": int(found[1]), "command": command})
        line = (
            f"AppendEntries {term:d}-{prev_log_index + 1}-{prev_log_term:d}-{json.dumps(numbered)} "
            f"commit {leader_commit + 1} round 0"
        )
        answer = self._ask_as_peer(leader or self._peers[0], line)
        return answer.startswith(f"I am up to date term {term} ")

    def _ask_as_peer(self, peer: str, line: str) -> str:
        if peer not in self._peers:
            raise ValueError(f"{peer!r} is none of {self._name}'s peers {', '.join(self._peers)}")
        return self._lab.ask_as_peer(self._name, peer, line)

    def submit_value(self, value: str) -> str:
        """Write a value to all, whichever node is asked: `Success: …` once a majority has it on
        disk, else `Error: …`, the two words that the course's client looks for."""
        try:
            leader = self._lab.submit(str(value), self._name)
        except (ClientError, LabError) as problem:
            return f"Error: {problem}"
        return f"Success: {leader} leads, a majority has {value} on disk"

    def is_leader(self) -> bool:
        return self._lab.status(self._name).get("role") == "leader"

    def get_heartbeat_interval(self) -> float:
        """Return the seconds between two heartbeats of this node, were it to lead."""
        for fault in self._lab.status(self._name).get("faults", []):
            if fault.startswith("HEARTBEAT "):
                return int(fault.removeprefix("HEARTBEAT ").removesuffix("ms")) / 1000
        return NORMAL_S

    def set_heartbeat_interval(self, seconds: float) -> bool:
        """Have this node, when it leads, send its heartbeats so far apart; 0.1 is as ever."""
        time = "normal" if seconds == NORMAL_S else f"{round(1000 * seconds)}ms"
        return self._order(f"HEARTBEAT {time}")

    def set_replication_simulation(self, enabled: bool) -> bool:
        return self._order(f"SKIP-REPLICATION {'on' if enabled else 'off'}")

    def delete_log_file(self) -> bool:
        """Take the node's log away, safely: it comes back without a vote until it has it again."""
        return self._order("DELETE-LOG")

    def _order(self, verb: str) -> bool:
        try:
            self._lab.order(self._name, verb)
        except LabError:
            return False
        return True


def main() -> int:
    """Serve until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(description="XML-RPC in front of one node.")
    here = Path(__file__).resolve().parent / "run" / config.FILE_NAME
    parser.add_argument("name", help="the node: node1")
    parser.add_argument("port", type=int, help="where to listen for XML-RPC: 18000")
    parser.add_argument("--config", type=Path, default=here, help="who the nodes are")
    arguments = parser.parse_args()
    try:
        config.port_number(str(arguments.port), "port")
        members = config.read(arguments.config).members
        if arguments.name not in members:
            known = f"it names {', '.join(members)}"
            raise config.ConfigError(f"{arguments.config} names no {arguments.name}; {known}")
        lab = Lab(members)
        server = Door(Gateway(lab, arguments.name), arguments.port)
    except config.ConfigError as problem:
        print(f"gateway.py: {problem}", file=sys.stderr)
        return 2
    except OSError as problem:
        reason = f"can't listen on localhost port {arguments.port}: {problem.strerror}"
        print(f"gateway.py: {reason}", file=sys.stderr)
        return 2
    where = f"http://localhost:{arguments.port}/"
    print(f"{arguments.name} is reached by XML-RPC at {where}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    end_with(main)
