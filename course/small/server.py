"""`python course/small/server.py NAME PORT [FOLDER]`: one server of a small key-value store.

One thread takes connections, each connection has one, each other server has two (one asks, one
reads its answers), and one keeps the time. The holder of the lock `core` may step the Raft core,
and carries out its Effects before letting go. So what a step promises is on the disk before others
hear of it.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import lines
import raft
from logmanager import LogManager, Machine, Unusable

LOGS = Path(__file__).resolve().parents[2] / "logs"
TIMES = raft.Options(election_timeout_ms=500, heartbeat_ms=100)

NOT_LEADER = "Sorry, I am not the leader. Last leader I heard from is:"
UNKNOWN = "Sorry, outcome unknown: I lost the leadership before a majority had this. See: get KEY"


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def pick_timeout_ms() -> int:
    return random.randrange(TIMES.election_timeout_ms, 2 * TIMES.election_timeout_ms)  # §5.2


class Server:
    """The core at work."""

    def __init__(self, name: str, members: Mapping[str, str], folder: Path) -> None:
        self.name, self._members = name, members
        self._files, self._machine = LogManager(folder, name, members), Machine()
        disk = (self._files.log, *self._files.state)
        start = raft.Start(name, raft.Members(tuple(members)), *disk, TIMES, pick_timeout_ms)
        self._node = raft.Node(start, now_ms())
        self._core = threading.Condition()
        self._alarm_ms = 0
        self._writes: dict[int, Future[str]] = {}  # by the index of their entries
        self._peers = {peer: Peer(self, peer, members[peer]) for peer in self._node.peers}
        for run in (self._keep_time, *(peer.run for peer in self._peers.values())):
            threading.Thread(target=run, daemon=True).start()

    # --- the core, under its lock -----------------------------------------------------------------

    def step(self, taken: object) -> str:
        """Step the core; return the line that answers a message, if there is one. A server that
        can't write, or execute an entry, ends."""
        with self._core:
            role = self._node.role
            try:
                answer = self._step(taken)
            except Exception as error:
                print(f"[!] {self.name} stops: {error}", file=sys.stderr, flush=True)
                os._exit(3)
            if self._node.role != role:
                print(f"[*] I am {self._node.role} in term {self._node.term}", flush=True)
            if self._node.wake_at_ms < self._alarm_ms:
                self._core.notify()
            return answer

    def _step(self, taken: object) -> str:
        """Carry out the Effects in their order: the disk, the messages, the clients."""
        out = self._node.step(taken, now_ms())
        is_written = self._files.save(out)
        answer = f"{self.name}@Sorry, {out.sorry}\n" if out.sorry else ""
        for message in out.send_after_save:
            if isinstance(message, (raft.RequestVote, raft.AppendEntries)):
                self._peers[message.to].send(lines.format_message(message))
            else:
                answer = lines.format_message(message)
        self._answer_clients(out)
        if is_written:  # a leader counts its own disk from here on
            self._step(raft.Synced(self._node.log.last_index, self._node.log.last_term))
        return answer

    def _answer_clients(self, out: raft.Effects) -> None:
        if self._node.role != "leader":  # first: another leader's entries may be in their place
            for reply in self._writes.values():
                reply.set_result(UNKNOWN)
            self._writes.clear()
        for entry in out.apply:
            result = self._machine.execute(entry.command)
            if entry.index in self._writes:  # Figure 2, Leaders 2: after it is applied
                self._writes.pop(entry.index).set_result(result)
        for ready in out.reads:
            command, reply = ready.token
            reply.set_result(self._machine.read(command))
        for _, reply in out.refused:
            reply.set_result(self._who_leads())

    def _keep_time(self) -> None:
        with self._core:
            while True:
                self._alarm_ms = self._node.wake_at_ms
                self._core.wait(max(0, self._alarm_ms - now_ms()) / 1000)
                self.step(raft.Tick())  # which does nothing before its time

    def _who_leads(self) -> str:
        if (leader := self._node.leader) is None:
            return "Sorry, I know of no leader. Try again."
        return f"{NOT_LEADER} {leader} ({self._members[leader]})"

    # --- requests and messages --------------------------------------------------------------------

    def ask(self, line: lines.Line) -> str:
        """Return the reply to a client, once it is certain."""
        command, reply = lines.read_request(line.text), Future[str]()
        with self._core:
            if self._node.role != "leader":
                return self._who_leads()
            if command.startswith(("get ", "show")):
                self.step(raft.Read([(command, reply)]))
            else:
                numbered = f"{line.sender}{line.number}@{command}" if line.number else command
                self._writes[self._node.log.last_index + 1] = reply
                self.step(raft.Propose([numbered]))
        return reply.result()

    def hear(self, line: lines.Line) -> str:
        """Give a message of another server to the core; return the line that answers it."""
        if line.sender not in self._peers:
            raise lines.Mistake(f"{line.sender} is not a peer of {self.name}: {line.text[:40]}")
        return self.step(raft.Receive(lines.read_question(line.sender, self.name, line.text)))

    def line_for(self, raw: bytes) -> str:
        """Return the line that answers a line on a connection that another program made."""
        number = ""
        try:
            line = lines.read_line(raw)
            word, number = line.text.split(" ", 1)[0], line.number
            if line.sender and word in lines.QUESTIONS:
                return self.hear(line)
            reply = self.ask(line)
        except lines.Mistake as mistake:
            reply = f"Sorry, {mistake}"
        return f"{self.name}{number}@{reply}\n"

    def serve(self, connection: socket.socket) -> None:
        """Answer each line of a connection, in their order, until the other side is gone."""
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (raw := stream.readline(lines.LINE_BYTES)).endswith(b"\n"):
                connection.sendall(self.line_for(raw).encode(errors="backslashreplace"))


