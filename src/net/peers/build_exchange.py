"""The announcement of a build: `s1@Level 1 version 0.2.0 with objects=104c7907f9d9`, as question
and as answer. The words after `with` say what it applies, and how (common/effects.py).

A node sends this line first on each connection that it makes to a peer. Another implementation
answers with `Sorry, `, as it does to any unknown line, and is recognized by that. So does a node
that was started with `--floor`, which itself asks nobody.

The question is sent again each second until an answer tells the build. A line may be lost where
something between two nodes takes it, and without the answer a leader would send that member nothing
for as long as the connection stands.

Once a node knows the identity of its cluster, the line ends in it, in both directions:
`s1@Level 1 version 0.3.0 cluster 9f86d081884c7d65`. A node that learns it later sends the line
again on its open connections. Messages from a server of another cluster are refused. With a secret,
the line comes after the proof, so it is as trustworthy as any later line of the connection.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable

from ...access.tls import Tls
from ...access.tls_socket import TlsSocket
from ...common.address import Address
from ...common.effects import applies
from ...common.identities import AT_FLOOR, NOT_HEARD, Build
from ...common.version import VERSION
from ...raft.identity import CLUSTER, FORMAT, PARTS, is_foreign
from ...wire.commands.parsing import BUILD_QUESTION
from ...wire.limits import BUILD_BYTES
from ...wire.protocol import ProtocolError, decode_line, split_sender
from ...wire.refusal import ELSEWHERE
from ...wire.replies.refusals import code_of, refusal_in
from ..line_reader import HalfLine, LineReader, LineTooLong
from .opening import connect, why_not_accepted

_BEGINNING = f"{FORMAT.capitalize()} version "
HIDDEN = "hidden"  # instead of the version, which shows the commit and its known vulnerabilities
_BUILD_LINE = re.compile(
    rf"{_BEGINNING}(\S{{1,64}})(?: with ({PARTS}))?(?: cluster ({CLUSTER}))?",
    re.ASCII,
)
ASK_S = 2.0  # to ask a build that is not connected yet
FOREIGN_S = 60.0  # how long a server of another cluster counts as seen; it is printed once


def format_build(
    me: str, cluster: str = "", version: str = VERSION, *, has_parts: bool = True
) -> str:
    """Return the line of this build, without its newline."""
    line = f"{me}@{_BEGINNING}{version}"
    if has_parts and (parts := sorted(applies())):
        line += f" with {' '.join(parts)}"
    return f"{line} cluster {cluster}" if cluster else line


def answer_to_build(cluster: str, version: str = VERSION, *, has_parts: bool = True) -> str:
    """Return the answer to a build's line."""
    return format_build("", cluster, version, has_parts=has_parts).removeprefix("@")


def read_build(text: str) -> Build | None:
    """Return the build that sent this answer; None if the answer does not show it."""
    if match := _BUILD_LINE.fullmatch(text):
        return Build(match[1], match[3] or "", frozenset((match[2] or "").split()))
    refusal = refusal_in(text)
    if refusal is not None and refusal.outcome is not ELSEWHERE:
        return AT_FLOOR
    return None


class Builds:
    """The build of each peer, as announced on an open connection; any thread may call.

    A peer that was removed and added again at another address is dialed twice for a while: by the
    old `Peer`, which has not stopped yet, and by its successor. When a connection ends, only its
    own announcement is withdrawn: an earlier one of another connection is valid again.
    """

    def __init__(self, on_build: Callable[[str, Build], None]) -> None:
        """`on_build` gets each build of a peer, one that is not heard when it is no longer
        known."""
        self._on_build = on_build
        self._lock = threading.Lock()  # the core gets the builds in the order of their arrival
        self._builds: dict[str, dict[object, Build]] = {}  # by connection, the latest one last

    def record(self, name: str, build: Build | None, teller: object) -> None:
        """Record the build of a peer; None means that the connection of `teller` to it broke."""
        with self._lock:
            builds = dict(self._builds.get(name, {}))
            earlier = builds.pop(teller, None)
            if build is None and earlier is None:
                return
            if build is not None:
                builds[teller] = build
            self._builds[name] = builds  # replaced as a whole: other threads read it meanwhile
            self._on_build(name, self.of(name))

    def of(self, name: str) -> Build:
        """Return the build of a peer, one that is not heard if it is not known yet."""
        builds = self._builds.get(name)
        return next(reversed(builds.values())) if builds else NOT_HEARD


OnBuild = Callable[[str, Build | None, object], None]  # see `Builds.record`


