"""One socket to one node, the time limit of an answer, and the errors of a request."""

from __future__ import annotations

import contextlib
import math
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from raftline.common.address import Address
from raftline.common.errors import RaftlineError
from raftline.common.process.console import safe_line
from raftline.common.public import public
from raftline.net.dialing import NOBODY
from raftline.net.line_connection import ConnectionEnded, LineConnection
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, decode_line
from raftline.wire.refusal import RequestOutcome

from .client_tls import ClientTls, tls_trouble
from .codes import CodesOpening

SAID_AFTER_S = 1.0
CONNECT_TIMEOUT_S = 2.0  # while there are other addresses to try
LEAST_ATTEMPT_S = 0.05
# The parts of the time for the first, the second and any further node that can't be reached. While
# the request is in flight at a node, others get less: its answer counts until the time is over.
SHARES = (1, 2, math.inf)
ADVICE = {  # to a user at a shell, by the code of a refusal
    "no-login": "Log in: --user USER, or $RAFTLINE_USER.",
    "login-failed": "Check --user, and the first line of --password-file.",
    "not-allowed": "Log in as another user, or give this one a role: raftline user grant.",
    "tls-only": "Or --tls-ca FILE.",
}
NAME_CA = "Name its CA: $RAFTLINE_TLS_CA, or ClientTls(ca=…)."
_LIMITS = Limits()
Settled = Callable[["bytes | None"], object]  # gets the answer to a line, None if there is none


def in_words(addresses: Iterable[Address]) -> str:
    """Return addresses in the form `localhost port 10000, 10001; other port 10000`."""
    ports: dict[str, list[str]] = {}
    for host, port in sorted(addresses):
        ports.setdefault(host, []).append(str(port))
    return "; ".join(f"{host} port {', '.join(each)}" for host, each in ports.items())


@public("raftline")
class ClientError(RaftlineError):
    """The request got no answer, or was refused. The message is the text after `Sorry,`.

    `advice` tells a user at a shell what to do, and is not part of the message. `code` is the
    machine-readable word of a node's refusal, and `facts` are its details (docs/use/protocol.md).
    """

    outcome = RequestOutcome.REFUSED
    advice = ""
    code = ""
    facts: tuple[str, ...] = ()
    _within: Callable[[float], ClientError] | None = None  # the same error for another time limit
    _is_in_flight = False  # the answer may still arrive; a further attempt at the node awaits it

    @property
    def at_the_shell(self) -> str:
        """The message as a command prints it, with the advice."""
        return f"{self} {self.advice}".rstrip()


@public("raftline")
class NoLeader(ClientError, TimeoutError):
    """No leader was known in time; nothing was done."""

    outcome = RequestOutcome.NO_LEADER


@public("raftline.errors")
class NotLeader(NoLeader):
    """This node is not the leader; nothing was done. `leader` is the leader's address as far as the
    node knows. A client that follows the leader raises this error if the leader did not answer in
    time."""

    def __init__(self, message: str, leader: Address | None = None) -> None:
        super().__init__(message)
        self.leader = leader


@public("raftline")
class OutcomeUnknown(ClientError):
    """The write may or may not take effect. Sending it again could do it twice. So this is neither
    a `ConnectionError` nor a `TimeoutError`, after which libraries retry."""

    outcome = RequestOutcome.UNKNOWN


@public("raftline")
class Refused(ClientError):
    """The node did not accept the command; nothing was done."""


@public("raftline")
class NotAllowed(Refused):
    """The user lacks the right to do this, or is not logged in; nothing was done."""


@public("raftline")
class LoginFailed(ClientError):
    """The node did not accept the name and the password, or did not prove that it knows them;
    nothing was done."""

    _was_not_tried = False  # there is no valid name or password to send


@public("raftline")
class Unreachable(ClientError, ConnectionError):
    """No node answered; nothing was done. `lasts` is true if that will not change soon, for example
    if a certificate has expired."""

    lasts = False
    _is_late = False  # a node accepted the request, and gave no answer in time
    _is_early = False  # a node answered that it accepts no login yet


@public("raftline.errors")
class OtherCluster(ClientError):
    """No known node is part of this client's cluster any more: it was restored, recovered or begun
    again. Nothing was done. This is final: connect again."""

    code = "other-cluster"


@public("raftline.errors")
class TimedOut(Unreachable, TimeoutError):
    """No node answered in time; nothing was done."""


