"""How builds announce their level: `s1@Level 2 version 0.2.0`, as question and as answer.

A node sends this line first on each connection that it makes to a peer. A build from before levels
answers `Sorry, ` as to any line that it does not know, and is known by that.

Once a node knows the identity of its cluster the line ends in it, in both directions:
`s1@Level 4 version 0.3.0 cluster 9f86d081884c7d65`. A node that learns it later sends the line
again on the connections that stand. Nothing is taken from a server of another cluster. With a
secret the line comes after the proof, so it is worth as much as any later line of the connection.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable

from ..access.tls import Tls
from ..access.tls_socket import TlsSocket
from ..common.address import Address
from ..common.level import BEFORE_LEVELS, LEVEL, Build
from ..common.version import VERSION
from ..raft.levels import CLUSTER, IDENTIFIED, is_foreign
from ..wire.limits import BUILD_BYTES
from ..wire.protocol import ProtocolError, decode_line, split_sender
from ..wire.refusals import ELSEWHERE, code_of, refusal_in
from .lines import HalfLine, LineReader, LineTooLong
from .opening import connect

FIRST_WORD = "Level"
HIDDEN = "hidden"  # in the place of the version: it names the very commit, and so the known holes
_LEVEL_LINE = re.compile(
    rf"Level ([1-9][0-9]{{0,8}}) version (\S{{1,64}})(?: cluster ({CLUSTER}))?", re.ASCII
)
ASK_S = 2.0  # for a build that is not connected yet
FOREIGN_S = 60.0  # a server of another cluster counts as seen for so long, and is printed once


def spell_level(me: str, cluster: str = "", version: str = VERSION) -> str:
    """Return the line of this build, without its newline."""
    line = f"{me}@{FIRST_WORD} {LEVEL} version {version}"
    return f"{line} cluster {cluster}" if cluster else line


def answer_to_level(cluster: str, question: str, version: str = VERSION) -> str:
    """Return the answer to a line of a build. Builds below level 4 understand no identity."""
    asks = read_level(question)
    understands = asks is not None and asks.level >= IDENTIFIED
    return spell_level("", cluster if understands else "", version).removeprefix("@")


def read_level(text: str) -> Build | None:
    """Return the build that answered so; None if the answer does not name it."""
    if found := _LEVEL_LINE.fullmatch(text):
        return Build(int(found[1]), found[2], found[3] or "")
    refusal = refusal_in(text)
    if refusal is not None and refusal.outcome is not ELSEWHERE:
        return Build(1, BEFORE_LEVELS)
    return None


class Builds:
    """The build of each peer, as it was announced on a connection that stands; for any thread.

    A peer that was removed and added again at another address is dialled twice for a while: by
    who has not noticed yet that it is to stop, and by its successor. The end of a connection takes
    back what was announced on it, and nothing else: what another one announced before holds again.
    """

    def __init__(self, on_level: Callable[[str, int], None]) -> None:
        """`on_level` gets each level of a peer, 0 when it is not known any more."""
        self._on_level = on_level
        self._lock = threading.Lock()  # the core hears of levels in the order in which they came
        self._builds: dict[str, dict[object, Build]] = {}  # by connection, the latest one last

    def record(self, name: str, build: Build | None, teller: object) -> None:
        """Record the build of a peer, None when the connection of `teller` to it broke."""
        with self._lock:
            known = dict(self._builds.get(name, {}))
            earlier = known.pop(teller, None)
            if build is None and earlier is None:
                return
            if build is not None:
                known[teller] = build
            self._builds[name] = known  # replaced as a whole: others read it meanwhile
            self._on_level(name, self.of(name).level)

    def of(self, name: str) -> Build:
        """Return the build of a peer; of level 0 if nothing was heard of it."""
        known = self._builds.get(name)
        return next(reversed(known.values())) if known else Build(0, "not heard yet")


OnBuild = Callable[[str, Build | None, object], None]  # see `Builds.record`


class Foreigners:
    """The servers of other clusters that appeared under the names of members; for any thread."""

    def __init__(
        self,
        me: str,
        mine: Callable[[], str] = lambda: "",
        say: Callable[[str], None] = lambda text: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mine` returns the identity of this node's cluster, "" if that is not known."""
        self._mine = mine
        self.joins = ""  # the identity of the cluster that this node asks to be added to
        self._me, self._say, self._now_s = me, say, now_s
        self._lock = threading.Lock()
        # The identity and the time, by name, and by whether it dials this node or is dialled.
        self._seen: dict[tuple[str, bool], tuple[str, float]] = {}

    def mine(self) -> str:
        """Return the identity of the cluster that this node is part of, or joins."""
        return self._mine() or self.joins

    def refuses(self, name: str, theirs: str, place: str, *, dials: bool) -> bool:
        """Return whether a server that has a member's name is of another cluster; print it if
        that was not seen for a while."""
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
        """Return the identity of each such server that was seen within a while, by name."""
        with self._lock:
            seen = self._seen.items()
            return {name: theirs for (name, _), (theirs, at_s) in seen if self._counts(at_s)}


