"""Client: its exceptions, following the leader, what is never sent twice."""

from __future__ import annotations

import socket
import threading

import pytest

import raftline
from raftline.client import (
    Client,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Refused,
    Unreachable,
)
from raftline.clients.requests.pool import Clients
from raftline.wire.refusal import (
    FULL,
    NO_LEADER,
    NO_QUORUM,
    REMOVED,
    SHUT_DOWN,
    STOPPING,
    error,
    not_leader,
    outcome_unknown,
)
from raftline.wire.replies.replies import Reply, RequestOutcome, outcome_of, read_reply
from raftline_testing.doubles.scripted_node import DEADLINE_S, ScriptedNode, Start, free_port, store
from raftline_testing.nodes.processes import eventually


def following(*nodes: ScriptedNode | int, **options: float) -> Client:
    """Return a client that follows the leader, and asks these nodes or ports in turn."""
    first, *also = [each if isinstance(each, int) else each.port for each in nodes]
    others = [("localhost", port) for port in also]
    return Client(port=first, follow=True, also=others, **options)  # type: ignore[arg-type]


def test_follow_waits_for_an_election_and_then_is_served(start: Start) -> None:
    answers = iter([NO_LEADER, NO_LEADER, NO_LEADER])
    node = start(lambda _: next(answers, "GET response: 5"))
    with following(node) as client:
        assert client.request("get a") == "GET response: 5"
    assert node.received == ["client@get a"] * 4


def test_follow_leaves_a_dead_leader_for_a_known_node(start: Start) -> None:
    dead = free_port()
    answers = iter([not_leader("s1", "localhost", dead)] * 2)
    second = start(lambda _: next(answers, "GET response: 5"), "s2")
    with following(dead, second) as client:
        assert client.request("get a") == "GET response: 5"
        assert client.request("get a") == "GET response: 5"
    assert len(second.received) == 4


def test_follow_reports_a_missing_quorum_not_a_redirect(start: Start) -> None:
    """If the leader has no quorum, a client that follows redirects reports that."""
    leader = start(lambda _: NO_QUORUM("s1"))
    second = start(lambda _: not_leader("s1", "localhost", leader.port), "s2")
    with (
        following(second, leader, timeout_s=1.5) as client,
        pytest.raises(NoLeader, match="s1 leads, but no quorum confirms") as raised,
    ):
        client.request("set a 5")
    assert raised.value.code == "no-quorum"


def test_follow_asks_a_third_node_if_two_name_each_other(start: Start) -> None:
    dead = free_port()
    second = start(lambda _: not_leader("s1", "localhost", dead), "s2")
    third = start(store(), "s3")
    with following(dead, second, third) as client:
        assert client.request("get ana") == "GET response: 4"


@pytest.mark.parametrize("farewell", [STOPPING, REMOVED])
def test_follow_leaves_a_stopping_node_for_another(start: Start, farewell: str) -> None:
    leaving, other = start(lambda _: farewell), start(store(), "s2")
    with following(leaving, other) as client:
        assert client.request("set a 5") == "SET response: a set to 5"
    with Client(port=leaving.port) as client, pytest.raises(NoLeader, match="this server "):
        client.request("set a 5")


def test_follow_gives_up_when_the_time_is_over(start: Start) -> None:
    def gives_up() -> bool:
        """Whether it asked more than once before; where all stood still there was no time to."""
        node = start(lambda _: NO_LEADER)
        with (
            following(node, timeout_s=0.3) as client,
            pytest.raises((NoLeader, Unreachable)) as caught,
        ):
            client.request("set a 5")
        return caught.type is NoLeader and len(node.received) > 1

    assert eventually(gives_up, "to be asked again until the time is over")
    with (
        following(free_port(), timeout_s=0.3) as client,
        pytest.raises(Unreachable, match="nothing listens"),
    ):
        client.request("set a 5")


def test_member_change_with_unknown_outcome_is_not_repeated(start: Start) -> None:
    """A change of members with an unknown outcome is not repeated."""
    unsure = start(lambda _: outcome_unknown("lost its place"))
    leaves = start(lambda _: None)
    with following(unsure) as client, pytest.raises(OutcomeUnknown):
        client.request("remove s3")
    with following(leaves) as client, pytest.raises(OutcomeUnknown):
        client.request("add s4 localhost 10003")
    assert (unsure.received, leaves.received) == (
        ["client@remove s3"],
        ["client@add s4 localhost 10003"],
    )


