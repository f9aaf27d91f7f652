"""How builds announce their level: `s1@Level 2 version 0.2.0`, as question and as answer.

A node sends this line first on each connection that it makes to a peer. A build from before levels
answers `Sorry, ` as to any line that it does not know, and is known by that.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable

from raftline.access.tls import Tls
from raftline.access.tls_socket import TlsSocket
from raftline.common.address import Address
from raftline.common.level import BEFORE_LEVELS, LEVEL, Build
from raftline.common.version import VERSION
from raftline.net.lines import HalfLine, LineReader, LineTooLong
from raftline.net.opening import connect
from raftline.wire.limits import BUILD_BYTES
from raftline.wire.protocol import ProtocolError, decode_line, split_sender
from raftline.wire.refusals import ELSEWHERE, code_of, refusal_in

FIRST_WORD = "Level"
_LEVEL_LINE = re.compile(r"Level ([1-9][0-9]{0,8}) version (\S{1,64})")
ASK_S = 2.0  # for a build that is not connected yet


def spell_level(me: str) -> str:
    """Return the line of this build, without its newline."""
    return f"{me}@{FIRST_WORD} {LEVEL} version {VERSION}"


def read_level(text: str) -> Build | None:
    """Return the build that answered so; None if the answer does not name it."""
    if found := _LEVEL_LINE.fullmatch(text):
        return Build(int(found[1]), found[2])
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


class LevelQuestion:
    """The question for the level of a peer, on one connection to it after the other."""

    def __init__(self, peer: str, on_build: OnBuild | None) -> None:
        """`on_build` gets the build; without it nothing is asked."""
        self._peer = peer
        self._on_build = on_build
        self.is_asked = False  # on this connection, and has not answered
        self.was_full = False  # an old build has places for peers alone, and takes this for none

    def first_line(self, me: str) -> bytes:
        """Return the first line of a new connection; b"" if nothing is asked on it."""
        self.is_asked = self._on_build is not None and not self.was_full
        self.was_full = False
        return f"{spell_level(me)}\n".encode() if self.is_asked else b""

    def take(self, text: str) -> bool:
        """Take a line that may be the answer, if it `is_asked`; return whether it was."""
        code = code_of(text)
        if not code and not text.startswith(f"{FIRST_WORD} "):
            return False
        self.is_asked = False
        self.was_full = code == "full"
        build = read_level(text)
        if build is not None and self._on_build is not None:
            self._on_build(self._peer, build, self)
        return build is not None or self.was_full

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
