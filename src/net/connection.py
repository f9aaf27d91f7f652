"""One connection from outside, a client's or a peer's, and the thread that serves it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from raftline.controller.control import VERBS as CONTROL_VERBS
from raftline.net.arrival import Arrival
from raftline.net.lines import HalfLine, LineReader, LineTooLong
from raftline.net.local_commands import LocalCommands, ParsedLine
from raftline.net.outgoing import Outgoing
from raftline.net.peers import LINE_BYTES_MAX
from raftline.node.queue import BY_ROUND, Batch, Reading
from raftline.raft import messages
from raftline.raft.messages import Answer, Message, PeerError
from raftline.wire.membercommands import read_change
from raftline.wire.protocol import (
    FULL,
    MEMBER_VERBS,
    SHUT_DOWN,
    ProtocolError,
    Request,
    decode_line,
    error,
    looks_foreign,
    read_request,
    reply_line,
    split_sender,
)

if TYPE_CHECKING:
    from raftline.node.server import Server

BUFFER_BYTES = 16 << 10
TIMING_MARK, NO_TIMING_MARK = b"\xff\xfd\x06", b"\xff\xfc\x06"  # RFC 860, behind telnet's Ctrl-C
HEAR_OUT_S = 2.0  # for what is still on its way when a connection is of no more use
PATIENCE_S = 30.0  # for a line that was begun, and for a reader that takes no replies


class Connection:
    """Reads all lines that have arrived, serves them, and writes all their replies in one send."""

    def __init__(
        self,
        server: Server,
        connection: socket.socket,
        *,
        for_peers_only: bool,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; `announce` says on the console that this connection has come."""
        self._server = server
        self._arrival = Arrival(announce)
        self._socket = connection
        self._for_peers_only = for_peers_only
        self._reader = LineReader(connection, BUFFER_BYTES, PATIENCE_S)
        self.outgoing = Outgoing(server, connection)
        self._kind: tuple[str, Reading] = ("", BY_ROUND)  # of what was served last
        self._is_first_line = True
        self._speaks_for: str | None = None
        self._replies: list[str] = []
        self._local_commands = LocalCommands(server, connection, self._flush)

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
            self._say_and_flush(self._server.limits.line_too_long)
            self._drain_before_close()
        except HalfLine:
            self._say_and_flush(f"a line was begun and not ended within {PATIENCE_S:.0f} s.")
        except OSError:
            pass  # they are gone
        except MemoryError:
            self._say_and_flush("this request needs more memory than there is.")
        finally:
            name = self._speaks_for
            if name is not None and self._server.speakers.release(name, self):
                # All that it said has been taken: only now is its silence certain.
                self._server.driver.lost(name)
            self.close()

    def close(self) -> None:
        """End the connection, from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
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
        end_s = time.monotonic() + HEAR_OUT_S
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(HEAR_OUT_S)
            while time.monotonic() < end_s and self._socket.recv(BUFFER_BYTES):
                pass

    def answer(self, answers: Sequence[Message]) -> None:
        """Answer a peer, from whichever thread made it true. Never waits: a peer that does not
        take its answers is cut off, and asks again."""
        data = "".join(f"{self._server.name}@{messages.spell(m)}\n" for m in answers).encode()
        if not self.outgoing.send_now(data):
            self.break_off()

    def _longest(self, beginning: bytes) -> int:
        """How long a line may be: a peer's holds many entries, a client's one key and value.

        Who only says to be a peer gets room for one entry of any size (JSON doubles its
        backslashes), and the rest once it has spoken as one.
        """
        server = self._server
        name, at, text = beginning.partition(b"@")
        is_peer = at and server.is_peer(name.decode(errors="replace"))
        if not is_peer and text.startswith(b"AppendEntries "):  # a leader it never heard of
            is_peer = not server.node.view.hears_from_leader
        if not is_peer:
            return server.limits.line_bytes
        return LINE_BYTES_MAX if self._speaks_for else 2 * server.limits.line_bytes

    def _handle(self, lines: list[bytes]) -> bool:
        """Serve lines in order; return False where the connection is of no use."""
        if self._is_first_line:
            self._is_first_line = False
            foreign = looks_foreign(lines[0])
            if foreign:
                self._replies.append(reply_line(self._server.name, "", error(foreign)))
                self._flush()
                return False
        for line in lines:
            if TIMING_MARK in line:  # telnet shows nothing before it is answered
                self._socket.sendall(NO_TIMING_MARK)
        spoken = [self._understand(line) for line in lines]
        if self._for_peers_only and spoken[0].kind != "peer":
            self._say_and_flush(FULL.removeprefix("Sorry, "))
            return False
        while spoken:
            kind, reading = spoken[0].kind, spoken[0].reading
            length = 1
            while length < len(spoken) and spoken[length][0] == kind:
                if spoken[length].reading != reading:
                    break
                length += 1
            self._serve_run(kind, reading, spoken[:length])
            spoken = spoken[length:]
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

    def _understand(self, line: bytes) -> ParsedLine:
        server = self._server
        sender, number, text = "", "", ""
        try:
            sender, number, text = split_sender(decode_line(line))
            order = text.lstrip(" ")
            if order.partition(" ")[0] in CONTROL_VERBS:
                return ParsedLine("control", Request(sender, number, "", order))
            if sender and text.split(" ", 1)[0] in messages.FIRST_WORDS:
                heard = None if server.is_down else self._read_message(sender, text)
                return ParsedLine("peer", _NOBODY, heard)
            if server.is_down and text != "status":
                raise ProtocolError(SHUT_DOWN.removeprefix("Sorry, "))
            request = read_request(sender, number, text, server.limits)
            if request.verb in MEMBER_VERBS:
                server.traffic_log.requested(sender, text)
                return ParsedLine("members", request, change=read_change(request.command))
        except (ProtocolError, PeerError) as problem:
            why = server.control.why_no_order(sender, text) or str(problem)
            return ParsedLine("local", Request(sender, number, "", ""), None, error(why))
        return self._sort(request, sender, text)

    def _sort(self, request: Request, sender: str, text: str) -> ParsedLine:
        """Return what kind of request it is."""
        server, verb = self._server, request.verb
        if verb == "machine" and (reply := server.without_machine(request.command)):
            return ParsedLine("local", request, None, reply)
        if verb != "status":  # tools ask for it all the time
            server.traffic_log.requested(sender, text)
        if verb in ("help", "status", "transfer"):
            return ParsedLine("local", request)
        if verb not in ("get", "show"):
            return ParsedLine("backup" if verb == "backup" else "write", request)
        kind, reading = server.readings.kind_of(verb, request.read)
        if verb == "show" and kind == "read":
            kind = "show"
        return ParsedLine(kind, request, reading=reading)

    def _read_message(self, sender: str, text: str) -> Message:
        server = self._server
        if not server.is_peer(sender) and not self._may_be_heard(sender, text):
            raise PeerError(f"{server.why_no_peer(sender)}, so it can't say {text[:40]}")
        server.speakers.claim(sender, self)
        self._speaks_for = sender
        message = messages.read(sender, server.name, text)
        if isinstance(message, Answer):
            raise PeerError("an answer is only taken on the connection that asked")
        if not server.faults.cuts_off(sender):
            server.traffic_log.received(sender, text, message)
        return message

    def _may_be_heard(self, sender: str, text: str) -> bool:
        """Whether the core would listen to a stranger that says this (reconfiguration)."""
        try:
            message = messages.read(sender, self._server.name, text)
        except PeerError:
            return False
        return self._server.node.accepts(message)

    def _serve_peer(self, received: list[Message]) -> None:
        for complaint in self._server.hear(received, self):
            self._replies.append(reply_line(self._server.name, "", error(complaint)))

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
        self._server.driver.submit(batch)

    def _reply(self, request: Request, text: str) -> None:
        self._replies.append(reply_line(self._server.name, request.id, text))

    def _say_and_flush(self, problem: str) -> None:
        self._replies.append(reply_line(self._server.name, "", error(problem)))
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


_NOBODY = Request("", "", "", "")
