"""`Client`: a program's conversation with the cluster. It asks, waits, and follows the leader."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from raftline.clients.connection import (
    ClientError,
    Deadline,
    NodeConnection,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Refused,
    Unreachable,
    in_words,
    line_of,
    why_unreachable,
)
from raftline.common.address import Address
from raftline.wire.commands import row_of
from raftline.wire.protocol import NAME, NO_LEADER, NOT_LEADER, leader_named_in
from raftline.wire.replies import Outcome, Reply, outcome_of, read_reply

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
SESSION_EXPIRED = "Sorry, session expired"
_UNKNOWN_BEFORE = "outcome unknown: the session expired while the request was being sent again"
CONNECT_TIMEOUT_S = 2.0  # while other addresses are left to try


def name_of_client(name: str) -> str:
    """Return `name`. Raises ValueError where it can't stand before the `@` of a line."""
    if not NAME.fullmatch(name):
        what = "a letter, then letters, digits, _ . or -, at most 64 in all"
        raise ValueError(f"{name!r} is no name of a client: {what}")
    return name


class Client:
    """Asks one node at a time, one request after the other; not for several threads at once.

    With `follow` it goes where a sorry line sends it, and past dead nodes to the others that it
    knows, until `timeout_s` has passed. Its writes then carry numbers of a session of its own,
    begun before the first one, so that one whose outcome is unknown is sent again and still
    takes effect once (thesis §6.3). Without `follow` such a write is never sent again.
    `also` are further nodes to try; `on_connect` is told of each connection before it is made.
    `attempt_s` is how long one node may keep a request, when following, before another is asked;
    `search_s`, how long one is looked for that takes it, where that is not `timeout_s`. `on_wait`
    gets a line, once for each request, when a second has brought no answer.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 10000,
        name: str = "client",
        timeout_s: float = 10.0,
        *,
        follow: bool = False,
        also: Sequence[tuple[str, int]] = (),
        on_connect: Callable[[Address], None] | None = None,
        attempt_s: float | None = None,
        search_s: float | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        """Connect to nobody yet. Raises ValueError where `name` can't begin a line."""
        self.address = Address(host, port)
        self.name = name_of_client(name)
        self.timeout_s = timeout_s
        self.attempt_s = attempt_s
        self.search_s = search_s
        self.follow = follow
        self._known = [self.address, *(Address(*each) for each in also)]  # longest untried first
        self._on_connect = on_connect
        self._on_wait = on_wait
        self._connection: NodeConnection | None = None
        self._session = ""
        self._number = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def request(self, command: str) -> str:
        """Return the reply's text (`GET response: 5`; `GET response, no such key: b`).

        Raises:
            NotLeader, NoLeader, Refused: the node's sorry line; nothing was done.
            OutcomeUnknown: it was sent, and nobody can say what becomes of it.
            Unreachable: no node answered, or a read went unanswered.
        """
        text = self.ask(command).text
        said = text.removeprefix("Sorry, ")
        match outcome_of(text):
            case Outcome.NO_LEADER if text.startswith(NOT_LEADER):
                leader = leader_named_in(text)
                raise NotLeader(said, Address(*leader[1:]) if leader else None)
            case Outcome.NO_LEADER:
                raise NoLeader(said)
            case Outcome.UNKNOWN:
                raise OutcomeUnknown(said)
            case Outcome.REFUSED:
                raise Refused(said)
        return text

    def ask(self, command: str) -> Reply:
        """Return the reply, also one that begins with `Sorry, `.

        Raises:
            OutcomeUnknown, Unreachable: no reply came; see `request`.
            Refused: the command is no single line of text.
        """
        if not self.follow:
            return self._ask_here(self.name, command, Deadline(self.timeout_s, self._on_wait))
        deadline = Deadline(self.search_s or self.timeout_s, self._on_wait)
        if not row_of(command).access.is_numbered:
            return self._ask_anywhere(self.name, command, deadline)[0]
        reply, is_sure = self._ask_numbered(command, deadline)
        if reply.text.startswith(SESSION_EXPIRED):
            self._session = ""
            if not is_sure:
                raise OutcomeUnknown(_UNKNOWN_BEFORE)
            reply, _ = self._ask_numbered(command, deadline)  # in a session of its own
        return reply

    def _ask_numbered(self, command: str, deadline: Deadline) -> tuple[Reply, bool]:
        """Return the reply to a write under the next number of this client's session, and whether
        all that was sent before it was certainly not done."""
        if not self._session:
            begun, _ = self._ask_anywhere(self.name, "session", deadline)
            if outcome_of(begun.text) is not Outcome.DONE:
                return begun, True
            self._session, self._number = begun.text.removeprefix("SESSION response: "), 0
        self._number += 1
        return self._ask_anywhere(f"{self._session}#{self._number}", command, deadline)

    def _ask_anywhere(self, sender: str, command: str, deadline: Deadline) -> tuple[Reply, bool]:
        """Ask one known node after the other until one has an answer that settles it; return it,
        and whether no earlier answer left open what was done."""
        pause_s = FIRST_PAUSE_S
        tried: set[Address] = set()
        unknown: Reply | ClientError | None = None  # it may yet take effect, whatever others say
        refusal: Reply | None = None  # of the node that tells most about why nobody leads
        while True:
            tried.add(self.address)
            answer = self._attempt(sender, command, deadline)
            outcome = answer.outcome if isinstance(answer, ClientError) else outcome_of(answer.text)
            if isinstance(answer, Reply) and outcome not in (Outcome.NO_LEADER, Outcome.UNKNOWN):
                return answer, unknown is None
            if outcome is Outcome.UNKNOWN:
                unknown = answer
                if row_of(command).access.is_sent_once:
                    break
            refusal = _better(refusal, answer)
            self._move_on(answer)
            if self.address in tried:  # all said no: wait for an election
                if deadline.left_s < pause_s:
                    break
                if time.monotonic() + pause_s > deadline.notice_s:
                    deadline.notice(self._search(answer, deadline.left_s))
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                tried.clear()
        answer = unknown or refusal or answer
        if isinstance(answer, Unreachable) and len(self._known) > 1:
            raise Unreachable(f"nobody answers at {in_words(self._known)}. The last one: {answer}")
        if isinstance(answer, ClientError):
            raise answer
        return answer, unknown is None

    def _attempt(self, sender: str, command: str, deadline: Deadline) -> Reply | ClientError:
        try:
            return self._ask_here(sender, command, deadline)
        except (Unreachable, OutcomeUnknown) as error:
            return error

    def _search(self, answer: Reply | ClientError, left_s: float) -> str:
        """Return who is asked in turn, for how long yet, and what the last one said."""
        said = answer.text if isinstance(answer, Reply) else str(answer)
        said = said.removeprefix("Sorry, ").partition(". ")[0].removesuffix(".")
        return f"asking {in_words(self._known)} for {left_s:.0f} s more. The last one: {said}"

    def connect(self) -> None:
        """Be connected to the node, or when following to any known one.

        Raises:
            Unreachable: nobody listens there.
        """
        failures: list[Unreachable] = []
        for _ in range(len(self._known) if self.follow else 1):
            try:
                self._connected()
                return
            except Unreachable as error:
                failures.append(error)
                if self.follow:
                    self._move_on(error)
        raise failures[0]  # of the address that was asked for

    def _move_on(self, answer: Reply | ClientError) -> None:
        """Turn to the leader that was named, else to the node that was not asked for longest."""
        self._known.remove(self.address)
        self._known.append(self.address)
        leader = leader_named_in(answer.text) if isinstance(answer, Reply) else None
        target = Address(*leader[1:]) if leader else self._known[0]
        if target not in self._known:
            self._known.append(target)
        if target != self.address:
            self.close()
            self.address = target

    def _ask_here(self, sender: str, command: str, deadline: Deadline) -> Reply:
        line = line_of(sender, command)
        connection, limit_s = self._connected(), self._reply_s(deadline)
        try:
            raw = connection.exchange(line, limit_s, deadline)
        except OSError as error:
            self.close()
            raise self._lost(command, error, limit_s) from None
        except BaseException:
            self.close()  # else a late reply would answer the next request
            raise
        reply = read_reply(raw)
        if reply is None:
            self.close()
            foreign = ConnectionError("answered something that is not raftline")
            raise self._lost(command, foreign, limit_s)
        return reply

    def _reply_s(self, deadline: Deadline) -> float:
        """Return how long to wait for a reply of the node that is asked."""
        if not self.follow or self.attempt_s is None:
            return self.timeout_s
        return max(0.05, min(self.attempt_s, deadline.left_s))

    def _lost(self, command: str, error: OSError, limit_s: float) -> ClientError:
        where = f"{self.address.host} port {self.address.port}"
        reason = error.strerror or str(error)
        if isinstance(error, TimeoutError):
            reason = (
                f"gave no answer within {limit_s:.3g} s"
                " (nodes at --pace human may need 40 s: --timeout 60)"
            )
        elif isinstance(error, (ConnectionResetError, BrokenPipeError)):
            reason = "broke the connection before it answered"
        look = row_of(command).access.look
        if not look:
            return Unreachable(f"{where} {reason}. Ask again, or ask another node.")
        what = "write" if look == "get" else "change"
        return OutcomeUnknown(
            f"outcome unknown: {where} {reason}. The {what} may yet take effect: look with {look}"
            " before you send it again."
        )

    def _connected(self) -> NodeConnection:
        if self._connection is not None:
            if self._connection.is_silent():
                return self._connection
            self.close()
        if self._on_connect:
            self._on_connect(self.address)
        limit_s = min(self.timeout_s, CONNECT_TIMEOUT_S) if self.follow else self.timeout_s
        try:
            self._connection = NodeConnection(self.address, limit_s)
        except OSError as error:
            raise Unreachable(why_unreachable(self.address, error, limit_s)) from None
        return self._connection


def _better(before: Reply | None, answer: Reply | ClientError) -> Reply | None:
    """Return which refusal for want of a leader tells more; None where there was none."""
    if not isinstance(answer, Reply) or outcome_of(answer.text) is not Outcome.NO_LEADER:
        return before
    return max(before or answer, answer, key=_tells)


def _tells(refusal: Reply) -> tuple[bool, bool, int]:
    """Order refusals by what they tell: a node that says why nobody leads, before one that tells
    of itself alone, before one that names a leader which is gone."""
    why = refusal.text.removeprefix(NO_LEADER).lstrip()
    knows_of_none = refusal.text.startswith(NO_LEADER)
    return knows_of_none, not why.startswith(f"{refusal.server} has"), len(why)
