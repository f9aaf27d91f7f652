"""One connection from outside, a client's or a peer's, and the thread that serves it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Sequence

from raftline.net.host import Batch, Host
from raftline.net.lines import Arrival, HalfLine, LineReader, LineTooLong
from raftline.net.local_commands import LocalCommands
from raftline.net.outgoing import Outgoing
from raftline.net.peers import LINE_BYTES_MAX
from raftline.raft import messages
from raftline.raft.messages import Message, PeerError
from raftline.wire.parsing import BY_ROUND, ParsedLine, Reading, parse
from raftline.wire.protocol import (
    FULL,
    SHUT_DOWN,
    Request,
    error,
    looks_foreign,
    reply_line,
)

BUFFER_BYTES = 16 << 10
TIMING_MARK, NO_TIMING_MARK = b"\xff\xfd\x06", b"\xff\xfc\x06"  # RFC 860, behind telnet's Ctrl-C
DRAIN_S = 2.0  # for what is still on its way when a connection is of no more use
PATIENCE_S = 30.0  # for a line that was begun, and for a reader that takes no replies


class Connection:
    """Reads all lines that have arrived, serves them, and writes all their replies in one send."""

    def __init__(
        self,
        host: Host,
        connection: socket.socket,
        *,
        for_peers_only: bool,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; `announce` says on the console that this connection has come."""
        self._host = host
        self._arrival = Arrival(announce)
        self._socket = connection
        self._for_peers_only = for_peers_only
        self._reader = LineReader(connection, BUFFER_BYTES, PATIENCE_S)
        self.outgoing = Outgoing(host, connection)
        self._kind: tuple[str, Reading] = ("", BY_ROUND)  # of what was served last
        self._is_first_line = True
        self._speaks_for: str | None = None
        self._replies: list[str] = []
        self._local_commands = LocalCommands(host, connection, self._flush)

    @property
    def is_controllers(self) -> bool:
        """Whether a controller speaks here, who outlives a node that is shut down."""
        return self._local_commands.is_controllers

    def serve(self) -> None:
        """Serve until either side has enough; nothing that arrives here harms anybody else."""
        try:
            self._arrival.look(self._socket)
            while lines := self._reader.read(self._longest):
                self._arrival.heard(lines)
                if not self._handle(lines):
                    self._drain_before_close()
                    break
                self._flush()
                self.outgoing.wait_for_room()
            self.outgoing.wait_until_empty()
        except LineTooLong:
            self._say_and_flush(self._host.limits.line_too_long)
            self._drain_before_close()
        except HalfLine:
            self._say_and_flush(f"a line was begun and not ended within {PATIENCE_S:.0f} s.")
        except OSError:
            pass  # they are gone
        except MemoryError:
            self._say_and_flush("this request needs more memory than there is.")
        finally:
            name = self._speaks_for
            if name is not None and self._host.speakers.release(name, self):
                # All that it said has been taken: only now is its silence certain.
                self._host.lost(name)
            self.close()

    def close(self) -> None:
        """End the connection, from any thread."""
        self.break_off()
        self._socket.close()

    def break_off(self) -> None:
        """Make this connection's thread come out of its wait and end it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _drain_before_close(self) -> None:
        """Throw away what is still being sent, for a while, so that the last reply arrives.

        To close a socket with bytes unread resets it, and a reset takes away what the other side
        has not read yet.
        """
        end_s = time.monotonic() + DRAIN_S
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(DRAIN_S)
            while time.monotonic() < end_s and self._socket.recv(BUFFER_BYTES):
                pass

    def answer(self, answers: Sequence[Message]) -> None:
        """Answer a peer, from whichever thread made it true. Never waits: a peer that does not
        take its answers is cut off, and asks again."""
        data = "".join(f"{self._host.name}@{messages.spell(m)}\n" for m in answers).encode()
        if not self.outgoing.send_now(data):
            self.break_off()

    def _longest(self, beginning: bytes) -> int:
        """How long a line may be: a peer's holds many entries, a client's one key and value.

        Who only says to be a peer gets room for one entry of any size (JSON doubles its
        backslashes), and the rest once it has spoken as one.
        """
        host = self._host
        name, at, text = beginning.partition(b"@")
        is_peer = at and host.is_peer(name.decode(errors="replace"))
        if not is_peer and text.startswith(b"AppendEntries "):  # a leader it never heard of
            is_peer = not host.hears_from_leader()
        if not is_peer:
            return host.limits.line_bytes
        return LINE_BYTES_MAX if self._speaks_for else 2 * host.limits.line_bytes

    def _handle(self, lines: list[bytes]) -> bool:
        """Serve lines in order; return False where the connection is of no use."""
        if self._is_first_line:
            self._is_first_line = False
            foreign = looks_foreign(lines[0])
            if foreign:
                self._replies.append(reply_line(self._host.name, "", error(foreign)))
                self._flush()
                return False
        for line in lines:
            if TIMING_MARK in line:  # telnet shows nothing before it is answered
                self._socket.sendall(NO_TIMING_MARK)
        host = self._host
        parsed = [
            self._route(parse(line, host.limits, host.readings, host.name)) for line in lines
        ]
        if self._for_peers_only and parsed[0].kind != "peer":
            self._say_and_flush(FULL.removeprefix("Sorry, "))
            return False
        while parsed:
            kind, reading = parsed[0].kind, parsed[0].reading
            length = 1
            while length < len(parsed) and parsed[length][0] == kind:
                if parsed[length].reading != reading:
                    break
                length += 1
            self._serve_run(kind, reading, parsed[:length])
            parsed = parsed[length:]
        return True

    def _serve_run(self, kind: str, reading: Reading, run: list[ParsedLine]) -> None:
        if (kind, reading) != self._kind:  # what comes later sees what came before
            self.outgoing.wait_until_empty()
            self._kind = (kind, reading)
        if kind == "peer":
            self._flush()
            self._serve_peer([one.message for one in run if one.message is not None])
        elif kind in ("write", "read"):
            requests = [one.request for one in run]
            self._serve_requests(requests, is_read=kind == "read", reading=reading)
        else:
            for one, reply in zip(run, self._local_commands.answer(kind, run), strict=True):
                self._reply(one.request, reply)

    def _route(self, line: ParsedLine) -> ParsedLine:
        """Return the line as this node takes it: some that can be understood are refused."""
        host, request = self._host, line.request
        if line.kind == "control":
            return line
        if line.kind == "peer":
            return self._hear(line)
        if host.is_down and line.kind != "garbled" and line.text != "status":
            return self._refuse(line, SHUT_DOWN.removeprefix("Sorry, "))
        if request.verb == "machine" and (reply := host.without_machine(request.command)):
            return line._replace(kind="local", reply=reply)
        if request.verb not in ("", "status"):  # tools ask for a status all the time
            host.traffic_log.requested(request.sender, line.text)
        return self._refuse(line, line.problem) if line.problem else line

    def _refuse(self, line: ParsedLine, problem: str) -> ParsedLine:
        why = self._host.control.why_no_order(line.request.sender, line.text) or problem
        return ParsedLine("local", line.request, reply=error(why))

    def _hear(self, line: ParsedLine) -> ParsedLine:
        """Let a server's message in, if its sender may speak for a peer on this connection."""
        host, sender, message = self._host, line.request.sender, line.message
        if host.is_down:
            return line._replace(message=None)
        if stranger := host.why_not_heard(sender, message):
            return self._refuse(line, f"{stranger}, so it can't say {line.text[:40]}")
        try:
            host.speakers.claim(sender, self)
        except PeerError as taken:
            return self._refuse(line, str(taken))
        self._speaks_for = sender
        if message is None or line.problem:
            return self._refuse(line, line.problem)
        host.traffic_log.received(sender, line.text, message)
        return line

    def _serve_peer(self, received: list[Message]) -> None:
        for complaint in self._host.hear(received, self):
            self._replies.append(reply_line(self._host.name, "", error(complaint)))

    def _serve_requests(
        self, requests: list[Request], *, is_read: bool, reading: Reading
    ) -> None:
        """Hand requests over; their replies leave by themselves, before those of later lines."""
        batch = Batch(
            [r.command if is_read or not r.sender else _logged(r) for r in requests],
            is_read=is_read,
            reading=reading,
            ids=[r.id for r in requests],
            reply_sink=self.outgoing,
        )
        self._flush()
        self.outgoing.add(batch)
        self._host.submit(batch)

    def _reply(self, request: Request, text: str) -> None:
        self._replies.append(reply_line(self._host.name, request.id, text))

    def _say_and_flush(self, problem: str) -> None:
        self._replies.append(reply_line(self._host.name, "", error(problem)))
        with contextlib.suppress(OSError):
            self._flush()

    def _flush(self) -> None:
        """Send the replies that have gathered; SO_SNDTIMEO ends it for a reader that takes none."""
        if self._replies:
            replies, self._replies = self._replies, []
            self.outgoing.send(replies)


def _logged(request: Request) -> str:
    """Return the command as it will stand in the log: with the client's name where that counts."""
    if request.id:
        return f"{request.sender}#{request.id}@{request.command}"
    return f"{request.sender}@session" if request.verb == "session" else request.command
