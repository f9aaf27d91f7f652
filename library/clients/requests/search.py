"""The search for a node that accepts a request: the next node, the pauses, the end.

A search is a machine (`steps.py`). It yields `AskNode`, `SearchPause` or `AwaitSession`, and is
sent the answer; it returns the reply that settles the request. A thread (`conversation.py`), an
asyncio task (`clients/asyncio/asker.py`) or a simulated client carries out the steps. So all of
them search for the leader, use sessions and judge outcomes in the same way, and end in time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeGuard, TypeVar

from raftline.common.address import Address
from raftline.common.identities import continues
from raftline.net.dialing import NOBODY
from raftline.wire.commands.command_table import row_of
from raftline.wire.refusal import NO_LEADER, TLS_ALONE, Refusal, RequestOutcome
from raftline.wire.replies.refusals import (
    code_of,
    leader_in,
    leader_named_in,
    refusal_in,
    sentence_of,
)
from raftline.wire.replies.replies import Reply, outcome_of

from ..connections.client_tls import is_certificate_refused, tls_trouble
from ..connections.node_connection import (
    ADVICE,
    LEAST_ATTEMPT_S,
    NAME_CA,
    ClientError,
    Closed,
    Deadline,
    LoginFailed,
    NoLeader,
    NotAllowed,
    NotLeader,
    OtherCluster,
    OutcomeUnknown,
    Refused,
    TimedOut,
    Unreachable,
    check_length,
    in_words,
)
from .addresses import MEMBERS, Addresses, lacks_leader

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
WINDOW = 100  # numbers of a session in flight; a node remembers 128
KEPT_OUT = (  # the node did not look for an earlier try
    "no-login", "no-room", "not-allowed", "tls-only", "too-much",
)  # fmt: skip
SESSION = "session"
PROBE = "stat ping"  # of a key that need not exist: the leader confirms that it leads
NO_SESSION = "no session was started in time, so nothing was done"
_UNKNOWN_BEFORE = "outcome unknown: the session expired while the request was being sent again"

Answer = Reply | ClientError


class AskNode(NamedTuple):
    """A step: send the request to this node, or keep waiting for its reply. The answer is the
    reply or an error: `Closed` if the client was closed, `LoginFailed` if the node refused the
    login. An error may say that the request is still in flight there: a further step for the same
    request and node then awaits that reply. While a connection to the node
    hangs, connections to `others` are tried as well. If one of them is made first, nothing is sent,
    and the answer is `Connected`."""

    address: Address
    sender: str
    command: str
    limit_s: float  # the whole time, including the connection
    connect_s: float  # the part for the connection
    others: Iterator[Address] = NOBODY


class Connected(NamedTuple):
    """The node to which the client is connected, instead of the node in the step."""

    address: Address


class SearchPause(NamedTuple):
    """A step: wait. The answer is None."""

    seconds: float


class AwaitSession(NamedTuple):
    """A step: wait until the request that starts a session has ended (`when_begun`), at most this
    long. The answer is None, or `Closed` if the client was closed."""

    sessions: ClientSessions
    seconds: float


Kind = TypeVar("Kind")
SearchStep = AskNode | SearchPause | AwaitSession
Search = Generator[SearchStep, Answer | Connected | None, Kind]


class NodeTurns:
    """The nodes of a cluster in the order of their turns, and the current node."""

    def __init__(
        self, order: Iterable[tuple[str, int]], addresses: Addresses | None = None
    ) -> None:
        """Start with this order. `addresses` are the cluster's addresses, if other clients share
        them."""
        self._turns = [Address(*each) for each in order]
        self.addresses = Addresses(self._turns) if addresses is None else addresses
        self.current = self._turns[0]

    @property
    def known(self) -> list[Address]:
        """The nodes that may be asked, the least recently asked first."""
        known = self.addresses.known
        turns = [each for each in self._turns if each in known]
        self._turns = turns + [each for each in known if each not in turns]
        return list(self._turns)

    def besides(self, tried: Container[Address]) -> Iterator[Address]:
        """Yield the untried nodes, in the order of their turns."""
        yield from (each for each in self.known if each not in tried)

    def turn_to(self, address: Address, node: Address) -> None:
        """Turn to `address`, which was reached before `node`, whose turn it was."""
        others = [each for each in self.known if each not in (address, node)]
        self._turns = [address, *others, node]
        if self.current == node:
            self.current = address

    def move_on(self, node: Address, answer: Answer | None) -> None:
        """Turn from the node that was asked to the leader that it named, or otherwise to the least
        recently asked node. Do nothing if another request has turned meanwhile."""
        if node != self.current:
            return
        leader = leader_named_in(answer.text) if isinstance(answer, Reply) else None
        if leader:
            self.addresses.learn(Address(*leader[1:]))
        turns = [each for each in self.known if each != node]
        self._turns = [*turns, node]
        self.current = Address(*leader[1:]) if leader else self._turns[0]


class ClientSession:
    """A session of this client, and its numbers in flight."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.highest = 0
        self.under_way: dict[int, None] = {}  # in the order of the numbers

    @property
    def has_room(self) -> bool:
        """Whether another number keeps all numbers in flight within the window."""
        return not self.under_way or self.highest + 1 - next(iter(self.under_way)) < WINDOW

    def take(self) -> int:
        """Return the next number."""
        self.highest += 1
        self.under_way[self.highest] = None
        return self.highest


