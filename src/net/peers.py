"""The peers of a node: where they are reached, the connection to each (questions out, answers
back), and the one connection from it that speaks for it.

The log holds who the members are and where; `server-configuration.txt` has the last word on where
(a proxy, another network). Connections begin and end as the configuration changes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from ..access.proof import ProofError
from ..access.secret import NO_AUTH, PeerAuth, new_nonce
from ..access.tls import Tls
from ..access.tls_socket import TlsSocket
from ..common.address import Address
from ..common.guarded_thread import guarded_thread
from ..common.wakeup import Wakeup
from ..raft import spelling
from ..raft.messages import Answer, Message, PeerError
from ..wire.limits import OUTBOX_BYTES, PEER_LINE_BYTES, PEER_S
from ..wire.protocol import ProtocolError, decode_line, split_sender
from ..wire.refusals import SORRY, code_of
from .levels import Foreigners, LevelQuestion, OnBuild
from .lines import HalfLine, LineReader, LineTooLong, prepare
from .opening import connect, dial_tls, prove

BACK_OFF_S = (0.05, 0.5)  # first and longest pause between two tries to connect
LEAST_PAUSE_S = 0.02  # even if there is something to send
NOT_YET_VALID, EXPIRED = 9, 10  # OpenSSL's numbers, X509_V_ERR_…
BY_THE_CLOCK = ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_EXPIRED")  # its alerts about these
OF_CERTIFICATES = (
    *BY_THE_CLOCK, "ALERT_CERTIFICATE_REVOKED", "ALERT_CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA",
    "ALERT_UNSUPPORTED_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN",
)  # fmt: skip
CLOCK_HINT = "; compare the clock of this machine with that of the others: raftline status"
FOREIGN_PAUSE_S = 60.0  # between two words on a port that answers nonsense


class Peer:
    """Dials one peer for ever; two threads: one connects and reads, one sends what piled up.

    `send` never blocks: it writes to the socket itself while that takes all, which saves a
    hand-over; what it does not take goes through the sender. Raft allows loss, so a message to
    a peer that is away, or has too much on its way already, is dropped.
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
        """Prepare; `on_build` gets the build of the peer, and None when the connection broke.
        Without it the peer is not asked. `peer_auth` is what both sides prove first; with
        `tls` it is spoken if the peer can. `foreigners` knows the identity of the cluster."""
        self._peer_auth = peer_auth
        self._tls = tls
        self._is_plain = False  # the peer, as far as the last try showed
        self.is_proven = False  # on the connection that there is
        self._proven_by = b""  # the secret of that, if it was one
        self._level = LevelQuestion(name, on_build, foreigners or Foreigners(me), str(address))
        self.name = name
        self.address = address
        self._me = me
        self._on_answers = on_answers
        self._on_lost = on_lost
        self._say = say
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # of the sender; it is taken before the other
        self._socket: socket.socket | None = None
        self._outbox: list[bytes | memoryview] = []
        self._outbox_bytes = 0
        self.bytes_sent = self.bytes_read = 0  # on all connections that ended, and on this one
        self._to_begin: list[tuple[Callable[[], None], str]] = []  # threads that were not to be had
        self._more = Wakeup()  # set when the outbox has something
        self._stopping = threading.Event()
        self._wanted = threading.Event()  # there was something to send, and no connection
        self._complained_s = -FOREIGN_PAUSE_S

    def start(self) -> None:
        """Begin both threads.

        Raises:
            RuntimeError: there is none to be had now; `send` tries again.
        """
        with self._lock:
            self._to_begin = [(self._send_outbox, "sender"), (self._dial, "reader")]
            self._begin()

    def _begin(self) -> None:
        """Begin the threads that lack, with the lock held: the sender first, as the reader is what
        makes a connection."""
        while self._to_begin:
            run, what = self._to_begin[0]
            guarded_thread(run, f"{self._me} {what} of {self.name}", self._complain_of).start()
            del self._to_begin[0]

    def _begin_again(self) -> None:
        """Try it once more, if it failed."""
        try:
            self._begin()
        except RuntimeError as problem:
            self._complain_of(problem)

    def stop(self) -> None:
        self._stopping.set()
        self._wanted.set()
        self._more.set()
        self._let_go()

    def prove_by(self, peer_auth: PeerAuth) -> None:
        """Prove this side by this from now on; a connection that a dropped secret proved is made
        again."""
        self._peer_auth = peer_auth
        with self._lock:
            if self._socket is not None and not self._proof_counts:
                self._break(self._socket)

    def certificates_revoked(self) -> None:
        """Make the connection again if the peer showed a certificate, as it may be a revoked one
        by now."""
        with self._lock:
            if self._socket is not None and not self._is_current(self._socket):
                self._break(self._socket)

    def _is_current(self, connection: socket.socket) -> bool:
        """Whether its certificate was checked by the list of revoked ones as it is now."""
        if self._tls is None or not isinstance(connection, TlsSocket):
            return True
        return self._tls.is_current(connection.context)

    @property
    def _proof_counts(self) -> bool:
        return not self._proven_by or self._proven_by in self._peer_auth.secrets

    def send(self, line: bytes) -> None:
        """Send one line, or drop it if the peer is away or far too slow."""
        with self._lock:
            if self._socket is None:
                if self._to_begin:
                    self._begin_again()
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
                return  # the reader finds out, and connects again
            self.bytes_sent += sent
            if sent < len(line):
                self._put(line, sent)
                self._more.set()

    def announce(self) -> None:
        """Send the identity of the cluster, which was learned since this connection was made; a
        peer of another cluster is left."""
        if line := self._level.next_line(self._me):
            self.send(line)
        if self._level.is_foreign:
            self._let_go()

    def _put(self, line: bytes, sent: int = 0) -> None:
        """Keep a line that was sent so far. What was sent is kept with it, and counts."""
        self._outbox.append(memoryview(line)[sent:] if sent else line)
        self._outbox_bytes += len(line)

    def _send_outbox(self) -> None:
        while not self._stopping.is_set():
            self._more.wait(1.0)
            while self._sent_some():
                pass

    def _sent_some(self) -> bool:
        """Send what has gathered; return whether there was some, and it has left."""
        with self._sending:  # so long nobody closes the connection
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
        """End a connection that nobody closes meanwhile. Half a line may have left: only a new
        one makes sense of what follows."""
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _dial(self) -> None:
        pause_s = BACK_OFF_S[0]
        while not self._stopping.is_set():
            heard = False
            try:
                heard = self._dial_once()
            except Exception as problem:  # an address that can't be looked up, for example
                self._explain(problem)
            if heard:
                pause_s = BACK_OFF_S[0]
            self._rest(pause_s * (0.5 + random.random()))
            pause_s = min(pause_s * 2, BACK_OFF_S[1])

    def _dial_once(self) -> bool:
        """Connect, and talk until the connection breaks; return whether there were answers."""
        connection = self._connect()
        try:
            heard = self._talk(connection)
        finally:
            self._close(connection)
            self._level.forget()
        # A server of another cluster at that address says nothing of the peer.
        if not (self._stopping.is_set() or self._level.is_foreign):
            self._on_lost(self.name)
        return heard

    def _rest(self, pause_s: float) -> None:
        """Wait before the next try to connect; shortly if there is something to send.

        So a new leader reaches a node that has just come back at once, and not after the pause
        that its absence had grown to.
        """
        self._wanted.clear()
        if not self._stopping.wait(min(pause_s, LEAST_PAUSE_S)):
            self._wanted.wait(max(0.0, pause_s - LEAST_PAUSE_S))

    def _connect(self) -> socket.socket:
        connection = connect(self.address, PEER_S)
        if self._tls is None or (self._is_plain and not self._tls.is_only):
            self._is_plain = False  # it may have been started again since
            return connection
        return TlsSocket(connection)

    def _talk(self, connection: socket.socket) -> bool:
        """Take answers until the connection breaks; return whether there were any."""
        heard = False
        try:
            connection.settimeout(None)
            prepare(connection, PEER_S)
            reader = LineReader(connection, PEER_S)
            self._begin_tls(connection)
            self._prove(connection, reader)
            if question := self._level.first_line(self._me):
                connection.sendall(question)  # nobody else sends on it yet
            with self._lock:
                self._socket = connection
                self._outbox, self._outbox_bytes = [], 0
            is_good = self._proof_counts and self._is_current(connection)
            if self._stopping.is_set() or not is_good:  # any more: it was being connected
                return False
            self.announce()
            read_before = self.bytes_read
            while lines := reader.read(PEER_LINE_BYTES):
                self.bytes_read = read_before + reader.bytes_read
                answers: list[Message] = list(filter(None, map(self._understand, lines)))
                if self._level.is_foreign:
                    return False
                if answers:
                    heard = True
                    self._on_answers(answers)
        except Exception as problem:  # nearly always the peer is gone, or speaks nonsense
            self._explain(problem)
        return heard

    def _explain(self, problem: Exception) -> None:
        """Complain of what is no mere end of a connection, which is made anew in any case. A peer
        that refuses this node's certificate sends an alert in place of its first answer."""
        if not isinstance(problem, (OSError, HalfLine, LineTooLong)):
            self._complain_of(problem)
        if isinstance(problem, socket.gaierror):
            self._complain(f"no such host ({problem.strerror})", "can't be looked up")
        reason = problem.reason if isinstance(problem, ssl.SSLError) else None
        if reason and reason.endswith(OF_CERTIFICATES):
            hint = CLOCK_HINT if reason.endswith(BY_THE_CLOCK) else ""
            self._complain(f"it does not take my certificate: {reason}{hint}")

    def _complain_of(self, error: Exception) -> None:
        self._complain(f"{type(error).__name__}: {error}", "can't be talked to")

    def _begin_tls(self, connection: socket.socket) -> None:
        """Shake hands with the peer, whose certificate has to be for its name.

        Raises:
            OSError: that failed. A peer that is not known to speak TLS is dialled without it next,
                unless TLS alone is spoken.
        """
        if self._tls is None or not isinstance(connection, TlsSocket):
            return
        try:
            self.is_proven = dial_tls(connection, self._tls, self.name)
        except ssl.SSLCertVerificationError as problem:
            hint = CLOCK_HINT if problem.verify_code in (NOT_YET_VALID, EXPIRED) else ""
            self._complain(f"no certificate for {self.name}: {problem.verify_message}{hint}")
            raise
        except ssl.SSLError as problem:
            self._is_plain = True
            if self._tls.is_only:
                self._complain(f"no TLS: {problem.reason}")
            raise

    def _prove(self, connection: socket.socket, reader: LineReader) -> None:
        """Have both sides prove themselves, before anything else is sent.

        Raises:
            ConnectionAbortedError: it must be proved, and was not.
        """
        dialing = self._peer_auth.initiator(self._me, self.name, new_nonce())
        self._proven_by = b""
        if dialing is None and self._peer_auth.is_required and not self.is_proven:
            self._complain(f"its certificate is not that of the member {self.name}")
            raise ConnectionAbortedError
        if dialing is None or (self._level.was_full and not self._peer_auth.is_required):
            return
        try:
            refusal = prove(connection, reader, dialing, self._me, self.name)
        except (ProofError, ProtocolError) as problem:
            self._complain(str(problem))
            raise ConnectionAbortedError from None
        self._level.was_full = code_of(refusal) == "full"
        self._proven_by = b"" if refusal else dialing.secret
        self.is_proven = self.is_proven or not refusal
        if refusal and (self._peer_auth.is_required or self._level.was_full):
            self._complain(f"it has no secret, or no place for a proof: {refusal}")
            raise ConnectionAbortedError

    def _understand(self, line: bytes) -> Message | None:
        try:
            name, _, text = split_sender(decode_line(line))
            if name != self.name:
                raise PeerError(f"it calls itself {name or 'nothing'}: {text}")
            if self._level.take(text):
                return None
            if text.startswith(SORRY):
                raise PeerError(text)
            message = spelling.read(name, self._me, text)
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

    def _let_go(self) -> None:
        """Send no more by the connection, and break it."""
        with self._lock:
            connection, self._socket = self._socket, None
            self.is_proven = False
            self._outbox, self._outbox_bytes = [], 0
            if connection is not None:
                self._break(connection)

    def _close(self, connection: socket.socket) -> None:
        """Close a connection once no thread uses it: its descriptor is the next one's then."""
        self._let_go()
        with self._sending:
            connection.close()