def test_follow_sends_a_write_again_under_the_same_number(start: Start) -> None:
    lost = iter(["SESSION response: client-7"])
    leaves = start(lambda _: next(lost, None))
    unsure = iter([outcome_unknown("lost its place")])
    said = start(lambda _: next(unsure, "SET response: a set to 5"), "s2")
    with following(leaves, said) as client:
        assert client.request("set a 5") == "SET response: a set to 5"
    assert leaves.received[:2] == ["client@session", "client-7#1@set a 5"]
    assert set(said.received) == {"client-7#1@set a 5"}


def check_stays_unknown(start: Start, first: str | None, then: str) -> None:
    """Check that no later answer of a node settles the outcome of a write."""

    def stays_unknown() -> bool:
        """Whether it does; where all stood still there was no time to ask again."""
        answers = iter([first])
        node = start(
            lambda line: "SESSION response: c-1" if line == "session" else next(answers, then)
        )
        with (
            following(node, timeout_s=0.3) as client,
            pytest.raises((OutcomeUnknown, Unreachable)) as caught,
        ):
            client.request("set a 5")
        if len(node.received) > 1:  # the write itself was sent
            assert caught.type is OutcomeUnknown
        return len(node.received) > 2

    assert eventually(stays_unknown, "an outcome that later answers can't settle")


@pytest.mark.parametrize("refusal", [SHUT_DOWN, FULL])
def test_a_refusal_of_a_stopping_node_settles_no_unknown_write(start: Start, refusal: str) -> None:
    answers = iter(["SESSION response: client-7", outcome_unknown("this server is stopping")])
    ended = start(lambda _: next(answers, refusal))  # a leader that its controller shuts down
    served = start(lambda _: "INCR response: 1", "s2")
    with following(ended, served) as client:
        assert client.request("incr n") == "INCR response: 1"
    assert served.received == ["client-7#1@incr n"]
    check_stays_unknown(start, outcome_unknown("this server is stopping"), refusal)


def test_each_write_has_its_own_number(start: Start) -> None:
    node = start(store())
    with following(node) as client:
        for number in range(3):
            client.request(f"set a {number}")
        client.request("get a")
    assert node.received == [
        "client@session",
        *(f"client-7#{number + 1}@set a {number}" for number in range(3)),
        "client@get a",
    ]


def test_a_write_in_an_expired_session_is_repeated_in_a_new_one(start: Start) -> None:
    expired = error("session expired: nothing is known of client-7 any more")
    answers = iter(["SESSION response: client-7", expired, "SESSION response: client-9"])
    node = start(lambda _: next(answers, "SET response: a set to 5"))
    with following(node) as client:
        assert client.request("set a 5") == "SET response: a set to 5"
    assert node.received[2:] == ["client@session", "client-9#1@set a 5"]


def test_a_retry_in_an_expired_session_is_not_repeated(start: Start) -> None:
    expired = error("session expired: nothing is known of client-7 any more")
    answers = iter(["SESSION response: client-7", outcome_unknown("lost its place"), expired])
    node = start(lambda _: next(answers, "SET response: a set to 5"))
    with following(node) as client, pytest.raises(OutcomeUnknown):
        client.request("set a 5")
    assert node.received[1:] == ["client-7#1@set a 5"] * 2


@pytest.mark.parametrize("first", [None, outcome_unknown("lost its place")])
def test_write_that_may_be_logged_stays_unknown(first: str | None, start: Start) -> None:
    """Later refusals do not settle the outcome of a write that may be in a log."""
    check_stays_unknown(start, first, NO_LEADER)


def test_a_write_without_a_session_is_certainly_not_done(start: Start) -> None:
    silent = start(lambda _: None)
    with following(silent, timeout_s=0.3) as client, pytest.raises(Unreachable):
        client.request("set a 5")
    assert set(silent.received) <= {"client@session"}  # more than once, where there was time