class Foreigners:
    """The servers of other clusters that appeared under members' names; any thread may call."""

    def __init__(
        self,
        me: str,
        mine: Callable[[], str] = lambda: "",
        say: Callable[[str], None] = lambda text: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mine` returns the identity of this node's cluster, "" if it is not known."""
        self._mine = mine
        self.joins = ""  # the identity of the cluster that this node asks to be added to
        self._me, self._say, self._now_s = me, say, now_s
        self._lock = threading.Lock()
        # The identity and the time, by name and by whether it dials this node or is dialed.
        self._seen: dict[tuple[str, bool], tuple[str, float]] = {}

    def mine(self) -> str:
        """Return the identity of the cluster that this node is part of, or joins."""
        return self._mine() or self.joins

    def refuses(self, name: str, theirs: str, place: str, *, dials: bool) -> bool:
        """Return whether a server with a member's name belongs to another cluster; print that
        unless it was seen recently."""
        mine = self.mine()
        if not is_foreign(mine, theirs):
            return False
        with self._lock:
            now_s = self._now_s()
            self._seen = {key: seen for key, seen in self._seen.items() if self._counts(seen[1])}
            is_new = (name, dials) not in self._seen
            self._seen[name, dials] = (theirs, now_s)
        if is_new:
            self._say(
                f"[!] {name} at {place} is of cluster {theirs}, and {self._me} of cluster {mine}: "
                "nothing is taken from it or sent to it. One of the two has the files of another "
                f"cluster, or an address there. Correct the address of {name}, or stop the node "
                "that does not belong here and move its files away (docs/repair.md)"
            )
        return True

    def _counts(self, seen_s: float) -> bool:
        return self._now_s() - seen_s < FOREIGN_S

    def seen(self) -> dict[str, str]:
        """Return the identity of each such server that was seen recently, by name."""
        with self._lock:
            entries = self._seen.items()
            return {name: theirs for (name, _), (theirs, at_s) in entries if self._counts(at_s)}


class BuildQuestion:
    """The question for the build of a peer, on successive connections to it."""

    def __init__(
        self, peer: str, on_build: OnBuild | None, foreigners: Foreigners, place: str
    ) -> None:
        """`on_build` gets the build; without it no question is sent. `place` is the address of the
        peer."""
        self._foreigners = foreigners
        self._place = place
        # The identity that was announced on this connection; None: no question was sent.
        self._announced: str | None = None
        self._theirs = ""  # the identity of the peer, on this connection
        self._peer = peer
        self._on_build = on_build
        self.is_asked = False  # on this connection, and there is no answer yet
        self._is_told = True  # an answer on this connection told the build, or no question was sent
        self.was_full = False  # an old build with only peer places left refused the question

    def first_line(self, me: str) -> bytes:
        """Return the first line of a new connection; b"" if no question is sent on it."""
        self.is_asked = self._on_build is not None and not self.was_full
        self.was_full, self._theirs = False, ""
        self._announced = self._foreigners.mine() if self.is_asked else None
        self._is_told = not self.is_asked
        return b"" if self._announced is None else f"{format_build(me, self._announced)}\n".encode()

    def next_line(self, me: str) -> bytes:
        """Return the line again if this node has learned its identity since, otherwise b""."""
        mine = self._foreigners.mine()
        if self._announced is None or self._announced == mine:
            return b""
        self._announced = mine
        return f"{format_build(me, mine)}\n".encode()

    def line_again(self, me: str) -> bytes:
        """Return the line again if no answer told the build yet, otherwise b""."""
        return b"" if self._is_told else f"{format_build(me, self._announced or '')}\n".encode()

    def take(self, text: str) -> bool:
        """Take a line that may be an answer; return whether it was one. A refusal counts as one
        only until the first answer has arrived."""
        code = code_of(text) if self.is_asked else ""
        if not code and not text.startswith(BUILD_QUESTION):
            return False
        self.is_asked = False
        self.was_full = code == "full"
        build = read_build(text)
        if build is not None and self._on_build is not None:
            self._is_told = True
            self._theirs = build.cluster
            if not self.is_foreign:
                self._on_build(self._peer, build, self)
        return build is not None or self.was_full

    @property
    def is_foreign(self) -> bool:
        """Whether the peer of this connection belongs to another cluster; if so, print that."""
        theirs, foreigners = self._theirs, self._foreigners
        if not theirs or theirs == foreigners.mine():  # nearly always
            return False
        return foreigners.refuses(self._peer, theirs, self._place, dials=False)

    def forget(self) -> None:
        """Report that the connection broke: the next build at that address may differ."""
        self._is_told = True  # nobody is there to be asked
        if self._on_build is not None:
            self._on_build(self._peer, None, self)


def ask_build(me: str, address: Address, name: str = "", tls: Tls | None = None) -> Build | None:
    """Return the build of the node at an address; None if no answer arrives within ASK_S. With
    `tls`, its certificate has to be for `name`.

    Raises:
        ssl.SSLError: one of the two does not accept the certificate of the other.
    """
    refused: ssl.SSLError | None = None
    for dials in [tls, None] if tls is not None and not tls.is_only else [tls]:
        try:
            line = _asked(f"{format_build(me)}\n".encode(), name, address, dials)
            return read_build(split_sender(decode_line(line))[2])
        except (OSError, UnicodeError, ProtocolError, HalfLine, LineTooLong) as problem:
            if isinstance(problem, ssl.SSLError) and why_not_accepted(problem, me):
                refused = problem
    if refused is not None:
        raise refused
    return None


def _asked(question: bytes, name: str, address: Address, tls: Tls | None) -> bytes:
    """Return the answer to a line."""
    connection = connect(address, ASK_S)
    if tls is not None:
        connection = TlsSocket.dialed(connection, tls.client_context(), name, ASK_S)
    with connection:
        connection.sendall(question)
        reader = LineReader(connection, ASK_S)
        reader.limit(ASK_S)
        lines = reader.read(BUILD_BYTES)
    return lines[0] if lines else b""