class Peer:
    """The connection to another server: questions go out, its answers come in."""

    def __init__(self, server: Server, name: str, address: str) -> None:
        self._server, self._name = server, name
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()  # None: the connection broke

    def send(self, line: str) -> None:
        if self._outbox.qsize() < 64:  # Raft sends again what is lost
            self._outbox.put(line.encode())

    def run(self) -> None:
        """Connect again and again."""
        while True:
            try:
                with socket.create_connection(self._address, timeout=1) as link:
                    link.settimeout(None)
                    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._speak(link)
            except OSError:
                time.sleep(0.05)  # nobody listens there now
            while not self._outbox.empty():
                self._outbox.get()

    def _speak(self, link: socket.socket) -> None:
        reader = threading.Thread(target=self._listen, args=[link], daemon=True)
        reader.start()
        try:
            while (line := self._outbox.get()) is not None:
                link.sendall(line)
        finally:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            reader.join()

    def _listen(self, link: socket.socket) -> None:
        with suppress(OSError, lines.Mistake), link.makefile("rb") as stream:
            while (raw := stream.readline(lines.LINE_BYTES)).endswith(b"\n"):
                line = lines.read_line(raw)
                message = lines.read_answer(self._name, self._server.name, line.text)
                if line.sender == self._name and message is not None:
                    self._server.step(raft.Receive(message))
        self._outbox.put(None)


def read_members(name: str, folder: Path) -> Mapping[str, str]:
    """Return the servers in `server-configuration.txt`: of this folder, of the one above it, or of
    the clone."""
    paths = [one / "server-configuration.txt" for one in (folder, folder.absolute().parent, LOGS)]
    path = next((one for one in paths if one.is_file()), paths[0])  # it names what is missing
    members: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if words := line.partition("#")[0].split():
            if not lines.MEMBER.fullmatch(" ".join(words)) or int(words[2]) > 65535:
                raise Unusable(f"the form of a line in {path} is NAME HOST PORT, not: {line}")
            members[words[0]] = f"{words[1]}:{words[2]}"
    if name not in members:
        raise Unusable(f"{path} has no {name}, only {' '.join(members)}")
    return members


def main(words: list[str]) -> None:
    if len(words) not in (2, 3) or not words[1].isdecimal():
        sys.exit("usage: python course/small/server.py NAME PORT [FOLDER]")
    name, port = words[0], int(words[1])
    folder = Path(words[2]) if len(words) == 3 else LOGS / "small"
    try:
        members = read_members(name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        server = Server(name, members, folder)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"[!] {name} can't start at port {port} with the files in {folder}: {error}")
    print(f"[*] Server started on port {port}", flush=True)
    while True:
        try:
            connection, _ = listener.accept()
            threading.Thread(target=server.serve, args=[connection], daemon=True).start()
        except (OSError, RuntimeError):  # no room for one more, until a client leaves
            time.sleep(0.05)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