class ClientSessions:
    """The sessions of a client. It needs a second session only while a request of the first is
    late. One request at a time starts a session, for all requests that need it."""

    def __init__(self) -> None:
        self._all: list[ClientSession] = []
        self._waiting: list[Callable[[], None]] | None = None  # None: no session is being started

    @property
    def names(self) -> list[str]:
        return [each.name for each in self._all]

    def with_room(self) -> ClientSession | None:
        """Return a session that has room for a write; None if a new session is needed."""
        return next((each for each in self._all if each.has_room), None)

    @property
    def is_beginning(self) -> bool:
        """Whether a request is starting a session."""
        return self._waiting is not None

    def begin(self) -> None:
        """Record that a request is starting a session."""
        self._waiting = []

    def end_beginning(self) -> None:
        """Record that the request has ended, with a session or without."""
        waiting, self._waiting = self._waiting or [], None
        for call in waiting:
            call()

    def when_begun(self, call: Callable[[], None]) -> None:
        """Register a call for the end of the request that is starting a session."""
        assert self._waiting is not None, "no session is being started"
        self._waiting.append(call)

    def add(self, name: str) -> ClientSession:
        """Record a new session."""
        session = ClientSession(name)
        self._all.append(session)
        return session

    def forget(self, session: ClientSession) -> None:
        """Drop a session that has expired in the cluster."""
        if session in self._all:
            self._all.remove(session)