@public("raftline.errors")
class Closed(Unreachable):
    """The node or the client was closed; nothing was done."""


class Deadline:
    """A deadline `limit_s` seconds from now; `say` gets one line if no answer arrives in the first
    second.

    The waiting caller calls `notice` at the time `notice_s`. All times are by `now`, the monotonic
    clock. The first attempt may take `attempt_s`, the second twice that, and further ones all the
    time that is left, unless an answer may still arrive from an earlier one. With `reply_s`, each
    attempt may take exactly that time.
    """

    def __init__(
        self,
        limit_s: float,
        say: Callable[[str], None] | None = None,
        *,
        attempt_s: float = math.inf,
        reply_s: float | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._now = time.monotonic if now is None else now
        self.given_s = limit_s if reply_s is None else reply_s  # as given by the caller
        self.until_s = self.now_s + limit_s
        self.notice_s = self.now_s + SAID_AFTER_S if say else math.inf
        self._say = say
        self._attempt_s = attempt_s
        self._reply_s = reply_s
        self._late = 0  # attempts that took their whole time, and left nothing in flight
        self._is_in_flight = False

    @property
    def now_s(self) -> float:
        return self._now()

    @property
    def left_s(self) -> float:
        return max(0.0, self.until_s - self.now_s)

    @property
    def attempt_s(self) -> float:
        """The seconds for which the current node may keep the request."""
        if self._reply_s is not None:
            return self._reply_s
        share = SHARES[min(self._late, len(SHARES) - 1)]
        share_s = self._attempt_s * (min(share, SHARES[1]) if self._is_in_flight else share)
        return self.at_most(share_s)

    def at_most(self, limit_s: float) -> float:
        """Return this time, or less if less is left. With `reply_s` the end of the search does not
        shorten it."""
        if self._reply_s is not None:
            return limit_s
        return max(LEAST_ATTEMPT_S, min(limit_s, self.left_s))

    @property
    def whole_s(self) -> float:
        """The seconds for which a node may keep a request that is sent to no other."""
        return self.at_most(math.inf) if self._reply_s is None else self._reply_s

    @property
    def connect_s(self) -> float:
        """The part of `attempt_s` for the connection, including TLS and the login."""
        return min(CONNECT_TIMEOUT_S, self.attempt_s)

    def was_late(self, *, is_in_flight: bool = False) -> None:
        """Record that an attempt took its whole time, and whether its answer may still arrive."""
        self._is_in_flight = self._is_in_flight or is_in_flight
        self._late += not is_in_flight

    def notice(self, why: str) -> None:
        """Report once why there is no answer yet."""
        self.notice_s = math.inf
        if self._say is not None:
            self._say(f"No answer yet: {why}")


def say_waiting(text: str) -> None:
    """Print a line on standard error, because it is not part of the answer."""
    print(f"[*] {safe_line(text)}", file=sys.stderr, flush=True)


def check_length(command: str) -> None:
    """Raise Refused if the line is too long for any node. This also avoids starting a session
    needlessly."""
    if len(command) > _LIMITS.line_bytes:  # characters, so bytes as well
        refusal = _LIMITS.line_too_long
        failure = Refused(refusal.sentence)
        failure.code = refusal.code
        raise failure


def line_of(sender: str, command: str) -> bytes:
    """Return the line of `command` on the wire, without a newline.

    Raises:
        Refused: it is not one line of text, or is too long for a node, or the node would take a
            part of it for a telnet command and silently drop that.
    """
    if "\n" in command:
        raise Refused(r"a command is one line; a newline inside a value is written \n")
    check_length(command)
    try:
        line = f"{sender}@{command}".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Refused("the command has half a surrogate pair, which is not valid text") from None
    if command.endswith("\r"):
        raise Refused(r"a carriage return ends the command, and would be lost; it is written \r")
    with contextlib.suppress(ProtocolError):  # the node refuses it in its own words
        if decode_line(line).encode() != line:
            raise Refused(r"telnet's bytes in the command would be lost; each is written \xNN")
    return line


def unreachable(address: Address, error: OSError, limit_s: float) -> Unreachable:
    """Return the error for a node that could not be reached."""
    is_late = isinstance(error, TimeoutError)
    failure = (TimedOut if is_late else Unreachable)(_why_unreachable(address, error, limit_s))
    if is_late:
        failure._within = partial(unreachable, address, error)
    if trouble := tls_trouble(error):
        failure.lasts, failure.advice = True, trouble.advice
    elif isinstance(error, ConnectionRefusedError):
        failure.advice = (
            f"Start one with raftline up, or python3 src/server.py NAME {address.port}."
        )
    return failure


def _why_unreachable(address: Address, error: OSError, limit_s: float) -> str:
    host, port = address
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {host} port {port}: no node runs there."
    if isinstance(error, socket.gaierror):
        return f"no such host: {host}. Check how it is spelled."
    if isinstance(error, TimeoutError):
        return f"{host} port {port} did not accept a connection within {limit_s:.3g} s."
    trouble = tls_trouble(error)
    why = trouble.why if trouble else error.strerror or str(error)
    return f"{host} port {port} cannot be reached: {why}."


def no_such_host() -> OSError:
    """Return the error for a host that Python's resolver rejects as a name."""
    return socket.gaierror(socket.EAI_NONAME, "no such host name")


class NodeConnection(LineConnection):
    """One socket to one node, which sends a line and reads the answer."""

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        tls: ClientTls | None = None,
        sender: str = "",
        others: Iterator[Address] = NOBODY,
        cluster: str = "",
    ) -> None:
        """Connect like `LineConnection`. With `sender`, the client's name, refusals contain codes;
        the line that asks for them is sent with the first line, and names the `cluster` to which
        the node has to belong."""
        self._codes = CodesOpening(sender, cluster)
        self._held_back: list[bytes] = []  # lines for `flush`, or the next `send`
        self._unawaited: deque[Settled] = deque()  # of lines sent before any that is awaited
        try:
            super().__init__(address.port, timeout_s, address.host, tls, others)
        except UnicodeError:  # not a name that can be looked up, such as a..b
            raise no_such_host() from None

    def send(self, *lines: str | bytes) -> None:
        """Send these lines, each followed by a newline."""
        super().send(*self._before(), *lines)

    def send_soon(self, *lines: str | bytes) -> None:
        """Send lines while replies are read; see `LineConnection.send_soon`."""
        super().send_soon(*self._before(), *lines)

    def _before(self) -> list[str | bytes]:
        """Take the lines that are sent along with the next ones."""
        held_back, self._held_back = self._held_back, []
        return [*self._codes.take_unsent(), *held_back]

    def read(self, until_s: float | None = None, bytes_max: int | None = None) -> bytes:
        """Return the next line without its newline; see `LineConnection.read`."""
        line = self._read_own(until_s, bytes_max)
        while self._unawaited:
            self._unawaited.popleft()(line)
            line = self._read_own(until_s, bytes_max)
        return line

    def _read_own(self, until_s: float | None, bytes_max: int | None) -> bytes:
        line = super().read(until_s, bytes_max)
        return super().read(until_s, bytes_max) if self._codes.is_answered_by(line) else line

    def send_off(self, line: bytes, settled: Settled) -> None:
        """Send a line along with the next one, or by `flush`, and await no answer. `settled` gets
        the answer when a later one is read, or None if the connection is closed first."""
        self._held_back.append(line)
        self._unawaited.append(settled)

    def flush(self) -> None:
        """Send what `send_off` has held back, as much as possible without waiting."""
        if self._held_back:
            self.send_soon()

    def _take_settled(self) -> None:
        """Hand over the answers of lines sent off that have arrived. This does not wait: a time
        limit above 0 would cost a millisecond. Raises OSError if the connection has ended."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(1 << 16):
                self.received += data
            raise ConnectionEnded
        while self._unawaited and b"\n" in self.received:
            line = self._read_own(0.0, None)
            self._unawaited.popleft()(line)

    def close(self) -> None:
        super().close()
        unawaited, self._unawaited = self._unawaited, deque()
        for settled in unawaited:
            settled(None)

    def is_silent(self) -> bool:
        """Return whether nothing unsolicited arrived: neither the end nor a node's closing line."""
        try:
            if len(self._unawaited) > len(self._held_back):
                self._take_settled()
        except TimeoutError:
            return True
        except OSError:
            return False
        if self._unawaited:
            return True
        if self.received:
            return False
        try:
            self.socket.settimeout(0)  # fails if a close was interrupted
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not getattr(self.socket, "has_more", False)  # with TLS: a part of a record
        except OSError:
            pass
        return False
