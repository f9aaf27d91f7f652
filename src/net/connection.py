"""One connection from outside, a client's or a peer's, and the thread that serves it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Final

from raftline.access.login import address_of, is_private
from raftline.access.rights import denial_reason
from raftline.access.tls import Tls, named_in
from raftline.access.tls_socket import TlsSocket
from raftline.common.level import LEVEL
from raftline.net.admission import Admission, level_of
from raftline.net.host import Batch, Host, Origin
from raftline.net.lines import (
    ConnectionNotice,
    HalfLine,
    HalfLines,
    HalfLinesFull,
    Late,
    LineReader,
    LineTooLong,
    drain,
)
from raftline.net.local_commands import LocalCommands
from raftline.net.opening import TLS_ONLY, NoTls, begin_tls
from raftline.net.outgoing import Outgoing, Replies
from raftline.net.shared_reader import Shareable, SharedReader
from raftline.net.watching import Observing, Watching
from raftline.raft import spelling
from raftline.raft.messages import Message
from raftline.wire.commands import Request
from raftline.wire.limits import (
    HANDSHAKE_S,
    LINE_S,
    PROOF_S,
    READ_BYTES,
    STRANGER_LINE_BYTES,
    STRANGER_S,
)
from raftline.wire.parsing import BY_ROUND, ParsedLine, Reading, parse
from raftline.wire.protocol import FULL, error, looks_foreign

TIMING_MARK: Final = b"\xff\xfd\x06"  # RFC 860, after telnet's Ctrl-C
NO_TIMING_MARK: Final = b"\xff\xfc\x06"
HALF_LINES_FULL = (
    "the lines that clients began and did not end take too much memory, and this is one of the"
    " oldest; nothing of it was done. Send it again, without a pause."
)
SHARED_KINDS: Final = ("read", "write")  # of lines that the shared reader serves


class Connection(Origin, Shareable):
    """Reads all lines that have arrived, serves them, and writes all their replies in one send."""

    def __init__(
        self,
        host: Host,
        connection: socket.socket,
        *,
        for_peers_only: bool,
        announce: Callable[[], None] = lambda: None,
        shared_reader: SharedReader | None = None,
        half_lines: HalfLines | None = None,
    ) -> None:
        """Prepare; `announce` prints on the console that this connection has come. `half_lines`
        counts those of all connections."""
        self._host = host
        self._notice = ConnectionNotice(announce)
        self._socket = connection
        self._for_peers_only = for_peers_only
        self._reader = LineReader(connection, READ_BYTES, LINE_S, half_lines)
        self.outgoing = Outgoing(host, connection)
        self._kind: tuple[str, Reading] = ("", BY_ROUND)  # of what was served last
        self._is_first_line = True
        self._admission = Admission(
            host, self, lambda: is_private(connection), lambda: address_of(connection)
        )
        self._replies = Replies(host.name, self.outgoing)
        self._local_commands = LocalCommands(host, connection, self._replies.flush)
        why_refused = self._admission.denial_reason
        self._watching = Watching(host, self.outgoing, self._replies, why_refused)
        self._observing = Observing(host, self.outgoing, self._replies, why_refused)
        self._shared_reader = shared_reader
        self.last_window = self.private_until = 0  # see `Shareable`
        self.resume = threading.Lock()
        self.resume.acquire()
        # By the shared reader, for the thread of this connection: lines that were admitted, and
        # those that follow them.
        self._admitted: list[ParsedLine] = []
        self._left: list[bytes] = []
        self._trouble: Exception | None = None  # that the shared reader met
        self._is_begun = False  # any TLS is
        self._why_late = ""  # if nobody logs in or proves anything; "": that has no bound

    @property
    def is_controllers(self) -> bool:
        """Whether a controller speaks here, who outlives a node that is shut down."""
        return self._local_commands.is_controllers

    @property
    def bytes_moved(self) -> tuple[int, int]:
        """How many bytes were read, and sent as replies and events."""
        return self._reader.bytes_read, self.outgoing.bytes_sent

    def serve(self) -> None:
        """Serve until either side has enough; nothing that arrives here harms anybody else."""
        try:
            self._bound_strangers()
            wait_s = HANDSHAKE_S if self._why_late else None
            if not admit_by_tls(self._socket, self._host.tls, self._admission, wait_s=wait_s):
                self._notice.peek(self._socket)
            self._is_begun = True
            self._bound_strangers()
            self._serve_lines()
        except LineTooLong as problem:
            self._reader.forget()
            self._replies.complain(self._admission.why_too_long(problem.longest))
            drain(self._socket)
        except HalfLinesFull:
            self._reader.forget()
            self._replies.complain(HALF_LINES_FULL)
        except NoTls:
            self._replies.complain(TLS_ONLY)
            drain(self._socket)
        except Late:
            self._replies.complain(self._why_late)
        except HalfLine:
            self._replies.complain(f"a line was begun and not ended within {LINE_S:.0f} s.")
        except OSError:
            pass  # they are gone
        except MemoryError:
            self._replies.complain("this request needs more memory than there is.")
        finally:
            name = self._admission.speaks_for
            if name is not None and self._host.speakers.release(name, self):
                # All that it sent has been taken: only now is its silence certain.
                self._host.peer_disconnected(name)
            self._watching.end()
            self._observing.end()
            self._reader.forget()
            self.close()

    def _serve_lines(self) -> None:
        while (lines := self._next_lines()) is not None:
            self._notice.first_lines(lines)
            if not self._handle(lines):
                drain(self._socket)
                break
            self._replies.flush()
            self.outgoing.wait_for_room()
        self.outgoing.wait_until_empty()

    @property
    def is_stranger(self) -> bool:
        """Whether nobody here has sent anything yet, or may do anything without a login."""
        return self._is_first_line or self._admission.is_stranger

    def give_up(self) -> None:
        """End a stranger's connection, whose place others need; from any thread."""
        if self._is_begun:
            self.outgoing.send_now(f"{self._host.name}@{FULL}\n".encode())
        self.break_off()

    def _bound_strangers(self) -> None:
        """Bound the time of a proof that was begun, of the first line on a place for peers, and
        of those who have to log in."""
        admission, due_s, why = self._admission, 0.0, ""
        if admission.awaits_proof or (self._for_peers_only and admission.must_prove):
            due_s, why = PROOF_S, f"nobody proved to be a member within {PROOF_S:g} s."
        elif self._for_peers_only and self._is_first_line:
            due_s, why = PROOF_S, f"the last places are for peers, and none spoke in {PROOF_S:g} s."
        elif admission.is_stranger:
            due_s, why = STRANGER_S, f"nobody logged in on this connection within {STRANGER_S:g} s."
        if why != self._why_late:
            self._why_late = why
            self._reader.limit(due_s or None)
        if admission.speaks_for is not None:
            self._reader.count_no_more()

    def _next_lines(self) -> list[bytes] | None:
        """Return the next lines to serve here after the admitted ones, once there are any of
        either; None at the end."""
        if (
            self._shared_reader is not None
            and self._kind[0] in SHARED_KINDS
            and not self._reader.has_begun
            and not self._reader.has_more  # for which the kernel wakes nobody
        ):
            self._shared_reader.park(self)
            if self._trouble is not None:
                raise self._trouble
            if self._left or self._admitted:
                lines, self._left = self._left, []
                return lines
            self.outgoing.wait_for_room()
        return self._reader.read(self._admission.longest)

    # --- the shared reader ---------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def take_ready(self, batches: list[Batch]) -> bool:
        """Read what has arrived and add it to `batches`; return whether to go on so.

        False means that this connection's thread is needed: something here may wait, or ends.
        """
        if self.outgoing.is_full() or self._host.is_down:
            return False
        try:
            lines = self._reader.read_now(self._admission.longest)
            if lines is None or self._reader.has_begun or self._reader.has_more:
                self._left = lines or []
                return False
            return not lines or self._take(lines, batches)
        except Exception as trouble:
            self._trouble = trouble
            return False

    def _take(self, lines: list[bytes], batches: list[Batch]) -> bool:
        """Add lines that are of one kind and need not wait for the replies before them."""
        host, admit = self._host, self._admission.admit
        limits, readings, me = host.limits, host.readings, host.name
        parsed: list[ParsedLine] = []
        self._left = lines  # unless all of them are taken
        is_rising = host.level < LEVEL
        for line in lines:
            one = parse(line, limits, readings, me)
            if is_rising and level_of(one.request) > host.level:  # it may have to wait
                return False
            is_telnet = not line.isascii() and TIMING_MARK in line
            if is_telnet or (parsed and not one.goes_with(parsed[0])):
                return False
            parsed.append(one)
        kind = one.kind
        run = self._kind if self._kind == (kind, one.reading) else (kind, one.reading)
        if kind not in SHARED_KINDS or (run is not self._kind and not self.outgoing.is_empty()):
            return False
        requests: list[Request] = []
        for place, one in enumerate(parsed):
            admitted = admit(one)
            self._admitted.append(admitted)
            if admitted.kind != kind:  # those up to here were counted and printed: not once more
                self._left = lines[place + 1 :]
                return False
            requests.append(one.request)
        self._admitted.clear()
        self._kind, self._left = run, []
        batches.append(self._batch(requests, is_read=kind == "read", reading=one.reading))
        self.outgoing.add(batches[-1])
        return True

    def close(self) -> None:
        """End the connection, from any thread."""
        self.break_off()
        self._socket.close()

    def rights_changed(self) -> None:
        """Look at the rights of whoever is logged in here, since the users were read again."""
        login = self._admission.login
        if login is None:
            return
        now, keys_of_lease = login.now(), self._host.keys_of_lease
        if now is None or (
            self._observing.has_begun and denial_reason(now, "observe", keys_of_lease)
        ):
            self.break_off()
        else:
            self._watching.end_refused(lambda line: denial_reason(now, line, keys_of_lease))

    def secret_changed(self) -> None:
        """End it if a member proved itself by a secret that is none any more."""
        if not self._admission.proof_counts:
            self.break_off()

    def certificates_revoked(self) -> None:
        """End it if a certificate was shown that was checked by a list of revoked ones which is
        none any more. A handshake that is under way looks for itself at its end."""
        tls, connection = self._host.tls, self._socket
        if tls is None or not isinstance(connection, TlsSocket) or not connection.peer:
            return
        if not tls.is_current(connection.context):
            self.break_off()

    def break_off(self) -> None:
        """Make this connection's thread come out of its wait and end it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def answer(self, answers: Sequence[Message]) -> None:
        """Answer a peer, from whichever thread made it true. Never waits: a peer that does not
        take its answers is cut off, and asks again."""
        data = "".join(f"{self._host.name}@{spelling.spell(m)}\n" for m in answers).encode()
        if not self.outgoing.send_now(data):
            self.break_off()

    def _handle(self, lines: list[bytes]) -> bool:
        """Serve lines in order; return False if the connection is of no use."""
        if self._is_first_line:
            self._is_first_line = False
            foreign = looks_foreign(lines[0])
            if foreign:
                self._replies.add("", error(foreign))
                self._replies.flush()
                return False
        for line in lines:
            if TIMING_MARK in line:  # telnet shows nothing before it is answered
                self.outgoing.send_bytes(NO_TIMING_MARK)  # in its turn: not amid a reply
        parsed, self._admitted = self._admitted, []
        further, too_long = self._admit_all(lines)
        parsed += further
        self._bound_strangers()
        if parsed and self._for_peers_only and parsed[0].kind not in ("peer", "level", "proof"):
            self._replies.complain(FULL.removeprefix("Sorry, "))
            return False
        while parsed:
            kind, reading = parsed[0].kind, parsed[0].reading
            length = 1
            while length < len(parsed) and parsed[length].goes_with(parsed[0]):
                length += 1
            self._serve_run(kind, reading, parsed[:length])
            parsed = parsed[length:]
        if too_long is not None:
            raise too_long
        return True

    def _admit_all(self, lines: list[bytes]) -> tuple[list[ParsedLine], LineTooLong | None]:
        """Return the lines as they are admitted, up to one that is too long. One that came in a
        single piece is first seen here; a login may stand before it."""
        host, admission = self._host, self._admission
        parsed: list[ParsedLine] = []
        for line in lines:
            if len(line) > STRANGER_LINE_BYTES:
                longest = admission.longest(line[:80])
                if len(line) > longest:
                    return parsed, LineTooLong(longest)
            parsed.append(admission.admit(parse(line, host.limits, host.readings, host.name)))
        return parsed, None

    def _serve_run(self, kind: str, reading: Reading, run: list[ParsedLine]) -> None:
        if (kind, reading) != self._kind:  # what comes later sees what came before
            self.outgoing.wait_until_empty()
            self._kind = (kind, reading)
        if kind == "peer":
            self._replies.flush()
            self._serve_peer([one.message for one in run if one.message is not None])
        elif kind in ("write", "read"):
            requests = [one.request for one in run]
            self._serve_requests(requests, is_read=kind == "read", reading=reading)
        elif kind == "watch":
            self._watching.serve([one.request for one in run])
        elif kind == "observe":
            self._replies.flush()
            self._observing.serve([one.request for one in run])
        else:
            for one, reply in zip(run, self._local_commands.answer(kind, run), strict=True):
                self._replies.add(one.request.id, reply)

    def _serve_peer(self, received: list[Message]) -> None:
        for complaint in self._host.hear(received, self):
            self._replies.add("", error(complaint))

    def _serve_requests(self, requests: list[Request], *, is_read: bool, reading: Reading) -> None:
        """Hand requests over; their replies leave by themselves, before those of later lines."""
        batch = self._batch(requests, is_read=is_read, reading=reading)
        self._replies.flush()
        self.outgoing.add(batch)
        self._host.submit(batch)

    def _batch(self, requests: list[Request], *, is_read: bool, reading: Reading) -> Batch:
        commands, ids = [], []
        for request in requests:
            commands.append(request.command if is_read else self._admission.logged(request))
            ids.append(request.id)
        return Batch(commands, is_read=is_read, reading=reading, ids=ids, reply_sink=self.outgoing)


def admit_by_tls(
    connection: socket.socket,
    tls: Tls | None,
    admission: Admission,
    *,
    wait_s: float | None,
) -> bool:
    """Shake hands if the other side wants to, and admit whoever its certificate names; return
    whether TLS is spoken now. `wait_s` is as of `begin_tls`.

    Raises:
        Late, NoTls, OSError: as `begin_tls`.
    """
    if tls is None or not isinstance(connection, TlsSocket):
        return False
    member = begin_tls(connection, tls, wait_s)
    if member is None:
        return False
    admission.proven = member or None
    if admission.login is not None and not member:
        admission.login.by_certificate(named_in(connection.peer)[0])
    return True