class _Answers:
    """The answers of nodes so far, none of which settled the request."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self.unknown: Answer | None = None  # of a write that may still take effect
        self.refusal: Reply | None = None  # the best explanation of why there is no leader
        self.kept_out: LoginFailed | None = None  # from a node that may not know the user yet
        self.silent: Address | None = None  # the last node that kept it to the end
        self._unheard: dict[Address, Unreachable] = {}  # nodes that gave no answer in the end
        self._lasting: set[Address] = set()  # nodes that will not serve it soon either
        self._gone: dict[Address, str] = {}  # for `are_gone`, by the last answers

    def take(self, node: Address, answer: Answer, *, lasts: bool) -> None:
        """Record the answer of a node; `lasts`: it will give no other one soon."""
        self.refusal = _better(self.refusal, answer)
        self._unheard.pop(node, None)
        note_gone(self._gone, node, answer)
        (self._lasting.add if lasts or self._gone.get(node) else self._lasting.discard)(node)
        if isinstance(answer, LoginFailed):
            self.kept_out = answer
        if isinstance(answer, Unreachable):
            self._lasting |= {node} if answer.lasts else set()
            self.silent = node if answer._is_late else self.silent
            self._unheard[node] = answer

    def check_cluster(self) -> None:
        """Raise OtherCluster if the cluster is gone."""
        if are_gone(self._gone, self._addresses):
            raise other_cluster(self._addresses.cluster)

    def unheard_leader(self, given_s: float | None) -> Unreachable | None:
        """Return the error of the leader that other nodes name, if it gives no answer here."""
        refusal = self.refusal and refusal_in(self.refusal.text)
        leader = leader_in(refusal) if refusal else None
        last = leader and self._unheard.get(Address(*leader[1:]))
        if not leader or not last:
            return None
        name, host, port = leader
        failure = (TimedOut if isinstance(last, TimedOut) else Unreachable)(
            f"{name} at {host} port {port}, which the other nodes name as the leader, gives this"
            f" client no answer. Check the network between the two. {_in_all(last, given_s)}"
        )
        failure.advice, failure.lasts = last.advice, last.lasts
        return failure

    def are_hopeless(self, tried: set[Address]) -> bool:
        """Return whether it is useless to ask these nodes again. A failed login at one node counts
        for all, unless another node accepted the login."""
        is_kept_out = self.kept_out is not None and self.refusal is None
        is_over = is_kept_out or are_gone(self._gone, self._addresses)
        return is_over or self._lasting.issuperset(tried)


def anywhere(
    nodes: NodeTurns, sender: str, command: str, deadline: Deadline
) -> Search[tuple[Reply, bool]]:
    """Ask known nodes in turn until an answer settles the request; return it, and whether no
    earlier answer left the outcome unknown. Raises ClientError if no answer settled it in time."""
    pause_s = FIRST_PAUSE_S
    tried: set[Address] = set()
    late: set[Address] = set()  # other nodes were reached before them
    so_far = _Answers(nodes.addresses)
    while True:
        node, answer = yield from _ask_one(nodes, tried, late, sender, command, deadline)
        unknown = so_far.unknown
        if isinstance(answer, Closed) or _is_not_tried(answer):
            return _last_word(nodes, unknown or answer), unknown is None
        outcome = answer.outcome if isinstance(answer, ClientError) else outcome_of(answer.text)
        if _settles(answer, command, outcome):
            nodes.addresses.health.served(deadline.now_s)
            return _last_word(nodes, _settled(answer, unknown)), unknown is None
        if outcome is RequestOutcome.UNKNOWN and command != SESSION:  # an unused one has no effect
            so_far.unknown = answer
            if _is_sent_once(sender, command):
                break
        so_far.take(node, answer, lasts=_lacks_sessions(command, answer))
        nodes.move_on(node, answer)
        if nodes.current in tried:  # all nodes refused: wait for an election
            nodes.addresses.health.failed(deadline.now_s, in_words(nodes.known), _words(answer))
            if deadline.left_s < pause_s or so_far.are_hopeless(tried):
                break
            if deadline.now_s + pause_s > deadline.notice_s:
                deadline.notice(_search(nodes, so_far.refusal or answer, deadline.left_s))
            if not took_all_its_time(answer):
                yield SearchPause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            tried.clear()
            so_far.kept_out = None  # the node may have reloaded its file
    given_s = deadline.given_s if deadline.left_s < pause_s else None
    reason = yield from _reason(so_far, nodes, sender, deadline, given_s)
    last, is_late = _in_all(reason or answer, given_s), so_far.silent is not None
    return _last_word(nodes, last, is_late=is_late), so_far.unknown is None


def _settles(answer: Answer, command: str, outcome: RequestOutcome) -> TypeGuard[Reply]:
    """Return whether no other node has to be asked."""
    if not isinstance(answer, Reply) or _lacks_sessions(command, answer):
        return False
    is_elsewhere = outcome in (RequestOutcome.NO_LEADER, RequestOutcome.UNKNOWN)
    return not is_elsewhere or code_of(answer.text) == "done-once"


def _lacks_sessions(command: str, answer: Answer) -> bool:
    """Return whether a node can't begin a session. Another implementation may be a member
    (docs/operate/upgrades.md, the floor), and the next node may lead."""
    if command != SESSION or not isinstance(answer, Reply):
        return False
    return code_of(answer.text) == "not-understood"


def note_gone(gone: dict[Address, str], node: Address, answer: Answer | OSError) -> None:
    """Record for `are_gone` the other cluster of a node, or "" if it gave no answer."""
    refusal = refusal_in(answer.text) if isinstance(answer, Reply) else answer
    gone.pop(node, None)
    if isinstance(refusal, Refusal | ClientError) and refusal.code:
        if refusal.code == OtherCluster.code:
            gone[node] = " ".join(refusal.facts) or "-"
    elif isinstance(answer, OSError):
        gone[node] = ""


def are_gone(gone: Mapping[Address, str], addresses: Addresses) -> bool:
    """Return whether no known node is part of the client's cluster any more. A silence alone proves
    nothing. It counts if the cluster of another node continues the client's: `raftline recover` was
    told then that the silent nodes are stopped for good."""
    has_ended = any(continues(cluster, addresses.cluster) for cluster in gone.values())
    return all(gone.get(node) or (has_ended and node in gone) for node in addresses.known)


def other_cluster(mine: str) -> OtherCluster:
    """Return the error of a client of cluster `mine` if none of its nodes is part of it any
    more."""
    return OtherCluster(
        f"each known node that answers is part of another cluster, and this client is of cluster"
        f" {mine}. Nothing was done; connect again if the cluster was restored, recovered or begun"
        " again."
    )


def took_all_its_time(answer: object) -> TypeGuard[ClientError]:
    """Return whether a node used the whole time of its attempt, so that it is asked again without a
    pause."""
    return isinstance(answer, ClientError) and answer._within is not None


def _is_not_tried(answer: Answer) -> bool:
    """Return whether there is no valid name or password to send to any node."""
    return isinstance(answer, LoginFailed) and answer._was_not_tried


def _settled(answer: Reply, unknown: Answer | None) -> Answer:
    """Return the final answer of a request that a node answered. An earlier unknown outcome takes
    precedence if this node did not look at the request: it refused the login, or had no room."""
    return unknown if unknown and code_of(answer.text) in KEPT_OUT else answer


def _ask_one(
    nodes: NodeTurns,
    tried: set[Address],
    late: set[Address],
    sender: str,
    command: str,
    deadline: Deadline,
) -> Search[tuple[Address, Answer]]:
    """Ask the current node, or a node that was reached before it; return the node and its
    answer."""
    while True:
        node = nodes.current
        tried.add(node)
        others = NOBODY if node in late else nodes.besides(tried)
        answer = yield _ask(node, sender, command, deadline, others)
        assert answer is not None, "an AskNode is sent an answer"
        if not isinstance(answer, Connected):
            if took_all_its_time(answer):
                deadline.was_late(is_in_flight=answer._is_in_flight)
            return node, answer
        late.add(node)
        nodes.turn_to(answer.address, node)


def _reason(
    so_far: _Answers, nodes: NodeTurns, sender: str, deadline: Deadline, given_s: float | None
) -> Search[Answer | None]:
    """Return the answer that explains best why no node settled the request, or None. Raise the
    error of a leader that answers others and not this client, or of a cluster that is gone."""
    if reason := so_far.unknown or so_far.kept_out:
        return reason
    so_far.check_cluster()
    if failure := so_far.unheard_leader(given_s):
        raise failure
    return so_far.refusal or (yield from _why_silent(so_far.silent, sender, deadline))


def _why_silent(address: Address | None, sender: str, deadline: Deadline) -> Search[Reply | None]:
    """Return a refusal for a node that kept a request, if it is waiting for a leader, which may
    take longer than the request's time. Do not wait for a hanging node that long a second time."""
    if address is None or max(LEAST_ATTEMPT_S, deadline.left_s) < deadline.attempt_s:
        return None
    status = yield _ask(address, sender, MEMBERS, deadline)
    if isinstance(status, Reply) and lacks_leader(status.text):
        return Reply(status.server, NO_LEADER)
    return None


