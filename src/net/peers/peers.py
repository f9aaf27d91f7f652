"""The peers of a node: their addresses, the connection to each (requests out, answers back), and
the connection from each peer that speaks for it.

The log has the members and their addresses. An address in `server-configuration.txt` takes
precedence (a proxy, another network). Connections begin and end as the configuration changes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from ...access.proof import ProofError
from ...access.secret import NO_AUTH, PeerAuth, new_nonce
from ...access.tls import Tls
from ...access.tls_socket import TlsSocket
from ...common.address import Address
from ...common.process.guarded_thread import begin_thread
from ...common.process.wakeup import Wakeup
from ...raft.messages import Answer, Message, PeerError
from ...wire import peer_lines
from ...wire.limits import OUTBOX_BYTES, PEER_LINE_BYTES, PEER_S
from ...wire.protocol import ProtocolError, decode_line, split_sender
from ...wire.refusal import SPEAKS_ELSEWHERE, is_refusal
from ...wire.replies.refusals import code_of
from ..line_reader import HalfLine, LineReader, LineTooLong, prepare
from .build_exchange import BuildQuestion, Foreigners, OnBuild
from .opening import BY_THE_CLOCK, connect, dial_tls, prove, why_not_accepted

BACK_OFF_S = (0.05, 0.5)  # first and longest pause between two attempts to connect
ASK_AGAIN_S = 1.0  # for a build that was not told
LEAST_PAUSE_S = 0.02  # even if there is something to send
NOT_YET_VALID, EXPIRED = 9, 10  # OpenSSL's numbers, X509_V_ERR_…
CLOCK_HINT = "; compare the clock of this machine with that of the others: raftline status"
FOREIGN_PAUSE_S = 60.0  # between two complaints about the same peer


class Peer:
    """A peer that this node keeps dialing. One thread connects and reads, another sends the lines
    that have gathered.

    `send` never blocks. It writes to the socket itself while the kernel takes all bytes, which
    saves a hand-over; the rest goes through the sender. Raft tolerates loss, so a message is
    dropped if the peer is away, or if too many bytes are queued for it.
    """

    def __init__(
        self,
        me: str,
        name: str,
        address: Address,
        on_answers: Callable[[Sequence[Message]], None],
        on_lost: Callable[[str], None],
        say: Callable[[str], None],
        on_build: OnBuild | None = None,
        peer_auth: PeerAuth = NO_AUTH,
        tls: Tls | None = None,
        foreigners: Foreigners | None = None,
    ) -> None:
        """`on_build` gets the build of the peer, and None when the connection broke.
        Without it the peer is not asked for its build. `peer_auth` is for the mutual proof; with
        `tls`, TLS is used if the peer supports it. `foreigners` knows the cluster's identity."""
        self._peer_auth = peer_auth
        self._tls = tls
        self._is_plain = False  # the last attempt showed no TLS at the peer
        self.is_proven = False  # the peer, on the present connection
        self._proven_by = b""  # the secret of its proof, if one was used
        self.why_no_tls = self._why_no_tls = ""  # of the last attempt; of the present one
        self._build = BuildQuestion(name, on_build, foreigners or Foreigners(me), str(address))
        self.name = name
        self.address = address
        self._me = me
        self._on_answers = on_answers
        self._on_lost = on_lost
        self._say = say
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # of the sender; taken before `_lock`
        self._socket: socket.socket | None = None
        self._outbox: list[bytes | memoryview] = []
        self._outbox_bytes = 0
        self.bytes_sent = self.bytes_read = 0  # on all connections to this peer so far
        self._to_begin: list[tuple[Callable[[], None], str]] = []  # threads not started yet
        self._more = Wakeup()  # set when the outbox has lines
        self._stopping = threading.Event()
        self._wanted = threading.Event()  # there was a line to send, but no connection
        self._complained_s = -FOREIGN_PAUSE_S

    def start(self) -> None:
        """Start both threads.

        Raises:
            RuntimeError: a thread can't be started now; `send` tries again.
        """
        with self._lock:
            self._to_begin = [(self._send_outbox, "sender"), (self._dial, "reader")]
            self._begin()

    def _begin(self) -> None:
        """Start the missing threads, with the lock held: the sender first, as the reader makes the
        connection."""
        while self._to_begin:
            run, what = self._to_begin[0]
            name = f"{self._me} {what} of {self.name}"
            begin_thread(run, name, partial(self._ended_by, self._to_begin[0]))
            del self._to_begin[0]

    def _ended_by(self, thread: tuple[Callable[[], None], str], error: Exception) -> None:
        """Make the next `send` start again a thread that has ended or never began."""
        with self._lock:
            self._to_begin.append(thread)
        self._complain_of(error)

    def _begin_again(self) -> None:
        """Try again to start the missing threads."""
        try:
            self._begin()
        except RuntimeError as problem:
            self._complain_of(problem)

    def stop(self) -> None:
        self._stopping.set()
        self._wanted.set()
        self._more.set()
        self._disconnect()

    def prove_by(self, peer_auth: PeerAuth) -> None:
        """Use this for proofs from now on; reconnect if the present proof used a dropped secret."""
        self._peer_auth = peer_auth
        with self._lock:
            if self._socket is not None and not self._proof_counts:
                self._break(self._socket)

    def certificates_revoked(self) -> None:
        """Reconnect if the peer showed a certificate, which may have been revoked since."""
        with self._lock:
            if self._socket is not None and not self._is_current(self._socket):
                self._break(self._socket)

    def _is_current(self, connection: socket.socket) -> bool:
        """Whether its certificate was checked against the present list of revoked ones."""
        if self._tls is None or not isinstance(connection, TlsSocket):
            return True
        return self._tls.is_current(connection.context)

    @property
    def _proof_counts(self) -> bool:
        return not self._proven_by or self._proven_by in self._peer_auth.secrets

    def send(self, line: bytes) -> None:
        """Send one line, or drop it if the peer is away or much too slow."""
        with self._lock:
            if self._to_begin:
                self._begin_again()
            if self._socket is None:
                if not self._wanted.is_set():
                    self._wanted.set()
                return
            if self._outbox_bytes:
                if self._outbox_bytes + len(line) <= OUTBOX_BYTES:
                    self._put(line)
                return
            try:
                sent = self._socket.send(line, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the reader notices this, and reconnects
            self.bytes_sent += sent
            if sent < len(line):
                self._put(line, sent)
                self._more.set()

    def announce(self) -> None:
        """Send the identity of the cluster if this node has learned it since it connected;
        disconnect from a peer of another cluster."""
        if line := self._build.next_line(self._me):
            self.send(line)
        if self._build.is_foreign:
            self._disconnect()

    def _put(self, line: bytes, sent: int = 0) -> None:
        """Queue the rest of a line after `sent` bytes of it. The whole line stays in
        memory, so all of it counts."""
        self._outbox.append(memoryview(line)[sent:] if sent else line)
        self._outbox_bytes += len(line)

    def _send_outbox(self) -> None:
        while not self._stopping.is_set():
            if not self._more.wait(ASK_AGAIN_S) and (line := self._build.line_again(self._me)):
                self.send(line)
            while self._sent_some():
                pass

    def _sent_some(self) -> bool:
        """Send the queued lines; return whether there were any and they were sent."""
        with self._sending:  # meanwhile no thread closes the connection
            with self._lock:
                connection, outbox, self._outbox = self._socket, self._outbox, []
            if not outbox or connection is None:
                return False
            try:
                data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
                connection.sendall(data)  # SO_SNDTIMEO bounds it
            except Exception as problem:
                self._explain(problem)
                self._break(connection)
                return False
        with self._lock:
            self.bytes_sent += len(data)
            if connection is self._socket:
                self._outbox_bytes = sum(map(len, self._outbox))
        return True

    def _break(self, connection: socket.socket) -> None:
        """Shut down a connection that no thread can close meanwhile. Half a line may have been
        sent, so more lines can be sent only on a new connection."""
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _dial(self) -> None:
        pause_s = BACK_OFF_S[0]
        while not self._stopping.is_set():
            has_answers = False
            try:
                has_answers = self._dial_once()
            except Exception as problem:  # a failed look-up of the address, for example
                self._explain(problem)
            self.why_no_tls, self._why_no_tls = self._why_no_tls, ""
            if has_answers:
                pause_s = BACK_OFF_S[0]
            self._rest(pause_s * (0.5 + random.random()))
            pause_s = min(pause_s * 2, BACK_OFF_S[1])

    def _dial_once(self) -> bool:
        """Connect, and talk until the connection breaks; return whether there were answers."""
        connection = self._connect()
        try:
            has_answers = self._talk(connection)
        finally:
            self._close(connection)
            self._build.forget()
        # A server of another cluster at that address shows nothing about the peer.
        if not (self._stopping.is_set() or self._build.is_foreign):
            self._on_lost(self.name)
        return has_answers

    def _rest(self, pause_s: float) -> None:
        """Wait before the next attempt to connect, for a short time if there is a line to send.

        So a new leader reaches a node that has just come back at once, and does not wait for the
        pause that has grown in its absence.
        """
        self._wanted.clear()
        if not self._stopping.wait(min(pause_s, LEAST_PAUSE_S)):
            self._wanted.wait(max(0.0, pause_s - LEAST_PAUSE_S))

    def _connect(self) -> socket.socket:
        connection = connect(self.address, PEER_S)
        if self._tls is None or (self._is_plain and not self._tls.is_only):
            self._is_plain = False  # the peer may have been restarted with TLS since
            return connection
        return TlsSocket(connection)

    def _talk(self, connection: socket.socket) -> bool:
        """Take answers until the connection breaks; return whether there were any."""
        has_answers = False
        try:
            connection.settimeout(None)
            prepare(connection, PEER_S)
            reader = LineReader(connection, PEER_S)
            self._begin_tls(connection)
            self._prove(connection, reader)
            if question := self._build.first_line(self._me):
                connection.sendall(question)  # no other thread sends on it yet
            with self._lock:
                self._socket = connection
                self._outbox, self._outbox_bytes = [], 0
            is_good = self._proof_counts and self._is_current(connection)
            if self._stopping.is_set() or not is_good:  # changed while it was being connected
                return False
            self.announce()
            read_before = self.bytes_read
            while lines := reader.read(PEER_LINE_BYTES):
                self.bytes_read, self.why_no_tls = read_before + reader.bytes_read, ""
                answers: list[Message] = list(filter(None, map(self._understand, lines)))
                if self._build.is_foreign:
                    return False
                if answers:
                    has_answers = True
                    self._on_answers(answers)
        except Exception as problem:  # usually the peer is gone, or sends invalid lines
            self._explain(problem)
        return has_answers

    def _explain(self, problem: Exception) -> None:
        """Complain about a problem, unless the connection has just ended; it is made again in any
        case. A peer that refuses this node's certificate sends an alert instead of an answer."""
        if not isinstance(problem, (OSError, HalfLine, LineTooLong)):
            self._complain_of(problem)
        if isinstance(problem, socket.gaierror):
            self._complain(f"no such host ({problem.strerror})", "can't be looked up")
        if isinstance(problem, ssl.SSLCertVerificationError):
            return  # said already
        if isinstance(problem, ssl.SSLError) and (why := why_not_accepted(problem, self._me)):
            hint = CLOCK_HINT if (problem.reason or "").endswith(BY_THE_CLOCK) else ""
            self._complain(f"it does not take my certificate: {problem.reason}{hint}")
            self._why_no_tls = why

    def _complain_of(self, error: Exception) -> None:
        self._complain(f"{type(error).__name__}: {error}", "can't be talked to")

    def _begin_tls(self, connection: socket.socket) -> None:
        """Do the TLS handshake with the peer, whose certificate has to be for its name.

        Raises:
            OSError: the handshake failed. If the peer may not support TLS, the next attempt is
                without it, unless this node speaks only TLS.
        """
        if self._tls is None or not isinstance(connection, TlsSocket):
            return
        try:
            self.is_proven = dial_tls(connection, self._tls, self.name)
        except ssl.SSLCertVerificationError as problem:
            hint = CLOCK_HINT if problem.verify_code in (NOT_YET_VALID, EXPIRED) else ""
            self._complain(f"no certificate for {self.name}: {problem.verify_message}{hint}")
            self._why_no_tls = why_not_accepted(problem, self._me)
            raise
        except ssl.SSLError as problem:
            self._is_plain = True
            if self._tls.is_only:
                self._complain(f"no TLS: {problem.reason}")
            raise

    def _prove(self, connection: socket.socket, reader: LineReader) -> None:
        """Do the mutual proof, before anything else is sent.

        Raises:
            ConnectionAbortedError: the proof is required, and failed.
        """
        dialing = self._peer_auth.initiator(self._me, self.name, new_nonce())
        self._proven_by = b""
        if dialing is None and self._peer_auth.is_required and not self.is_proven:
            self._complain(f"its certificate is not that of the member {self.name}")
            raise ConnectionAbortedError
        if dialing is None or (self._build.was_full and not self._peer_auth.is_required):
            return
        try:
            refusal = prove(connection, reader, dialing, self._me, self.name)
        except (ProofError, ProtocolError) as problem:
            self._complain(str(problem))
            raise ConnectionAbortedError from None
        self._build.was_full = code_of(refusal) == "full"
        self._proven_by = b"" if refusal else dialing.secret
        self.is_proven = self.is_proven or not refusal
        if refusal and (self._peer_auth.is_required or self._build.was_full):
            self._complain(f"it has no secret, or no place for a proof: {refusal}")
            raise ConnectionAbortedError

    def _understand(self, line: bytes) -> Message | None:
        try:
            name, _, text = split_sender(decode_line(line))
            if name != self.name:
                raise PeerError(f"it calls itself {name or 'nothing'}: {text}")
            if self._build.take(text):
                return None
            if is_refusal(text):
                raise PeerError(text)
            message = peer_lines.read(name, self._me, text)
            if not isinstance(message, Answer):
                raise PeerError(f"a question where only answers come: {text}")
            return message
        except (ProtocolError, PeerError) as error:
            self._complain(str(error))
            return None

    def _complain(self, what: str, of: str = "answers what I don't take") -> None:
        now = time.monotonic()
        if now - self._complained_s >= FOREIGN_PAUSE_S:
            self._complained_s = now
            self._say(f"[!] {self.name} at {self.address} {of}: {what}")

    def _disconnect(self) -> None:
        """Stop sending on the connection, and break it."""
        with self._lock:
            connection, self._socket = self._socket, None
            self.is_proven = False
            self._outbox, self._outbox_bytes = [], 0
            if connection is not None:
                self._break(connection)

    def _close(self, connection: socket.socket) -> None:
        """Close a connection once no thread uses it: its descriptor may be reused at once."""
        self._disconnect()
        with self._sending:
            connection.close()


class PeerBook:
    """The peers of one node. Only one thread at a time calls `follow` (with the driver's `core`
    held); any thread may call the other methods."""

    def __init__(
        self,
        here: Mapping[str, Address],
        dial: Callable[[str, Address], Peer],
    ) -> None:
        """`here` has the addresses in this node's own configuration file."""
        self._here = here
        self._dial = dial
        self._peers: dict[str, Peer] = {}
        self._addresses: dict[str, Address] = dict(here)  # including former members
        self._logged: dict[str, str] = {}  # the addresses in the log
        self._started = False
        self._stopped = False

    def follow(self, contacts: Mapping[str, str]) -> list[str]:
        """Keep connections to exactly these peers (name to host:port); never wait for the network.

        Return the peers that have a new address in the log, but are dialed at another one because
        of the configuration file.
        """
        addresses = {
            name: self._here.get(name, Address.parse(text)) for name, text in contacts.items()
        }
        peers = dict(self._peers)
        for name in [name for name in peers if peers[name].address != addresses.get(name)]:
            peers.pop(name).stop()
        for name, address in addresses.items():
            if name not in peers and not self._stopped:
                peers[name] = self._dial(name, address)
                if self._started:
                    with contextlib.suppress(RuntimeError):  # no thread now: `send` tries again
                        peers[name].start()
        self._addresses = {**self._addresses, **addresses}
        self._peers = peers  # replaced as a whole: other threads read it meanwhile
        news = {name: text for name, text in contacts.items() if self._logged.get(name) != text}
        self._logged.update(news)
        return [name for name, text in news.items() if addresses[name] != Address.parse(text)]

    def send(self, name: str, line: bytes) -> None:
        """Send a line to a peer, or drop it if there is no connection."""
        peer = self._peers.get(name)
        if peer is not None:
            peer.send(line)

    def prove_by(self, peer_auth: PeerAuth) -> None:
        """Use this for all proofs from now on; reconnect peers whose proof used a lost secret."""
        for peer in list(self._peers.values()):
            peer.prove_by(peer_auth)

    def certificates_revoked(self) -> None:
        """Reconnect each peer whose certificate may have been revoked since."""
        for peer in list(self._peers.values()):
            peer.certificates_revoked()

    def announce(self) -> None:
        """Send each peer the identity of the cluster, which this node has just learned."""
        for peer in list(self._peers.values()):
            peer.announce()

    def unproven(self) -> list[str]:
        """Return the peers that have not proved themselves on a connection from here."""
        return [name for name, peer in self._peers.items() if not peer.is_proven]

    def without_tls(self) -> dict[str, str]:
        """Return why one side does not accept the other's certificate, for each such peer."""
        return {name: why for name, peer in self._peers.items() if (why := peer.why_no_tls)}

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return for each peer how many bytes were sent to it, and read from its answers."""
        return {name: (peer.bytes_sent, peer.bytes_read) for name, peer in self._peers.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def address(self, name: str) -> Address | None:
        """Return the address of `name`; None if it is unknown."""
        return self._addresses.get(name)

    def start(self) -> None:
        self._started = True
        for peer in list(self._peers.values()):
            peer.start()

    def stop(self) -> None:
        self._stopped = True
        for peer in list(self._peers.values()):
            peer.stop()


class Speaker(Protocol):
    """A connection that may speak for a peer."""

    def break_off(self) -> None:
        """End the connection; any thread may call this."""


class Speakers:
    """Remembers for each peer's name the connection that used it last, and when.

    While that connection is open, and was active within `quiet_s`, no other one may use the name: a
    second process under the same name would collect votes that were given to the first. If the
    peer is silent or away, its name is free, so a person may type its messages. Then the former
    connection is ended: each of the two could hold half a line of a peer, which may be long.
    """

    def __init__(self, quiet_s: float, now_s: Callable[[], float]) -> None:
        self._quiet_s = quiet_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._speaking: dict[str, tuple[Speaker, float]] = {}

    def claim(self, name: str, connection: Speaker) -> None:
        """Allow `connection` to speak for the peer, and end the connection that did so before.

        Raises:
            PeerError: another connection has just spoken for the peer.
        """
        now_s = self._now_s()
        with self._lock:
            holder, spoke_s = self._speaking.get(name, (connection, now_s))
            if holder is not connection and now_s - spoke_s < self._quiet_s:
                raise PeerError(SPEAKS_ELSEWHERE(name).sentence)
            self._speaking[name] = (connection, now_s)
        if holder is not connection:
            holder.break_off()

    def release(self, name: str, connection: Speaker) -> bool:
        """End the claim of a connection that has ended; return whether it had one. If not, the peer
        speaks on a later connection."""
        with self._lock:
            holder, _ = self._speaking.get(name, (None, 0.0))
            is_holder = holder is connection
            if is_holder:
                del self._speaking[name]
            return is_holder
