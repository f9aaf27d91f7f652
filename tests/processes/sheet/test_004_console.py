"""The console's lines about a node's traffic, as in the course program's figures."""

from __future__ import annotations

import re
from pathlib import Path

from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import eventually


def test_each_connection_is_announced_with_its_address(shared: Cluster) -> None:
    """Each connection is announced with the address that it comes from."""
    shared.wait_for_consoles()
    node = shared.leader()
    with node.connect() as one, node.connect() as two:
        for conversation in (one, two):
            port = conversation.socket.getsockname()[1]
            node.wait_for_line(f"[*] Connection from ('127.0.0.1', {port})")
        assert one.ask("client1@get nothing") == f"{node.name}@GET response, no such key: nothing"
        assert two.ask("client2@get nothing") == f"{node.name}@GET response, no such key: nothing"


def test_status_is_not_a_line_on_a_console(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"].start()
        node.wait_for_line("I am Leader")
        node.pause()  # so that the node finds line and connection together
        with node.connect() as asks:
            asks.send("status")
            node.resume()
            assert "STATUS response" in asks.read_line()
            node.ask("get nothing")
            node.wait_for_line("[*] Received from client : get nothing")
            assert len([line for line in node.said if "Connection from" in line]) == 1
            assert asks.ask("get nothing") == "s1@GET response, no such key: nothing"
            node.wait_for_line(f"Connection from {asks.socket.getsockname()}")


def test_a_client_s_request_is_shown_with_its_name(shared: Cluster) -> None:
    shared.wait_for_consoles()
    node = shared.leader()
    node.ask("client4@set b 5")
    node.ask("get ana")
    assert node.wait_for_line("set b 5") == "[*] Received from client4 : set b 5"
    assert node.wait_for_line("get ana") == "[*] Received from client : get ana"


def test_election_shows_start_winner_and_vote_table(shared: Cluster) -> None:
    """The console shows the start of an election, its winner and the vote table."""
    leader = shared.leader()
    leader.wait_for_line("{'s1': ")
    said = leader.said
    begin = said.index("[*] Starting election...")
    won = said.index("[*] I am Leader")
    assert begin < won
    votes = {"s1": "False", "s2": "False", "s3": "False"} | {leader.name: "True"}
    table = next(line for line in said[won:] if line.startswith("{"))  # votes may come in between
    assert re.fullmatch(r"\{'s1': (True|False), 's2': (True|False), 's3': (True|False)\}", table)
    assert f"'{leader.name}': {votes[leader.name]}" in table
    assert table.count("True") >= 2


def test_a_leader_prints_its_votes_once(shared: Cluster) -> None:
    leader = shared.leader()
    leader.wait_for_line("{'s1': ")
    assert not [line for line in leader.said if line.startswith("votes: ")]


def test_a_sent_message_is_shown_with_its_receiver_and_its_text(shared: Cluster) -> None:
    shared.wait_for_consoles()
    leader = shared.leader()
    mark = len(leader.said)
    shared.ask(f"client4@set told {'x' * 70}")
    for follower in shared.followers():
        entry = r'{"index": \d+, "term": \d+, "command": "set told x{50}…"}'
        form = rf"Sending message to {follower.name}: AppendEntries \d+-\d+-\d+-\[{entry}\] "
        sent = re.compile(form + r"commit \d+ round \d+")
        eventually(lambda sent=sent: any(map(sent.fullmatch, leader.said[mark:])), sent.pattern)


def test_leaderless_cluster_shows_its_prevotes_and_answers_once(tmp_path: Path) -> None:
    """Without a leader, the PreVotes and their answers are shown once."""
    with Cluster(tmp_path, 5) as cluster:
        one, two = cluster["s1"].launch(), cluster["s2"].launch()
        for node, other in ((one, two), (two, one)):
            node.wait_for_line("[*] Still no leader: asked 8 times for PreVotes for term 1. ")
            node.wait_for_line(f"Yes: {other.name}. No answer: s3 s4 s5")
            said = [line for line in node.said if "Connection from" not in line]
            assert len(said) == len(set(said)), node.transcript()
            assert "[*] Heard from no leader: asking for PreVotes for term 1" in said
            assert f"Sending message to {other.name}: PreVote 1-0-0" in said
            assert f"[*] Received from {other.name} : Count on me term 1 prevote" in said


def test_a_repeated_denial_of_a_prevote_is_printed_once(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        node = cluster["s1"].start()
        cluster["s2"].start()
        cluster.leader()
        with node.connect() as s3:
            for question in ("PreVote 1-0-0", "PreVote 1-0-0", "PreVote 1-0-0", "PreVote 9-0-0"):
                assert "Not this time" in s3.ask(f"s3@{question}")
        node.wait_for_line("denies its PreVote to s3 for term 9")
        said = [line for line in node.said if "s3" in line]
        assert sum("denies its PreVote to s3 for term 1:" in line for line in said) == 1
        assert said.count("[*] Received from s3 : PreVote 1-0-0") == 1
        assert said.count("[*] Received from s3 : PreVote 9-0-0") == 1


def test_log_times_stand_before_every_line(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--log-times") as cluster:
        node = cluster["s1"].start()
        node.wait_for_line("{'s1': True}")
        assert node.terminate() == 0
        for line in node.said:
            stamp, _, text = line.partition(" ")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", stamp), line
            assert text


def test_the_candidate_shows_the_votes_it_receives(fast: Cluster) -> None:
    leader = fast.leader()
    leader.wait_for_line("{'s1': ")
    form = re.compile(r"\[\*\] Received from s\d : Count on me .*")
    votes = [line for line in leader.said if form.fullmatch(line)]
    assert any(line.endswith(" prevote") for line in votes)
    assert any(re.search(r"Count on me term \d+$", line) for line in votes)


def test_follower_shows_messages_and_its_last_log_line(shared: Cluster) -> None:
    """A follower shows the messages that it receives and the last line of its log."""
    shared.wait_for_consoles()
    leader = shared.leader()
    follower = shared.followers()[0]
    shared.ask("client4@set b 30")
    status = leader.status()
    line = f"Last log: {status['last_index']} {status['term']} set b 30"
    assert follower.wait_for_line("set b 30").startswith(
        f"[*] Received from {leader.name} : AppendEntries {status['term']}-"
    )
    assert follower.wait_for_line("Last log: " + line.removeprefix("Last log: ")) == line
    leader.wait_for_line(f"[*] Received from {follower.name} : I am up to date term")


def test_verbose_shows_heartbeats_and_messages_by_peer(tmp_path: Path) -> None:
    """`--verbose` shows each heartbeat, and each message once per peer."""
    with Cluster(tmp_path, 3, "--verbose", "--course-console", *STEADY) as cluster:
        leader = cluster.start().led_by("s1").leader()
        beats = eventually(lambda: _heartbeats(leader.said), "five heartbeats")
        assert ["Sending heartbeat...", "Sending message", "Sending message"] in beats
        follower = next(node for node in cluster.nodes if node is not leader)
        heartbeat = re.compile(
            rf"\[\*\] Received from {leader.name} : "
            r"AppendEntries \d+-\d+-\d+-\[\] commit \d+ round \d+"
        )
        eventually(lambda: sum(map(bool, map(heartbeat.fullmatch, follower.said))) >= 2)


def _heartbeats(said: list[str]) -> list[list[str]]:
    """Return what is sent with each of the first `Sending heartbeat...`, once there are five of
    them; what is received meanwhile may stand in between."""
    said = [line for line in said if line.startswith("Sending ")]
    places = [place for place, line in enumerate(said) if line == "Sending heartbeat..."]
    return [said[place : place + 3] for place in places[:-1]] if len(places) >= 5 else []


def test_without_verbose_a_cluster_at_rest_is_silent(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        leader = cluster.start().led_by("s1").leader()
        cluster.wait_until_equal()
        with leader.connect() as conversation:
            conversation.ask("client1@set a 1")
            leader.wait_for_line("set a 1")
            cluster.wait_until_equal()
            marks = [len(node.said) for node in cluster.nodes]
            rounds = [int(conversation.ask("status").count("leader")) for _ in range(3)]
            assert rounds
            assert eventually(lambda: conversation.ask("get a") == f"{leader.name}@GET response: 1")
        beats = [
            line
            for node, mark in zip(cluster.nodes, marks, strict=True)
            for line in node.said[mark:]
            if "-[] commit" in line
        ]
        assert beats == []


def test_leader_of_four_sends_a_request_to_three_at_once(tmp_path: Path) -> None:
    """A leader of four nodes sends a request to the three others at once."""
    with Cluster(tmp_path, 4, "--course-console", *STEADY) as cluster:
        leader = cluster.start().led_by("s1").leader()
        cluster.wait_until_equal()
        cluster.wait_for_consoles()
        leader.ask("client@set ana 4")
        leader.wait_for_line("[*] Received from client : set ana 4")
        eventually(
            lambda: leader.said[_place(leader.said, "set ana 4") :].count("Sending message") >= 3
        )
        place = _place(leader.said, "set ana 4")
        said = [line for line in leader.said[place:] if not line.startswith("[*] Received from s")]
        assert said[:5] == [
            "[*] Received from client : set ana 4",
            "Sending heartbeat...",
            "Sending message",
            "Sending message",
            "Sending message",
        ]


def _place(said: list[str], part: str) -> int:
    return next(place for place, line in enumerate(said) if part in line)


def test_a_follower_shows_that_it_lost_its_leader(cluster: Cluster) -> None:
    leader = cluster.leader()
    survivors = cluster.followers()
    leader.kill()
    cluster.leader()
    for node in survivors:
        node.wait_for_line(f"[*] Lost the connection to leader {leader.name}")
    assert eventually(lambda: any("[*] I am Leader" in node.said for node in survivors))


def test_thousands_of_requests_are_summed_up(shared: Cluster) -> None:
    leader = shared.leader()
    mark = len(leader.said)
    with leader.connect() as conversation:
        conversation.send(*[f"client9@set many {number}" for number in range(3000)])
        replies = conversation.read_lines(3000)
    assert replies[-1] == f"{leader.name}@SET response: many set to 2999"
    summary = leader.wait_for_line("more requests", since=mark)
    assert re.fullmatch(r"… .*[0-9,]+ more requests.* in this second", summary)
    assert len([line for line in leader.said[mark:] if "set many" in line]) < 500


def test_a_request_forges_no_line_on_the_console(shared: Cluster) -> None:
    shared.wait_for_consoles()
    leader = shared.leader()
    leader.ask(b"client4@set k \x1b[2J[*] I am Leader")
    leader.ask("client4@set k two\\n[*] I am Emperor")
    shown = leader.wait_for_line("I am Emperor")
    assert shown == "[*] Received from client4 : set k two\\n[*] I am Emperor"
    assert not any("\x1b" in line for line in leader.said)