def _ask(
    address: Address,
    sender: str,
    command: str,
    deadline: Deadline,
    others: Iterator[Address] = NOBODY,
) -> AskNode:
    limit_s = deadline.whole_s if _is_sent_once(sender, command) else deadline.attempt_s
    return AskNode(address, sender, command, limit_s, deadline.connect_s, others)


def _is_sent_once(sender: str, command: str) -> bool:
    """Return whether a second copy of the line might take effect as well."""
    handling = row_of(command).handling
    return handling.is_sent_once or (handling.is_numbered and "#" not in sender)


def _in_all(answer: Answer, given_s: float | None) -> Answer:
    """Return the answer. If it names the time of the last attempt, make it name the whole time
    limit instead, unless `given_s` is None because that time is not over."""
    if isinstance(answer, Reply) or answer._within is None or given_s is None:
        return answer
    return answer._within(given_s)


def _last_word(nodes: NodeTurns, answer: Answer, *, is_late: bool = False) -> Reply:
    """Return the last answer of a search as a reply, or raise it as a ClientError. `is_late` means
    that a node kept the request."""
    if isinstance(answer, Unreachable) and type(answer) is not Closed:
        raise nobody_answers(nodes, answer, is_late=is_late)
    if isinstance(answer, ClientError):
        raise answer
    return answer