class PeerBook:
    """The peers of one node. `follow` is called by one thread at a time (with the driver's
    `core` held), the others by any."""

    def __init__(
        self,
        here: Mapping[str, Address],
        dial: Callable[[str, Address], Peer],
    ) -> None:
        """Prepare; `here` is what this node's own configuration file holds."""
        self._here = here
        self._dial = dial
        self._peers: dict[str, Peer] = {}
        self._addresses: dict[str, Address] = dict(here)  # also of those who have left
        self._logged: dict[str, str] = {}  # the same, as the log has them
        self._started = False
        self._stopped = False

    def follow(self, contacts: Mapping[str, str]) -> list[str]:
        """Keep a connection to exactly these, name to host:port; never waits for a network. Return
        those whose place is new, and that are dialled elsewhere, as the configuration file says."""
        wanted = {
            name: self._here.get(name, Address.parse(text)) for name, text in contacts.items()
        }
        peers = dict(self._peers)
        for name in [name for name in peers if peers[name].address != wanted.get(name)]:
            peers.pop(name).stop()
        for name, address in wanted.items():
            if name not in peers and not self._stopped:
                peers[name] = self._dial(name, address)
                if self._started:
                    with contextlib.suppress(RuntimeError):  # no thread now: `send` tries again
                        peers[name].start()
        self._addresses = {**self._addresses, **wanted}
        self._peers = peers  # replaced as a whole: others read it meanwhile
        news = {name: text for name, text in contacts.items() if self._logged.get(name) != text}
        self._logged.update(news)
        return [name for name, text in news.items() if wanted[name] != Address.parse(text)]

    def send(self, name: str, line: bytes) -> None:
        """Send a line to a peer, or drop it if there is no connection."""
        peer = self._peers.get(name)
        if peer is not None:
            peer.send(line)

    def prove_by(self, peer_auth: PeerAuth) -> None:
        """Have each connection proved by this; one whose secret holds no more begins again."""
        for peer in list(self._peers.values()):
            peer.prove_by(peer_auth)

    def certificates_revoked(self) -> None:
        """Have each connection look whether its certificate is a revoked one."""
        for peer in list(self._peers.values()):
            peer.certificates_revoked()

    def announce(self) -> None:
        """Send each peer the identity of the cluster, which this node has just learned."""
        for peer in list(self._peers.values()):
            peer.announce()

    def unproven(self) -> list[str]:
        """Return the peers that have not proved themselves on a connection from here."""
        return [name for name, peer in self._peers.items() if not peer.is_proven]

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return for each peer how many bytes were sent to it, and how many its answers had."""
        return {name: (peer.bytes_sent, peer.bytes_read) for name, peer in self._peers.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def address(self, name: str) -> Address | None:
        """Return where `name` is reached; None for one that was never heard of."""
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
        """End it, from any thread."""


class Speakers:
    """Remembers for each peer's name the connection that used it last, and when.

    While that connection is open and spoke within `quiet_s`, nobody else may use the name: a
    second process under one name would collect votes that were given to the first. A name whose
    bearer is silent or away is free, so a person may type in its stead. The former connection ends
    then: each could hold half a line of a peer, which is long.
    """

    def __init__(self, quiet_s: float, now_s: Callable[[], float]) -> None:
        self._quiet_s = quiet_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._speaking: dict[str, tuple[Speaker, float]] = {}

    def claim(self, name: str, connection: Speaker) -> None:
        """Let `connection` speak for the peer, and end the one that did so before.

        Raises:
            PeerError: another connection spoke for it just now.
        """
        now_s = self._now_s()
        with self._lock:
            holder, spoke_s = self._speaking.get(name, (connection, now_s))
            if holder is not connection and now_s - spoke_s < self._quiet_s:
                raise PeerError(f"{name} speaks on another connection; nobody else does for it")
            self._speaking[name] = (connection, now_s)
        if holder is not connection:
            holder.break_off()

    def release(self, name: str, connection: Speaker) -> bool:
        """End the claim of a connection that ended; return whether it had one. If not, the peer
        speaks on a later connection."""
        with self._lock:
            holder, _ = self._speaking.get(name, (None, 0.0))
            was_its = holder is connection
            if was_its:
                del self._speaking[name]
            return was_its
