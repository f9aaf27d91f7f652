"""The search for a node, step by step: no socket, and one search for threads and tasks alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeVar

import pytest

from raftline.clients.connections.node_connection import (
    ClientError,
    Closed,
    Deadline,
    LoginFailed,
    NoLeader,
    OutcomeUnknown,
    Refused,
    TimedOut,
    Unreachable,
    unreachable,
)
from raftline.clients.requests.addresses import Addresses
from raftline.clients.requests.pool import PARTS
from raftline.clients.requests.search import (
    WINDOW,
    Answer,
    AskNode,
    AwaitSession,
    ClientSessions,
    Connected,
    NodeTurns,
    Search,
    SearchPause,
    SearchStep,
    are_gone,
    lost,
    note_gone,
    numbered,
    search,
    text_of,
)
from raftline.clients.steps import carry_out
from raftline.common.address import Address
from raftline.common.identities import continues, continuing, new_cluster
from raftline.wire.refusal import (
    DONE_ONCE,
    NO_LEADER,
    OTHER_CLUSTER,
    REWORKS_TOO_MUCH,
    SESSION_FORGOTTEN,
    TLS_ONLY,
    error,
    not_leader,
    outcome_unknown,
)
from raftline.wire.replies.replies import Reply

Kind = TypeVar("Kind")
S1, S2, S3 = (Address("localhost", port) for port in (1, 2, 3))
LOST = OutcomeUnknown("outcome unknown: it was lost")
GONE = Unreachable("nothing listens")
NO_SESSIONS = Reply("s1", "Sorry, I don't understand: session. Try: get KEY, set KEY VALUE")


def said(text: str) -> Reply:
    return Reply("s1", text)


def asked_by(step: SearchStep) -> str:
    assert isinstance(step, AskNode)
    return f"{step.sender}@{step.command}"


def asking(
    command: str,
    nodes: NodeTurns | None = None,
    sessions: ClientSessions | None = None,
    deadline: Deadline | None = None,
) -> Search[Reply]:
    """Return the search for a node that serves a command, by default of two nodes, in ten
    seconds."""
    nodes, sessions = nodes or NodeTurns([S1, S2]), sessions or ClientSessions()
    return search(nodes, sessions, "c", command, deadline or Deadline(10))


def carried_out(steps: Search[Kind], *answers: Answer | Connected) -> tuple[list[str], Kind]:
    """Carry out a search with these answers; return what was asked, and what it found."""
    asked: list[str] = []
    left = list(answers)
    answer: Answer | Connected | None = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            assert left == []
            return asked, end.value
        answer = None
        if isinstance(step, AskNode):
            asked.append(asked_by(step))
            answer = left.pop(0)
        else:
            assert isinstance(step, SearchPause)


def late(step: AskNode) -> Answer:
    return lost(step.command, step.address, TimeoutError(), step.limit_s)


class Timed:
    """Carries out a search by a clock of its own. A request takes its whole time, if `takes_s` says
    no other."""

    def __init__(
        self,
        answer: Callable[[AskNode], Answer],
        takes_s: Callable[[AskNode], float] = lambda step: step.limit_s,
    ) -> None:
        self.now_s, self.took_s = 0.0, list[float]()
        self._answer, self._takes_s = answer, takes_s

    def carry_out(
        self, command: str, limit_s: float, attempt_s: float, nodes: Sequence[Address] = (S1, S2)
    ) -> Reply:
        deadline = Deadline(limit_s, attempt_s=attempt_s, now=lambda: self.now_s)
        return carry_out(asking(command, NodeTurns(nodes), deadline=deadline), self._do)

    def _do(self, step: SearchStep) -> Answer | None:
        assert isinstance(step, (AskNode, SearchPause))
        took_s = step.seconds if isinstance(step, SearchPause) else self._takes_s(step)
        self.now_s += took_s
        self.took_s.append(took_s)
        return self._answer(step) if isinstance(step, AskNode) else None


def test_a_read_goes_where_the_leader_is() -> None:
    nodes = NodeTurns([S1, S2])
    answers = said(not_leader("s3", *S3)), said("GET response: 5")
    assert carried_out(asking("get a", nodes), *answers) == (["c@get a"] * 2, answers[1])
    assert nodes.current == S3
    assert set(nodes.known) == {S1, S2, S3}


def test_node_without_sessions_is_skipped() -> None:
    """Another implementation is asked first; the write goes to the next node."""
    nodes = NodeTurns([S1, S2])
    answers = NO_SESSIONS, said("SESSION response: c-1"), said("SET response: a set to 5")
    steps = asking("set a 5", nodes)
    asked = ["c@session", "c@session", "c-1#1@set a 5"]
    assert carried_out(steps, *answers) == (asked, answers[2])
    assert nodes.current == S2


def test_write_ends_where_no_node_has_sessions() -> None:
    """None of the nodes will serve it later either, so that the client does not wait for that."""
    assert carried_out(asking("set a 5"), *[NO_SESSIONS] * 2) == (["c@session"] * 2, NO_SESSIONS)


def test_node_without_sessions_leaves_the_others_their_time() -> None:
    """The other node knows of no leader yet."""
    answers = [NO_SESSIONS, said(NO_LEADER), NO_SESSIONS, said("SESSION response: c-1")]
    last = said("SET response: a set to 5")
    steps = asking("set a 5")
    asked = [*["c@session"] * 4, "c-1#1@set a 5"]
    assert carried_out(steps, *answers, last) == (asked, last)


def test_hanging_node_is_skipped_or_asked_alone_if_it_leads() -> None:
    """A node that hangs is skipped; if it leads, it alone is asked."""
    nodes = NodeTurns([S1, S2, S3])
    asked: list[tuple[Address, list[Address]]] = []
    answers: list[Answer | Connected] = [
        Connected(S2), said(not_leader("s1", *S1)), GONE, said("GET response: 5"),
    ]  # fmt: skip

    def do(step: SearchStep) -> Answer | Connected | None:
        if isinstance(step, SearchPause):
            return None
        assert isinstance(step, AskNode)
        asked.append((step.address, list(step.others)))
        return answers.pop(0)

    reply = carry_out(asking("get a", nodes), do)
    assert reply == said("GET response: 5")
    assert asked == [(S1, [S2, S3]), (S2, [S3]), (S1, []), (S3, [S2])]


def test_write_is_asked_of_one_node_only() -> None:
    """A write is sent to one node, even if another was reached first."""
    nodes = NodeTurns([S1, S2])
    steps = asking("set a 1", nodes)
    answers = Connected(S2), said("SESSION response: c-1"), said("SET response: a set to 1")
    asked, _ = carried_out(steps, *answers)
    assert asked == ["c@session", "c@session", "c-1#1@set a 1"]  # the first was not sent
    assert nodes.current == S2


def test_somebody_who_turned_away_before_is_followed() -> None:
    nodes = NodeTurns([S1, S2, S3])
    nodes.move_on(S1, said(not_leader("s3", *S3)))
    nodes.move_on(S1, GONE)  # of a request that had been sent before
    assert nodes.current == S3


def test_repeated_write_keeps_its_number() -> None:
    """A retry of a write has the same number; the next write has the next one."""
    nodes, sessions = NodeTurns([S1, S2]), ClientSessions()
    done = said("SET response: a set to 5")
    steps = asking("set a 5", nodes, sessions=sessions)
    asked, found = carried_out(steps, said("SESSION response: c-7"), LOST, done)
    assert (asked, found) == (["c@session", "c-7#1@set a 5", "c-7#1@set a 5"], done)
    assert carried_out(asking("set a 6", nodes, sessions=sessions), done)[0] == ["c-7#2@set a 6"]


def test_numbers_under_way_stay_within_the_window_of_a_session() -> None:
    nodes, sessions = NodeTurns([S1]), ClientSessions()
    begun = said("SESSION response: c-7")
    late = numbered(nodes, sessions, "c", "incr a", Deadline(10))
    assert asked_by(next(late)) == "c@session"
    assert asked_by(late.send(begun)) == "c-7#1@incr a"
    for number in range(2, WINDOW + 1):
        steps = numbered(nodes, sessions, "c", "incr a", Deadline(10))
        assert carried_out(steps, said("INCR response: 1"))[0] == [f"c-7#{number}@incr a"]
    other = numbered(nodes, sessions, "c", "incr a", Deadline(10))
    assert asked_by(next(other)) == "c@session"
    assert asked_by(other.send(said("SESSION response: c-9"))) == "c-9#1@incr a"
    late.close()  # its caller was cancelled
    steps = numbered(nodes, sessions, "c", "incr a", Deadline(10))
    assert carried_out(steps, said("INCR response: 1"))[0] == [f"c-7#{WINDOW + 1}@incr a"]


def waits_for_session(step: SearchStep) -> list[None]:
    """Check that a search waits for a session of another, at most for its own time; return a list
    that has an item once that has ended."""
    assert isinstance(step, AwaitSession)
    assert 9 < step.seconds <= 10
    ended: list[None] = []
    step.sessions.when_begun(lambda: ended.append(None))
    return ended


def test_one_request_begins_a_session_for_all_that_need_one() -> None:
    nodes, sessions = NodeTurns([S1]), ClientSessions()
    first = asking("incr a", nodes, sessions=sessions)
    assert asked_by(next(first)) == "c@session"
    second = asking("incr a", nodes, sessions=sessions)
    ended = waits_for_session(next(second))
    assert asked_by(first.send(said("SESSION response: c-7"))) == "c-7#1@incr a"
    assert ended == [None]
    assert asked_by(second.send(None)) == "c-7#2@incr a"


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_unbegun_session_is_begun_by_the_next_request(is_cancelled: bool) -> None:
    """If a session was not begun, the next request begins it."""
    nodes, sessions = NodeTurns([S1]), ClientSessions()
    first = asking("incr a", nodes, sessions=sessions)
    assert asked_by(next(first)) == "c@session"
    others = [asking("incr a", nodes, sessions=sessions) for _ in range(2)]
    ended = [waits_for_session(next(each)) for each in others]
    if is_cancelled:
        first.close()
    else:
        with pytest.raises(StopIteration):
            first.send(said(error("there are too many sessions")))
    assert ended == [[None], [None]]
    assert asked_by(others[0].send(None)) == "c@session"
    waits_for_session(others[1].send(None))
    with pytest.raises(Closed):
        others[1].send(Closed("this client was closed"))


def test_request_timing_out_before_its_session_did_nothing() -> None:
    """A request that times out while it waits for a session has done nothing."""
    now_s = 0.0
    nodes, sessions = NodeTurns([S1]), ClientSessions()
    first = asking("incr a", nodes, sessions=sessions)
    next(first)
    second = asking("incr a", nodes, sessions=sessions, deadline=Deadline(10, now=lambda: now_s))
    waits_for_session(next(second))
    now_s = 10.0
    with pytest.raises(TimedOut, match="nothing was done"):
        second.send(None)


def test_expired_session_is_renewed_only_if_nothing_was_done() -> None:
    """A client replaces an expired session only if its request was not done."""
    expired = said(SESSION_FORGOTTEN("c-7"))
    begun = said("SESSION response: c-7"), said("SESSION response: c-9")
    done = said("INCR response: 1")
    asked, found = carried_out(asking("incr a", NodeTurns([S1])), begun[0], expired, begun[1], done)
    assert (asked[2:], found) == (["c@session", "c-9#1@incr a"], done)
    steps = asking("incr a", NodeTurns([S1]))
    with pytest.raises(OutcomeUnknown, match="the session expired while"):
        carried_out(steps, begun[0], said(outcome_unknown("it fell")), expired)
    with pytest.raises(OutcomeUnknown, match="the session expired while"):
        carried_out(asking("incr a", NodeTurns([S1])), begun[0], expired, begun[1], LOST, expired)


def test_done_request_is_not_repeated_for_its_reply() -> None:
    """No node knows its reply any more, and each retry would be another entry of the log."""
    steps = asking("txn get a")
    asked, found = carried_out(steps, said("SESSION response: c-7"), LOST, said(DONE_ONCE))
    assert (len(asked), found.text) == (3, DONE_ONCE)
    with pytest.raises(OutcomeUnknown, match="it was executed once, but its reply is no longer"):
        text_of(found)


def test_unknown_command_is_not_repeated_if_it_may_be_done() -> None:
    """A newer node may treat it as a write, and it has no number that shows a retry."""
    with pytest.raises(OutcomeUnknown, match="it was lost"):
        carried_out(asking("later a 1"), LOST)
    steps = asking("later a 1")
    done = said("LATER response: 1")
    assert carried_out(steps, GONE, said(NO_LEADER), done) == (["c@later a 1"] * 3, done)


def test_time_that_is_over_tells_what_is_known() -> None:
    over = Deadline(0)
    with pytest.raises(Unreachable, match="nobody answers at localhost port 1, 2"):
        carried_out(asking("get a", deadline=over), GONE, GONE)
    refused = said(NO_LEADER)
    assert carried_out(asking("get a", deadline=over), refused, GONE)[1] == refused
    with pytest.raises(OutcomeUnknown, match="it was lost"):
        carried_out(
            asking("set a 1", deadline=over),
            said("SESSION response: c-7"),
            LOST,
            refused,
        )


def test_write_unsent_for_want_of_a_session_was_not_done() -> None:
    """This is certain even if nobody knows whether the session was begun."""
    steps = asking("set a 1", NodeTurns([S1]), deadline=Deadline(0))
    with pytest.raises(NoLeader, match="no session was started in time, so nothing was done"):
        carried_out(steps, said(outcome_unknown("it fell")))
    steps = asking("set a 1", deadline=Deadline(0))
    answers = said(outcome_unknown("it fell")), said(NO_LEADER)
    assert carried_out(steps, *answers)[1] == said(NO_LEADER)


@pytest.mark.parametrize("then", [[], [GONE]])
def test_a_read_that_ran_out_of_time_is_a_timeout(then: list[Answer]) -> None:
    late = lost("get a", S1, TimeoutError(), 1)
    nodes = NodeTurns([S1, S2][: 1 + len(then)])
    steps = asking("get a", nodes, deadline=Deadline(0))
    led = said('STATUS response: {"leader": "s2", "members": {}}')
    with pytest.raises(TimedOut) as over:
        carried_out(steps, late, *then, led)
    assert isinstance(over.value, TimeoutError)
    assert isinstance(over.value, Unreachable)


def test_unreached_node_is_a_timeout_and_an_unknown_write_not() -> None:
    """An unreachable node is a timeout; a write with an unknown outcome is not."""
    assert isinstance(unreachable(S1, TimeoutError(), 1), TimedOut)
    refused = unreachable(S1, ConnectionRefusedError(), 1)
    assert not isinstance(refused, TimeoutError)
    assert not isinstance(lost("set a 1", S1, TimeoutError(), 1), TimeoutError)


def test_closed_client_ends_its_requests_with_what_is_known() -> None:
    """When a client is closed, each request ends with what is known of its outcome."""
    closed = Closed("this client was closed")
    nodes = NodeTurns([S1, S2])
    with pytest.raises(Closed, match="this client was closed"):
        carried_out(asking("get a", nodes), GONE, closed)
    with pytest.raises(OutcomeUnknown, match="it was lost"):
        carried_out(asking("set a 1", nodes), said("SESSION response: c-7"), LOST, closed)


KEPT_OUT = [
    LoginFailed("the login failed: the name or the password is wrong."),
    said("Sorry, a client without a login may not write. Nothing was done."),
    said("Sorry [not-allowed] bob may not set a: it takes the right to write there."),
    said(TLS_ONLY),
    said(REWORKS_TOO_MUCH(5, 4096)),
]


@pytest.mark.parametrize("refusal", KEPT_OUT)
def test_lost_admission_leaves_the_last_write_unknown(refusal: Answer) -> None:
    """A change of users ends a connection during a write, and the next login fails."""
    nodes = NodeTurns([S1, S2])
    for unknown in (LOST, said(outcome_unknown("it fell"))):
        steps = asking("set a 1", nodes)
        answers = said("SESSION response: c-7"), unknown, refusal
        with pytest.raises(OutcomeUnknown, match=r"it was lost|it fell"):
            text_of(carried_out(steps, *answers)[1])


@pytest.mark.parametrize("refusal", KEPT_OUT)
def test_who_is_not_let_in_hears_so_at_the_first_node(refusal: Answer) -> None:
    with pytest.raises((LoginFailed, Refused)):
        text_of(carried_out(asking("get a"), GONE, refusal)[1])


def test_no_node_keeps_a_request_for_longer_than_is_left() -> None:
    """The first that hangs gets one part of the time, the second two, and the next one the rest: a
    reply that takes more than half of the time still arrives."""
    timed = Timed(late)
    with pytest.raises(Unreachable):
        timed.carry_out("get a", 10, 10 / PARTS)
    assert [round(each, 2) for each in timed.took_s] == [1.25, 2.5, 6.25, 0.05, 0.05]
    assert timed.now_s <= 10 + 0.1 + 1e-6


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (said('STATUS response: {"leader": null, "members": {}}'), NoLeader),
        (said('STATUS response: {"leader": "s2", "members": {}}'), TimedOut),
        (said("Sorry, a client without a login may not do so."), TimedOut),
        (GONE, TimedOut),  # it hangs
    ],
)
def test_node_keeping_a_request_is_asked_for_its_leader(
    status: Answer, kind: type[ClientError]
) -> None:
    """The node waits for a leader for longer than the request may take."""
    asked = []

    def answer(step: AskNode) -> Answer:
        asked.append(step.command)
        return status if step.command == "status" else late(step)

    timed = Timed(answer)
    with pytest.raises(kind) as failure:
        text_of(timed.carry_out("get a", 4, 1))
    assert type(failure.value) is kind
    assert asked.count("status") == 1
    assert timed.now_s < 4.5


@pytest.mark.parametrize("end", ["answer", "connection"])
@pytest.mark.parametrize("nodes", [[S1], [S1, S2]])
@pytest.mark.parametrize("command", ["get a", "txn get a"])
def test_the_end_of_a_search_names_the_time_that_was_given(
    command: str, nodes: list[Address], end: str
) -> None:
    """It does not name that of the last attempt, which is what the others left."""

    def answer(step: AskNode) -> Answer:
        if step.command == "session":
            return said("SESSION response: session5")
        is_connected = end == "answer"
        return (
            late(step) if is_connected else unreachable(step.address, TimeoutError(), step.limit_s)
        )

    with pytest.raises(ClientError) as failure:
        Timed(answer).carry_out(command, 3, 0.7, nodes)
    assert " within 3 s." in str(failure.value)
    assert str(failure.value).count("within") == 1


@pytest.mark.parametrize("command", ["get a", "set a 1", "txn if a is 1 then set b 2"])
@pytest.mark.parametrize("hangs", [True, False])
def test_unheard_leader_is_named(command: str, hangs: bool) -> None:
    """The network loses what this client sends to the leader, which the other nodes name."""

    def answer(step: AskNode) -> Answer:
        if step.address != S1:
            return said(not_leader("s1", *S1))
        error = TimeoutError() if hangs else OSError(113, "No route to host")
        return unreachable(step.address, error, step.connect_s)

    timed = Timed(answer, lambda step: step.connect_s if step.address == S1 else 0.01)
    said_of_it = r"^s1 at localhost port 1, which the other nodes"
    with pytest.raises(Unreachable, match=said_of_it) as seen:
        timed.carry_out(command, 8, 1, [S1, S2, S3])
    assert type(seen.value) is (TimedOut if hangs else Unreachable)
    assert str(seen.value).count("within") <= 1
    assert " within 8 s." in str(seen.value) or not hangs


def test_silent_leader_leaves_a_write_unknown_at_first() -> None:
    """The write was sent before the network lost the leader, so it may still take effect."""

    def answer(step: AskNode) -> Answer:
        if step.command == "session":
            return said("SESSION response: c-7")
        return late(step) if step.address == S1 else said(not_leader("s1", *S1))

    with pytest.raises(OutcomeUnknown, match="localhost port 1 gave no answer within 8 s"):
        Timed(answer).carry_out("set a 1", 8, 1)


def test_cluster_is_gone_by_word_of_all_or_of_recover() -> None:
    """Each of three nodes names a cluster, is silent, serves, or was not asked: a silence counts
    only if there is a node whose cluster continues that of the client."""
    mine, other = new_cluster(), new_cluster()
    recovered = continuing(mine)
    early = Unreachable("no users yet")
    early.code = "users-unknown"
    answers: dict[str, Answer | OSError | None] = {
        "other": said(OTHER_CLUSTER(other, mine).coded),
        "recovered": said(OTHER_CLUSTER(recovered, mine).coded),
        "silent": GONE,
        "late": TimeoutError("no answer"),
        "no leader": said(NO_LEADER.coded),
        "no users": early,
        "served": said("GET response: 5"),
        "not asked": None,
    }
    nodes = (S1, S2, S3)
    for words in product(answers, repeat=len(nodes)):
        addresses, gone = Addresses(nodes), dict.fromkeys(nodes, other)
        addresses.cluster = mine
        for node, word in zip(nodes, words, strict=True):
            gone.pop(node)
            if (answer := answers[word]) is not None:
                gone[node] = recovered  # its word before
                note_gone(gone, node, answer)
        is_lasting = set(words) <= {"other", "recovered"}
        is_ended = "recovered" in words and set(words) <= {"other", "recovered", "silent", "late"}
        assert are_gone(gone, addresses) is (is_lasting or is_ended), words


def test_identity_shows_which_cluster_it_continues() -> None:
    mine = new_cluster()
    later = continuing(mine)
    assert later != continuing(mine)  # two recoveries are two clusters
    assert len(later) == len(mine)
    assert continues(later, mine)
    assert not continues(continuing(later), mine)
    for cluster in ("", "-", mine, later[:-1], continuing(new_cluster())):
        assert not continues(cluster, mine)