def nobody_answers(nodes: NodeTurns, last: Unreachable, *, is_late: bool = False) -> Unreachable:
    """Return the error of a search that reached no node. With a single node, it is that node's
    error."""
    if len(nodes.known) == 1:
        return last
    kind = TimedOut if is_late or isinstance(last, TimedOut) else Unreachable
    nobody = kind(f"nobody answers at {in_words(nodes.known)}. The last one: {last}")
    nobody.advice, nobody.lasts = last.advice, last.lasts
    return nobody


def session_with_room(
    nodes: NodeTurns, sessions: ClientSessions, name: str, deadline: Deadline
) -> Search[ClientSession | Reply]:
    """Return a session that has room for a write, and start one if needed; or return the reply that
    refuses it. While another request is starting a session, wait for that.

    Raises:
        ClientError: no session was started in time; nothing was done.
    """
    while (session := sessions.with_room()) is None and sessions.is_beginning:
        if deadline.left_s <= 0:
            raise TimedOut(NO_SESSION)
        if isinstance(closed := (yield AwaitSession(sessions, deadline.left_s)), Closed):
            raise closed
    if session is not None:
        return session
    try:
        sessions.begin()
        reply, _ = yield from anywhere(nodes, name, SESSION, deadline)
        outcome = outcome_of(reply.text)
        if outcome is RequestOutcome.UNKNOWN:  # for the session; the write was not sent
            raise NoLeader(NO_SESSION)
        if outcome is not RequestOutcome.DONE:
            return reply
        return sessions.add(reply.text.removeprefix("SESSION response: "))
    finally:
        sessions.end_beginning()


def numbered(
    nodes: NodeTurns, sessions: ClientSessions, name: str, command: str, deadline: Deadline
) -> Search[Reply]:
    """Send a write with a number of a session, and return the reply. The number makes it take
    effect once, even if it is sent again (thesis §6.3)."""
    is_again = False
    while True:
        session = yield from session_with_room(nodes, sessions, name, deadline)
        if isinstance(session, Reply):
            return session
        number = session.take()
        try:
            reply, is_sure = yield from anywhere(
                nodes, f"{session.name}#{number}", command, deadline
            )
        finally:
            session.under_way.pop(number, None)
        if code_of(reply.text) != "session-expired":
            return reply
        sessions.forget(session)
        if not is_sure:
            raise OutcomeUnknown(_UNKNOWN_BEFORE)
        if is_again:
            return reply
        is_again = True  # in its own session


def unnumbered(nodes: NodeTurns, name: str, command: str, deadline: Deadline) -> Search[Reply]:
    """Send a write without a session, so that it is one entry, and return the reply. It is sent to
    no other node once it may have arrived. A read comes first, so that it goes to a node that just
    led, and not to one that hangs."""
    reply, _ = yield from anywhere(nodes, name, PROBE, deadline)
    if outcome_of(reply.text) is not RequestOutcome.NO_LEADER:
        reply, _ = yield from anywhere(nodes, name, command, deadline)
    return reply


def check_shared(command: str) -> None:
    """Raise Refused if a command concerns only its connection. Other requests share the connection:
    they would take an event for their answer, or act as another user."""
    row = row_of(command)
    if row.handling.kind in ("watch", "observe", "login"):
        raise Refused(
            f"{row.verb} concerns one connection, but this client's requests share connections; "
            "nothing was sent. Use kv.watch(), connect(user=…), or your own connection."
        )


def search(
    nodes: NodeTurns,
    sessions: ClientSessions | None,
    name: str,
    command: str,
    deadline: Deadline,
) -> Search[Reply]:
    """Find a node that serves the request; return the reply. From time to time, also ask that node
    for the members; it does not matter if that fails. Without `sessions`, a write is sent once."""
    check_length(command)
    is_numbered = row_of(command).handling.is_numbered
    if is_numbered and sessions is None:
        reply = yield from unnumbered(nodes, name, command, deadline)
    elif is_numbered and sessions is not None:
        reply = yield from numbered(nodes, sessions, name, command, deadline)
    else:
        reply, _ = yield from anywhere(nodes, name, command, deadline)
    is_served = outcome_of(reply.text) is not RequestOutcome.NO_LEADER
    if is_served and nodes.addresses.asks(deadline.now_s):
        with contextlib.suppress(ClientError):
            members = yield _ask(nodes.current, name, MEMBERS, deadline)
            if isinstance(members, Reply):
                nodes.addresses.take(members.text, deadline.now_s)
    return reply