class LevelQuestion:
    """The question for the level of a peer, on one connection to it after the other."""

    def __init__(
        self, peer: str, on_build: OnBuild | None, foreigners: Foreigners, place: str
    ) -> None:
        """`on_build` gets the build; without it nothing is asked. `place` is where the peer is
        reached."""
        self._foreigners = foreigners
        self._place = place
        # The identity that was announced on this connection; None: nothing was asked.
        self._announced: str | None = None
        self._theirs = ""  # the identity of the peer, on this connection
        self._peer = peer
        self._on_build = on_build
        self.is_asked = False  # on this connection, and has not answered
        self.was_full = False  # an old build has places for peers alone, and takes this for none

    def first_line(self, me: str) -> bytes:
        """Return the first line of a new connection; b"" if nothing is asked on it."""
        self.is_asked = self._on_build is not None and not self.was_full
        self.was_full, self._theirs = False, ""
        self._announced = self._foreigners.mine() if self.is_asked else None
        return b"" if self._announced is None else f"{spell_level(me, self._announced)}\n".encode()

    def next_line(self, me: str) -> bytes:
        """Return the line again if this node learned its identity since it was sent, else b""."""
        mine = self._foreigners.mine()
        if self._announced is None or self._announced == mine:
            return b""
        self._announced = mine
        return f"{spell_level(me, mine)}\n".encode()

    def take(self, text: str) -> bool:
        """Take a line that may be an answer; return whether it was. A refusal is one only until
        the first answer has come."""
        code = code_of(text) if self.is_asked else ""
        if not code and not text.startswith(f"{FIRST_WORD} "):
            return False
        self.is_asked = False
        self.was_full = code == "full"
        build = read_level(text)
        if build is not None and self._on_build is not None:
            self._theirs = build.cluster
            if not self.is_foreign:
                self._on_build(self._peer, build, self)
        return build is not None or self.was_full

    @property
    def is_foreign(self) -> bool:
        """Whether the peer of this connection is of another cluster, which is then printed."""
        theirs, foreigners = self._theirs, self._foreigners
        if not theirs or theirs == foreigners.mine():  # nearly always
            return False
        return foreigners.refuses(self._peer, theirs, self._place, dials=False)

    def forget(self) -> None:
        """Report that the connection broke: the next build there may be another."""
        if self._on_build is not None:
            self._on_build(self._peer, None, self)


def ask_level(me: str, address: Address, name: str = "", tls: Tls | None = None) -> Build | None:
    """Return the build of the node at an address; None if no answer comes within a moment. With
    `tls` its certificate has to be for `name`."""
    for dials in [tls, None] if tls is not None and not tls.is_only else [tls]:
        with contextlib.suppress(OSError, UnicodeError, ProtocolError, HalfLine, LineTooLong):
            line = _asked(f"{spell_level(me)}\n".encode(), name, address, dials)
            return read_level(split_sender(decode_line(line))[2])
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
