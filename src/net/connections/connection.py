"""A connection from outside, a client's or a peer's, and the thread that serves it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence

from ...access.login import address_of, is_private
from ...access.tls import Tls, named_in
from ...access.tls_socket import TlsSocket
from ...raft.messages import Message
from ...wire import peer_lines
from ...wire.limits import HANDSHAKE_S, LINE_S
from ...wire.refusal import FULL, TLS_ONLY
from ..line_reader import HalfLines, Late, LineBuffer, Receiver, drain
from ..peers.opening import NoTls, asks_only_status, begin_tls
from ..protocol.admission import REQUESTS, Admission
from ..protocol.doors import Door
from ..protocol.host import Batch, Host, Origin
from ..protocol.server_protocol import ServerProtocol
from ..protocol.serving import Ending, Serving
from ..protocol.waits import AwaitReplies, ReserveRoom, SendBytes, Wait, WaitFor
from .outgoing import Outgoing
from .shared_reader import AfterTurn, Shareable, SharedReader


class Connection(Origin, Shareable):
    """Drives the machines of one connection on its socket, in its own thread or in the shared
    reader: `ServerProtocol` turns bytes into steps, `Serving` serves them, `Outgoing` sends the
    replies."""

    def __init__(
        self,
        host: Host,
        connection: socket.socket,
        *,
        for_peers_only: bool,
        announce: Callable[[], None] = lambda: None,
        shared_reader: SharedReader | None = None,
        half_lines: HalfLines | None = None,
        doors: Sequence[Door] = (),
    ) -> None:
        """`announce` prints a line about this connection. `half_lines` counts the partial
        lines of all connections. `doors` are the other protocols that this node speaks."""
        self._host = host
        self._socket = connection
        self._tls = connection if isinstance(connection, TlsSocket) else None
        self._receiver = Receiver(connection, LINE_S)
        self.outgoing = Outgoing(host, connection)
        self._admission = Admission(
            host,
            self,
            lambda: is_private(connection),
            lambda: address_of(connection),
            lambda: address_of(connection, is_own=True),
        )
        self._protocol = ServerProtocol(
            host,
            self._admission,
            self.outgoing,
            for_peers_only=for_peers_only,
            lines=LineBuffer(LINE_S, half_lines, self._read_no_more),
            announce=announce,
            doors=doors,
        )
        self._serving = Serving(
            host,
            self,
            self._protocol,
            self._admission,
            self.outgoing,
            self.break_off,
            lambda: str(connection.getpeername()[0]),
        )
        self._shared_reader = shared_reader
        self.last_window = self.private_until = 0  # see `Shareable`
        self.resume = threading.Lock()
        self.resume.acquire()
        self._trouble: Exception | None = None  # the shared reader's error, to be raised here
        self._is_begun = False  # plain lines, or TLS after its handshake
        self.on_login: Callable[[str, bool], None] = lambda user, is_admin: None
        self._admission.on_login = self._logged_in

    @property
    def is_control(self) -> bool:
        """Whether this is a controller's connection, which outlives a node that is shut down."""
        return self._serving.is_control

    @property
    def bytes_moved(self) -> tuple[int, int]:
        """The number of bytes that were read, and that were sent as replies and events."""
        return self._receiver.bytes_read, self.outgoing.bytes_sent

    def serve(self) -> None:
        """Serve until either side ends the connection; no input here may harm other connections."""
        protocol = self._protocol
        try:
            protocol.bound_strangers(time.monotonic())
            wait_s = HANDSHAKE_S if protocol.why_late else None
            is_tls = admit_by_tls(self._socket, self._host.tls, self._admission, wait_s=wait_s)
            if not is_tls and not asks_only_status(self._socket):
                protocol.announce()
            self._is_begun = True
            protocol.bound_strangers(time.monotonic())
            self._serve_lines()
        except NoTls:
            self._complain(TLS_ONLY)
            drain(self._socket)
        except Late:
            self._complain(protocol.why_late)
        except OSError:
            pass  # the other side is gone
        except MemoryError:
            self._complain("this request needs more memory than there is.")
        finally:
            name = self._admission.speaks_for
            if name is not None and self._host.speakers.release(name, self):
                # All of its messages have been handled, so it is disconnected only now.
                self._host.peer_disconnected(name)
            # These objects refer to each other, so they stay until the next garbage collection,
            # which Python starts by the number of objects. Until then they must not keep many
            # bytes, nor an error with all frames that it passed.
            self._serving.end()
            self.close()
            self._receiver.release()
            self._trouble = None

    def _complain(self, problem: str) -> None:
        """Send a complaint, if the other side still reads."""
        with contextlib.suppress(OSError):
            self.outgoing.send_bytes(self._serving.complaint(problem))

    def _serve_lines(self) -> None:
        steps = self._serving.steps()
        try:
            wait = next(steps)
            while True:
                if wait is WaitFor.BYTES:
                    self._read()
                    wait = next(steps)
                else:
                    wait = steps.send(self._waited(wait))
        except StopIteration:
            if self._serving.drains:
                drain(self._socket)
        finally:
            steps.close()

    def _waited(self, wait: Wait) -> bool:
        """Do in this thread a wait of the machine that is not for bytes; return its result."""
        is_there = True
        if wait is WaitFor.EMPTY:
            self.outgoing.wait_until_empty()
        elif wait is WaitFor.ROOM:
            self.outgoing.wait_for_room()
        elif isinstance(wait, SendBytes):
            self.outgoing.send_bytes(wait.data)
        elif isinstance(wait, ReserveRoom):
            self._reserve(wait)
        elif isinstance(wait, AwaitReplies):
            is_there = self.outgoing.wait_for_answer(wait.batch, wait.within_s)
        if self._protocol.why_late:  # a stranger gets no extra time by reading replies slowly
            self._protocol.pass_time(time.monotonic())
        return is_there

    def _reserve(self, wait: ReserveRoom) -> None:
        room = self._host.reply_room
        room.reserve(wait.holder, in_turn=wait.in_turn)
        try:
            self.outgoing.check_ended()
        except OSError:
            room.give(wait.holder)
            raise

    def _read(self) -> None:
        """Wait for bytes, or let the shared reader read for a while."""
        protocol = self._protocol
        if self._shared_reader is not None and protocol.kind in REQUESTS and self._was_parked():
            return
        lines = protocol.lines
        data = self._receiver.receive(lines.due_s, is_amid_long=lines.is_amid_long)
        if data is None:
            protocol.pass_time(time.monotonic())
            return
        protocol.receive_data(data, time.monotonic())
        if data and (protocol.kind in REQUESTS or not protocol.kind):
            self._was_parked(has_read=True)

    def _was_parked(self, *, has_read: bool = False) -> bool:
        """Hand this connection to the shared reader, if there is a crowd; return whether this
        thread has to continue with the lines that were read."""
        is_ready = has_read or (
            self._protocol.is_between_lines
            and not (self._tls is not None and self._tls.has_more)  # unknown to the kernel
        )
        if self._shared_reader is None or not is_ready:
            return False
        if not self._shared_reader.park(self, has_read=has_read):
            return False
        if self._trouble is not None:
            raise self._trouble
        self.outgoing.wait_for_room()
        return not self._serving.is_between_lines

    def _read_no_more(self) -> None:
        """Wake the reading thread out of its wait; any thread may call this."""
        self.outgoing.shut_down(socket.SHUT_RD)

    def _logged_in(self, user: str, is_admin: bool) -> None:
        self.on_login(user, is_admin)

    @property
    def is_stranger(self) -> bool:
        """Whether the other side has sent nothing yet or, if there are users, is not logged in."""
        return self._protocol.is_stranger or self._admission.is_nobody

    def give_up(self) -> None:
        """End a connection whose slot others need; any thread may call this."""
        if self._is_begun:
            self.outgoing.send_now(self.outgoing.format("", FULL).encode())
        self.break_off()

    # --- the shared reader ---------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        """The user that is logged in, or "" if nobody is; None if the node has no users."""
        return self.outgoing.user

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def take_ready(self, batches: list[Batch], now_s: float) -> AfterTurn:
        """Add a batch of lines to `batches`, reading new bytes only if no lines are left."""
        if self._host.is_down:
            return AfterTurn.NEEDS_THREAD
        if self.outgoing.is_full():
            return AfterTurn.IS_FULL
        protocol, serving = self._protocol, self._serving
        try:
            if protocol.is_between_lines:
                data = self._receiver.receive_now()
                if data is None:
                    return AfterTurn.WAITS
                protocol.receive_data(data, now_s)
            batch = serving.take_now()
        except Exception as trouble:
            self._trouble = trouble
            return AfterTurn.NEEDS_THREAD
        has_more = self._tls is not None and self._tls.has_more  # bytes unknown to the kernel
        if batch is not None:
            batches.append(batch)
            if not protocol.is_between_lines:
                return AfterTurn.HAS_MORE
        elif not serving.is_between_lines:
            return AfterTurn.NEEDS_THREAD
        return AfterTurn.NEEDS_THREAD if has_more else AfterTurn.WAITS

    def notify_of_room(self, tell: Callable[[], None]) -> bool:
        """Call `tell` once this connection has room; return False if it has room now."""
        return self.outgoing.notify_of_room(tell)

    def close(self) -> None:
        """End the connection; any thread may call this."""
        self.outgoing.close()

    def rights_changed(self) -> None:
        """Check the rights of the user again, since the users have changed."""
        ending = self._serving.end_refused()
        if ending is Ending.AT_ONCE:
            self.break_off()
        elif ending is Ending.AFTER_REPLIES:
            self._read_no_more()

    def secret_changed(self) -> None:
        """End the connection if its member's proof used a secret that is no longer valid."""
        if not self._admission.proof_counts:
            self.break_off()

    def certificates_revoked(self) -> None:
        """End the connection if its certificate was checked against an outdated list of revoked
        ones. A handshake in progress checks this itself at its end."""
        tls, connection = self._host.tls, self._socket
        if tls is None or not isinstance(connection, TlsSocket) or not connection.peer:
            return
        if not tls.is_current(connection.context):
            self.break_off()

    def break_off(self) -> None:
        """Wake this connection's thread out of its wait, and end the connection."""
        self.outgoing.shut_down()

    def answer(self, answers: Sequence[Message]) -> None:
        """Send answers to a peer, in any thread, without waiting. A peer that does not read its
        answers is disconnected, and asks again."""
        name, lines = self._host.name, ""
        for message in answers:
            lines += f"{name}@{peer_lines.format_message(message)}\n"
        if not self.outgoing.send_now(lines.encode()):
            self.break_off()


def admit_by_tls(
    connection: socket.socket,
    tls: Tls | None,
    admission: Admission,
    *,
    wait_s: float | None,
) -> bool:
    """Do the TLS handshake if the other side begins one, and admit the member or user that its
    certificate names; return whether the connection uses TLS. For `wait_s` see `begin_tls`.

    Raises:
        Late, NoTls, OSError: see `begin_tls`.
    """
    if tls is None or not isinstance(connection, TlsSocket):
        return False
    if not begin_tls(connection, tls, wait_s):
        return False
    name, is_member = named_in(connection.peer)
    admission.certify(name, is_member=is_member)
    return True