def text_of(reply: Reply) -> str:
    """Return the text of a reply to a request that was done.

    Raises:
        NotLeader, NoLeader, NotAllowed, Refused: the node's sorry line; nothing was done.
        OutcomeUnknown: it may or may not take effect.
    """
    refusal = refusal_in(reply.text)
    if refusal is None:
        return reply.text
    raise error_of(refusal)


def error_of(refusal: Refusal) -> ClientError:
    """Return the error of a refused request."""
    failure = _error_of(refusal)
    failure.code, failure.facts = refusal.code, refusal.facts
    failure.advice = ADVICE.get(refusal.code, "")
    return failure


def _error_of(refusal: Refusal) -> ClientError:
    text = refusal.sentence
    match refusal.code:
        case "not-leader":
            leader = leader_in(refusal)
            return NotLeader(text, Address(*leader[1:]) if leader else None)
        case "no-login" | "not-allowed":
            return NotAllowed(text)
        case "tls-only":
            return Refused(f"{TLS_ALONE} {NAME_CA}")
    if refusal.outcome is RequestOutcome.NO_LEADER:
        return NoLeader(text)
    return OutcomeUnknown(text) if refusal.outcome is RequestOutcome.UNKNOWN else Refused(text)


def lost(command: str, address: Address, error: OSError, limit_s: float) -> ClientError:
    """Return the error of a request whose answer did not arrive."""
    where = f"{address.host} port {address.port}"
    if is_certificate_refused(error) and (trouble := tls_trouble(error)):
        refused = Unreachable(f"{where}: {trouble.why}.")
        refused.lasts, refused.advice = True, trouble.advice
        return refused
    reason, advice = error.strerror or str(error), ""
    if isinstance(error, TimeoutError):
        reason = f"gave no answer within {limit_s:.3g} s"
        advice = "Nodes at --pace human may need 40 s: --timeout 60."
    elif isinstance(error, (ConnectionResetError, BrokenPipeError)):
        reason = "broke the connection before it answered"
    look = row_of(command).handling.look
    failure: OutcomeUnknown | Unreachable
    if look:
        what = "write" if look == "get" else "change"
        failure = OutcomeUnknown(
            f"outcome unknown: {where} {reason}. The {what} may yet take effect: look with {look}"
            " before you send it again."
        )
    else:
        failure = (TimedOut if isinstance(error, TimeoutError) else Unreachable)(
            f"{where} {reason}. Ask again, or ask another node."
        )
        failure._is_late = isinstance(error, TimeoutError)
    if isinstance(error, TimeoutError):
        failure._within = partial(lost, command, address, error)
    failure.advice = advice
    return failure


def _search(nodes: NodeTurns, answer: Answer, left_s: float) -> str:
    """Return a line with the nodes, the time left and the last answer."""
    last = _words(answer).partition(". ")[0].removesuffix(".")
    return f"asking {in_words(nodes.known)} for {left_s:.0f} s more. The last one: {last}"


def _words(answer: Answer) -> str:
    return sentence_of(answer.text) if isinstance(answer, Reply) else str(answer)


def _better(before: Reply | None, answer: Answer) -> Reply | None:
    """Return the refusal that explains more; None if there was no refusal."""
    if not isinstance(answer, Reply) or outcome_of(answer.text) is not RequestOutcome.NO_LEADER:
        return before
    return max(answer, before or answer, key=_explains)  # of equal ones the latest


def _explains(reply: Reply) -> tuple[bool, bool, bool]:
    """Return a sort key that orders refusals by how much they explain. A node that knows why there
    is no leader, or that leads without a quorum, explains most. Next is a node that knows only
    itself, and last a node that names a leader that is gone."""
    refusal = refusal_in(reply.text)
    assert refusal is not None, "only refusals are compared"
    is_itself = refusal.facts == (reply.server,)
    is_of_cluster = refusal.code != "other-cluster"
    return (
        refusal.code in ("no-leader", "no-quorum"),
        is_of_cluster and not is_itself,
        is_of_cluster and bool(refusal.facts),
    )
