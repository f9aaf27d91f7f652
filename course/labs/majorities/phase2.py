"""Phase 2 of the course: a fixed leader, and replication over plain TCP without any election.

    python3 course/labs/majorities/phase2.py Node1 26200                  leads, because it is first
    python3 course/labs/majorities/phase2.py Node2 26201 localhost:26200  follows
    python3 course/labs/majorities/phase2.py Node3 26202 localhost:26200

It isn't a part of raftline and shares only the look of its lines. It is here for comparison: its
failures show the purpose of terms, elections, majorities and a log on disk.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import socketserver
import sys
import threading

Address = tuple[str, int]


class FixedLeader:
    """The log of one node, only in memory, and the followers that learn of new entries."""

    def __init__(self, name: str, leader: Address | None) -> None:
        self.name = name
        self.leader = leader  # None: this node leads, and always will
        self.entries: list[str] = []
        self._followers: list[socketserver.StreamRequestHandler] = []
        self._lock = threading.Lock()

    def answer(self, text: str, asker: socketserver.StreamRequestHandler) -> str:
        """Return the reply to one line."""
        verb, _, rest = text.partition(" ")
        with self._lock:
            if verb == "RETRIEVE":
                return f"RETRIEVE response: {json.dumps(self.entries)}"
            if self.leader is not None:
                host, port = self.leader
                return f"LEADER_INFO response: the leader is fixed, at {host}:{port}"
            if verb == "FOLLOW":
                self._followers.append(asker)
                return f"ENTRIES {json.dumps(self.entries)}"
            if verb == "STORE" and rest:
                self.entries.append(rest)
                self._forward(f"ENTRIES {json.dumps(self.entries)}")
                return f"STORE response: entry {len(self.entries)} is {rest}"
        return "Sorry, I understand: STORE KEY VALUE, RETRIEVE, FOLLOW"

    def _forward(self, text: str) -> None:
        """Send the log to all followers. TCP loses nothing while both ends live; but no node
        notices entries that it missed while it was away, or that its leader never sent."""
        print(f"Forwarding the log to followers: {self.entries}", flush=True)
        for follower in list(self._followers):
            try:
                follower.wfile.write(f"{self.name}@{text}\n".encode())
            except OSError:
                self._followers.remove(follower)

    def follow(self) -> None:
        """Take over the log of the leader while it is there; no node replaces it."""
        assert self.leader is not None
        with contextlib.suppress(OSError), socket.create_connection(self.leader) as connection:
            connection.sendall(f"{self.name}@FOLLOW\n".encode())
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    text = line.partition("@")[2]
                    with self._lock:
                        self.entries = json.loads(text.partition(" ")[2])
                    print(f"Log entries are: {self.entries}", flush=True)
        print(f"[!] {self.name}: the leader is gone; no way to elect another", flush=True)


def serve(node: FixedLeader, port: int) -> socketserver.ThreadingTCPServer:
    """Return the server of one node, bound to its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                for raw in self.rfile:
                    line = raw.decode("utf-8", "replace").rstrip("\r\n")
                    text = line.partition("@")[2] if "@" in line.partition(" ")[0] else line
                    self.wfile.write(f"{node.name}@{node.answer(text, self)}\n".encode())

    class LineServer(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    return LineServer(("localhost", port), Handler)


def main(arguments: list[str]) -> int:
    """Run one node; return 2 if the arguments or the port can't be used."""
    if len(arguments) not in (2, 3) or not _is_number(arguments[1]):
        print("usage: phase2.py NAME PORT [LEADERHOST:PORT]", file=sys.stderr)
        return 2
    leader: Address | None = None
    if len(arguments) == 3:
        host, _, leader_port = arguments[2].rpartition(":")
        if not host or not _is_number(leader_port):
            print(f"phase2.py: {arguments[2]} is not HOST:PORT", file=sys.stderr)
            return 2
        leader = host, int(leader_port)
    node = FixedLeader(arguments[0], leader)
    try:
        server = serve(node, int(arguments[1]))
    except (OSError, OverflowError) as error:
        print(f"phase2.py: port {arguments[1]} can't be used: {error}", file=sys.stderr)
        return 2
    role = "follower" if leader else "leader, fixed"
    print(f"{node.name} listens on port {arguments[1]} as {role}", flush=True)
    if leader:
        threading.Thread(target=node.follow, daemon=True).start()
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    sys.exit(main(sys.argv[1:]))