def test_node_that_keeps_a_request_too_long_is_left(start: Start) -> None:
    """A client leaves a node that does not answer within its share of the time."""
    held = threading.Event()
    mute = start(lambda _: str(held.wait(DEADLINE_S)))
    other = start(store(), "s2")
    with following(mute, other, attempt_s=0.1) as client:
        assert client.request("get ana") == "GET response: 4"
    held.set()


def test_without_follow_a_write_is_never_sent_again(start: Start) -> None:
    silent = start(lambda _: None)
    with Client(port=silent.port) as client, pytest.raises(OutcomeUnknown):
        client.request("set a 5")
    assert silent.received == ["client@set a 5"]


def test_follow_asks_another_node_when_a_read_was_lost(start: Start) -> None:
    silent, other = start(lambda _: None), start(store(), "s2")
    with following(silent, other) as client:
        assert client.request("get ana") == "GET response: 4"


def test_each_sorry_line_has_its_own_exception(start: Start) -> None:
    answers = iter([not_leader("s1", "localhost", 10000), NO_LEADER, error("too long")])
    with Client(port=start(lambda _: next(answers)).port) as client:
        with pytest.raises(NotLeader, match=r"^I am not the leader") as caught:
            client.request("set a 5")
        assert caught.value.leader == ("localhost", 10000)
        with pytest.raises(NoLeader, match=r"^I know of no leader"):
            client.request("set a 5")
        with pytest.raises(Refused, match=r"^too long$"):
            client.request("set a 5")


def test_hung_leader_is_named_to_a_client_that_follows_it(start: Start) -> None:
    hangs = start(lambda _: None)
    follower = start(lambda _: not_leader("s1", "localhost", hangs.port), "s2")
    with raftline.connect(f"localhost:{follower.port}", timeout=1.5) as kv:
        for ask in (lambda: kv.get("a"), lambda: kv.set("a", "5")):
            with pytest.raises(raftline.Unreachable, match="nodes name as the leader"):
                ask()


def test_a_command_of_two_lines_is_never_sent(start: Start) -> None:
    node = start(store())
    with Client(port=node.port) as client, pytest.raises(Refused, match="one line"):
        client.request("get a\ndelete ana")
    assert node.received == []


@pytest.mark.parametrize("name", ["", "a\nb", "a b", "a@b", "a#1", "1", "a" * 65])
def test_a_name_that_can_not_begin_a_line_is_refused_at_once(name: str) -> None:
    for ask in (
        lambda: Client("localhost", 1, name),
        lambda: Clients("localhost:1", name=name),
    ):
        with pytest.raises(ValueError, match="is not a valid client name: a letter, then letters"):
            ask()


def test_node_that_closed_an_idle_connection_is_redialed(start: Start) -> None:
    """If a node closed an idle connection, the client opens a new one."""
    node = start(store())
    with Client(port=node.port) as client:
        assert client.request("set a 5") == "SET response: a set to 5"
        node.connections[0].shutdown(socket.SHUT_RDWR)
        assert client.request("set a 6") == "SET response: a set to 6"
    assert len(node.connections) == 2


def test_a_late_answer_is_not_taken_for_the_next_request(start: Start) -> None:
    leave = threading.Event()
    node = start(lambda m: "GET response: old" if m == "get a" and leave.wait(DEADLINE_S) else m)
    with Client(port=node.port, timeout_s=0.2) as client:
        with pytest.raises(Unreachable):
            client.request("get a")
        leave.set()
        client.timeout_s = DEADLINE_S
        assert client.request("get b") == "get b"


def test_an_answer_of_a_million_bytes_comes_whole(start: Start) -> None:
    value = "v" * (1 << 20)
    with Client(port=start(lambda _: f"GET response: {value}").port) as client:
        assert client.request("get a") == f"GET response: {value}"


def test_a_reply_is_read_back_as_it_was_written() -> None:
    assert read_reply(b"s1@GET response: 5") == Reply("s1", "GET response: 5")
    assert read_reply(b"s1#17@GET response: a@b") == Reply("s1", "GET response: a@b")
    assert read_reply(b"HTTP/1.1 400 Bad Request") is None
    assert read_reply(b"@GET response: 5") is None
    assert outcome_of("GET response, no such key: a: b") is RequestOutcome.ABSENT


def test_unreachable_addresses_are_all_named() -> None:
    port, other = free_port(), free_port()
    client = following(port, other)
    where = f"localhost port {port}, {other}"
    for reach in (client.connect, lambda: client.request("get a")):
        client.timeout_s = 0.1
        with pytest.raises(Unreachable, match=f"^nobody answers at {where}. The last one: "):
            reach()
    with pytest.raises(Unreachable, match=f"^nothing listens on localhost port {port}:"):
        following(port).connect()


def test_a_connection_is_announced_before_it_is_tried() -> None:
    port, said = free_port(), list[object]()
    client = Client(port=port, on_connect=said.append)
    with pytest.raises(Unreachable):
        client.connect()
    assert said == [("localhost", port)]


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("set k v\r", r"a carriage return ends the command, .* it is written \\r$"),
        ("set k v\r\udcff\udcfb\x01", r"telnet's bytes .* each is written \\xNN$"),
        ("set k v\udcff\udcf4\udcff\udcfd\x06get k", r"telnet's bytes .*"),
    ],
)
@pytest.mark.parametrize("follow", [False, True])
def test_bytes_that_a_node_would_drop_are_refused_before_sending(
    start: Start, command: str, named: str, follow: bool
) -> None:
    node = start(store())
    with Client(port=node.port, follow=follow) as client, pytest.raises(Refused, match=named):
        client.request(command)
    with (
        Clients(f"localhost:{node.port}") as clients,
        pytest.raises(Refused, match=named),
    ):
        clients.request(command)
    assert [line for line in node.asked if "@session" not in line] == []


def test_bytes_of_a_character_are_sent_as_that_character(start: Start) -> None:
    node = start(store())
    with Client(port=node.port) as client:
        assert client.request("set k \udcc3\udca9") == "SET response: k set to é"


WHY = "s2 and s3 have no vote, since they may be new."


@pytest.mark.parametrize("command", ["get a", "set a 1"])
def test_reason_for_no_leader_precedes_unreachable_nodes(start: Start, command: str) -> None:
    """Nothing was written: not even the session of the write was begun."""
    voteless = start(lambda _: f"{NO_LEADER} s2 has no vote, since it may be new, and so on.", "s2")
    asks = start(lambda _: f"{NO_LEADER} {WHY}")
    points = start(lambda _: not_leader("s9", "localhost", free_port()), "s4")
    nodes = free_port(), asks, voteless, points, free_port()
    with (
        following(*nodes, timeout_s=2.0) as client,
        pytest.raises(NoLeader, match=f"I know of no leader. Try again. {WHY}"),
    ):
        client.request(command)


def test_unanswered_session_request_leaves_no_doubt(start: Start) -> None:
    """If only the request for a session has no reply, the write is known not to be done."""
    silent = start(lambda _: None)
    with (
        following(silent, timeout_s=1.5) as client,
        pytest.raises(Unreachable, match="closed the connection before it answered"),
    ):
        client.request("set a 1")
    assert {line.partition("@")[2] for line in silent.received} == {"session"}


def test_sessions_are_returned_on_the_open_connection(start: Start) -> None:
    """Sessions are returned on a connection that is open, which is then closed."""
    node = start(store())
    with Client("localhost", node.port, follow=True) as client:
        client.request("set ana 5")
        client.forget_sessions()
        eventually(lambda: node.received[-1] == "client-7@forget", "it comes back")
        client.forget_sessions()  # there is none
        client.request("set ana 6")
    assert node.received == [
        "client@session",
        "client-7#1@set ana 5",
        "client-7@forget",
        "client@session",
        "client-7#1@set ana 6",
    ]
    assert len(node.connections) == 2


def test_short_time_limit_reports_a_silent_node_as_leaderless(start: Start) -> None:
    """It is asked although it is another node's turn by then."""
    given_up = threading.Event()

    def keep(command: str) -> str | None:
        if command == "status":
            return 'STATUS response: {"leader": null, "members": {}}'
        given_up.wait(DEADLINE_S)
        return None

    silent = start(keep)
    with (
        following(free_port(), silent, timeout_s=2.0, attempt_s=0.8) as client,
        pytest.raises(NoLeader),
    ):
        client.request("get a")
    given_up.set()
