"""The repair lab: words that are still printed, a menu and a gateway that work as documented. Its
checker proves them with real nodes."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xmlrpc.client import Fault

import pytest

from labs.repair import asking, client
from labs.repair.actions import Pending, RepairLab
from labs.repair.asking import LabError, written
from labs.repair.gateway import Gateway, calls_of
from labs.repair.spoken import SeedLines
from labs.repair.watchful import WatchfulServer
from labs.repair.words import Words
from raftline.client import OutcomeUnknown
from raftline.common.address import Address
from raftline.raft.effects import Effects
from raftline.raft.inputs import Propose, Receive, Synced
from raftline.raft.log import Entry
from raftline.raft.messages import AppendAccepted, AppendEntries, AppendRejected, RequestVote
from raftline.raft.node import RawNode
from raftline_course.controlled_server import ControlledServer
from raftline_testing.doubles.cores import TIMEOUT_MS, candidate_of, established, leader_of, node_of
from raftline_testing.nodes.processes import eventually

MEMBERS = {f"node{n}": Address("localhost", 16999 + n) for n in (1, 2, 3)}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("[*] Current term: 0", ""),
        (
            "[*] Server started on ('localhost', 17000) with timeout 0.8 seconds",
            "node1 is listening on localhost:17000\ntime out set for node1 to 0.8",
        ),
        (
            "[*] Heard from no leader: asking for PreVotes for term 3\n[*] Starting election...",
            "node1 timeout, starting election.",
        ),
        ("[*] node1 gives its vote to node2 for term 1", "node1 voted for node2 for term 1"),
        (
            "[*] node1 denies its vote to node2 for term 3: term 3 is over, I am in term 4",
            "Vote denied for node2: candidate's term 3 is less than current term 4",
        ),
        (
            "[*] node1 denies its vote to node2 for term 5: log not up to date: it ends at 2 of "
            "term 1, mine at 3 of term 2",
            "Vote denied for node2: candidate's log is not up-to-date (it ends at 2 of term 1, "
            "mine at 3 of term 2)",
        ),
        (
            "[*] node1 denies its vote to node2 for term 5: already voted for node3 in term 5",
            "Vote denied for node2: already voted for node3 in term 5",
        ),
        ("[*] I am Leader", "node1 is now the leader."),
        (
            "[*] I am Leader\n[*] I am Follower of node3 in term 3",
            "node1 is now the leader.\nnode1 switching to follower due to received heartbeat.",
        ),
        ("[*] I am Follower of node3 in term 3", "[*] I am Follower of node3 in term 3"),
        (
            "[*] I am Leader\n[*] I am Follower of node2 in term 3\n"
            "[*] I am Follower of node3 in term 4",
            "node1 is now the leader.\nnode1 switching to follower due to received heartbeat.\n"
            "[*] I am Follower of node3 in term 4",
        ),
        (
            "[*] node1 ignored AppendEntries from node2: term 1 < 2",
            "node1 ignored heartbeat with lower term 1.",
        ),
        (
            "[*] node1 differs from node2 at entry 4",
            "node1: Log mismatch at index 4. Truncating to resolve conflict.",
        ),
        (
            "[*] node1: its controller says SKIP-REPLICATION on",
            "Replication failure simulation enabled on node1.",
        ),
        (
            "[*] node1: its controller says SKIP-REPLICATION off",
            "Replication failure simulation disabled on node1.",
        ),
        (
            "[*] node1: its controller says HEARTBEAT 20s for 60s\n"
            "[*] node1: heartbeats are 20 s apart",
            "node1 heartbeat interval set to 20.0 seconds.",
        ),
        ("[*] node1: server is shutting down.", "node1 server is shutting down."),
        ("[*] node1: has shut down cleanly.", "node1 has shut down cleanly."),
        ("{'node1': True, 'node2': True}", "{'node1': True, 'node2': True}"),
    ],
)
def test_a_node_s_line_in_the_words_of_the_course_s_program(ours: str, theirs: str) -> None:
    words = Words("node1")
    assert "\n".join(said for line in ours.splitlines() for said in words.of(line)) == theirs


class Followed:
    """A core whose steps are printed in the course's words."""

    def __init__(self, node: RawNode, *, skips: bool = False) -> None:
        self.node = node
        self.skips = skips
        self.lines: list[str] = []
        self._seed_lines = SeedLines(node.view, self.lines.append)

    def begin(self, *, is_first: bool = True) -> list[str]:
        self._seed_lines.begin(self.node.view, is_first=is_first)
        return self.said()

    def hear(self, message: Any) -> list[str]:
        self._seed_lines.heard([message])
        return self.after(self.node.step(Receive(message), self.node.view.now_ms))

    def after(self, effects: Effects) -> list[str]:
        self._seed_lines.stepped(self.node.view, effects, skips=self.skips)
        return self.said()

    def said(self) -> list[str]:
        lines, self.lines[:] = list(self.lines), []
        return lines


@pytest.mark.parametrize(
    ("terms", "is_first", "said"),
    [
        ((), True, "s1 log file not found. Starting with an empty log."),
        ((1, 1), True, "s1 loaded log from file with 2 entries."),
        ((1, 1), False, "s1: Log refreshed from file with 2 entries."),
        ((), False, "s1: Log file not found. Resetting to empty log."),
    ],
)
def test_the_course_lines_show_the_log_file_at_the_start(
    terms: tuple[int, ...], is_first: bool, said: str
) -> None:
    assert Followed(node_of("s1", *terms)).begin(is_first=is_first) == [said]


def test_the_course_lines_show_an_election_and_its_timeouts() -> None:
    node = candidate_of("s1", 1)
    followed = Followed(node_of("s1", 1))
    followed.node = node
    assert followed.after(Effects()) == [
        "s1 is requesting votes for term 2",
        f"time out set for s1 to {TIMEOUT_MS / 1000:.3f}",
    ]
    voted = followed.hear(RequestVote("s2", "s1", 1, 1, 1))
    assert voted == [
        "Received vote request from s2 for term 1 with last_log_term 1, last_log_index 1"
    ]
    followed.node = leader_of("s1", 1)
    assert followed.after(Effects())[0] == f"election timeout {TIMEOUT_MS / 1000:.3f}"


def test_course_lines_show_leader_writes_from_log_to_state() -> None:
    """The course lines show a leader's writes, from the log to the state machine."""
    followed = Followed(established("s1", 1))
    assert followed.after(followed.node.step(Propose(["set value 44"]), TIMEOUT_MS)) == [
        "s1 appended log entry: 2,44"
    ]
    state = followed.node.view
    followed.after(followed.node.step(Synced(3, 2), TIMEOUT_MS))
    assert followed.hear(AppendAccepted("s2", "s1", 2, 3, state.round)) == [
        "Successfully updated s2 with 1 entries.",
        "Leader s1 committed entry at index 3",
        "s1 applying entry 3 (term 2): 44",
    ]


def test_the_course_lines_name_the_node_that_a_leader_skips() -> None:
    followed = Followed(established("s1", 1), skips=True)
    assert followed.after(followed.node.step(Propose(["set value 44"]), TIMEOUT_MS)) == [
        "s1 appended log entry: 2,44",
        "Replication to s2 skipped due to simulation.",
        "Replication to s3 skipped due to simulation.",
    ]


def test_the_course_lines_show_how_a_leader_steps_back() -> None:
    followed = Followed(node_of("s1", 1, 1, 1))
    followed.node = leader_of("s1", 1, 1, 1)
    followed.after(Effects(append=[Entry(4, 2, "noop")]))
    state = followed.node.view
    said = followed.hear(AppendRejected("s2", "s1", 2, 1, state.round))
    assert said == ["Backtracking nextIndex for s2 to 2 due to mismatch."]
    assert "Successfully updated s2 with 3 entries." in followed.hear(
        AppendAccepted("s2", "s1", 2, 4, state.round)
    )


def test_course_lines_show_follower_cuts_appends_applies() -> None:
    """The course lines show a follower's cuts, appends and applies."""
    followed = Followed(node_of("s1", 1, 1))

    def append(prev: tuple[int, int], *entries: Entry, commit_index: int = 0) -> list[str]:
        return followed.hear(AppendEntries("s2", "s1", 3, *prev, entries, commit_index, 7))

    assert append((9, 3)) == ["s1: Missing entry at prev_log_index 9. Leader will backtrack."]
    assert append((1, 1), Entry(2, 3, "set value 77"), Entry(3, 3, "noop")) == [
        "s1: Truncated conflicting entries from index 2.",
        "s1: Appended entry at index 2: 3,77",
        "s1: Appended entry at index 3: 3,noop",
    ]
    assert append((3, 3), commit_index=2) == [
        "s1: Updated commit index from 0 to 2",
        "s1 applying entry 1 (term 1): set x 1.1",
        "s1 applying entry 2 (term 3): 77",
    ]


class PlayedLab(RepairLab):
    """A lab whose nodes are this test: it notes what they are asked, and answers as asked."""

    def __init__(self, *answers: str) -> None:
        self.said: list[str] = []
        super().__init__(MEMBERS, self.said.append)
        self.asked: list[str] = []
        self.answers = list(answers)
        self.led_by = "node1"

    def ask(self, name: str, command: str, sender: str = "lab", timeout_s: float = 20.0) -> str:
        self.asked.append(f"{name} <- {sender}@{command}")
        return self.answers.pop(0) if self.answers else "done"

    def status(self, name: str) -> dict[str, Any]:
        role = "leader" if name == self.led_by else "follower"
        ends = dict.fromkeys(("last_index", "commit_index", "last_applied"), 7)
        return {"name": name, "role": role, "leader": self.led_by, "term": 2, **ends}

    def order(self, name: str, verb: str) -> str:
        if verb.startswith("HEARTBEAT 20s"):
            self.led_by = "node3"
        return super().order(name, verb)

    def submit(self, value: str, at: str) -> str:
        self.said.append(f"{value} to {at}")
        if value == "doubtful":
            raise OutcomeUnknown("outcome unknown")
        return self.led_by


def test_the_gateway_sends_each_call_as_a_line() -> None:
    lab = PlayedLab(
        "Count on me term 3", "Not this time term 3 behind: …", "I am up to date term 3 index 2"
    )
    calls = calls_of(lab, "node1")
    assert calls["vote"]("node2", 3, 2, 4) is True
    assert calls["vote"]("node3", 3, 2, 4) is False
    assert calls["receive_append_entries"](3, -1, 0, ["2,44", "3,7,7"], 0, "node2") is True
    assert calls["receive_heartbeat"](4) is False
    entries = (
        '[{"index": 1, "term": 2, "command": "set value 44"}, '
        '{"index": 2, "term": 3, "command": "set value 7,7"}]'
    )
    assert lab.asked == [
        "node1 <- node2@RequestVote 3-5-2",
        "node1 <- node3@RequestVote 3-5-2",
        f"node1 <- node2@AppendEntries 3-0-0-{entries} commit 1 round 0",
        "node1 <- node2@AppendEntries 4-0-0-[] commit 0 round 0",
    ]


def test_the_gateway_reports_success_only_for_a_certain_write() -> None:
    calls = calls_of(PlayedLab(), "node2")
    assert calls["submit_value"](44) == "Success: node1 leads, a majority has 44 on disk"
    assert calls["submit_value"]("doubtful") == "Error: outcome unknown"
    assert calls["is_leader"]() is False


def test_gateway_gives_orders_and_reports_the_heartbeat() -> None:
    """The gateway gives orders and reports the current heartbeat."""
    lab = PlayedLab()
    calls = calls_of(lab, "node1")
    for seconds in (20.0, 5, 0.25, 0.1):
        calls["set_heartbeat_interval"](seconds)
    calls["set_replication_simulation"](True)
    calls["set_replication_simulation"](False)
    calls["delete_log_file"]()
    assert [line.removeprefix("node1 <- Controller@") for line in lab.asked] == [
        "HEARTBEAT 20.000s",
        "HEARTBEAT 5.000s",
        "HEARTBEAT 0.250s",
        "HEARTBEAT normal",
        "SKIP-REPLICATION on",
        "SKIP-REPLICATION off",
        "DELETE-LOG",
    ]
    lab = BrokenLab()
    assert calls_of(lab, "node1")["get_heartbeat_interval"]() == 0.1
    lab.faults = ("SKIP-REPLICATION on", "HEARTBEAT 20000ms")
    assert calls_of(lab, "node1")["get_heartbeat_interval"]() == 20.0


def test_choice_1_prints_interval_reset_and_new_leader() -> None:
    """Choice 1 prints the interval, the reset and the new leader."""
    lab = PlayedLab()
    assert client.MenuSession(lab, 20.0).choose("1")
    assert lab.said == [
        "Heartbeat interval temporarily set to 20.0 seconds on localhost:17000",
        "Heartbeat interval reset to original value of 0.1 seconds on localhost:17000",
        "Leader changed: New leader found at localhost:17002 (node3)",
    ]
    assert lab.asked == [
        "node1 <- Controller@HEARTBEAT 20s for 60s",
        "node1 <- Controller@HEARTBEAT normal",
    ]


def test_choice_2_asks_each_node_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "44", "77", "66", "88", "")
    lab = PlayedLab()
    client.MenuSession(lab, 20.0).choose("2")
    assert lab.said == ["44 to node1", "77 to node2", "66 to node3", "88 to node1"]


def test_the_menu_names_its_choices_and_ends_at_exit(capsys: pytest.CaptureFixture[str]) -> None:
    for number, words in enumerate(
        ("restart election", "all nodes through leader", "only leader", "delete the log"), start=1
    ):
        assert re.search(rf'{words}.* enter "{number}"', client.MENU)
    session = client.MenuSession(PlayedLab(), 20.0)
    assert session.choose("exit") is False
    assert session.choose("7") is True
    assert "'7' is none of" in capsys.readouterr().out


@pytest.mark.parametrize("chosen", ["1", "node1"])
def test_choice_4_takes_a_follower_by_its_number_or_its_name(
    chosen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts: list[str] = []
    left = iter(["3", "node3", "4", chosen])  # node3 leads, and there is no fourth
    monkeypatch.setattr(client, "ask", lambda prompt: prompts.append(prompt) or next(left))
    lab = PlayedLab()
    lab.led_by = "node3"
    deleted: list[str] = []
    monkeypatch.setattr(lab, "delete_log", deleted.append)
    client.MenuSession(lab, 20.0).choose("4")
    assert deleted == ["node1"]
    assert set(prompts) == {"Whose log? Enter 1 for node1, 2 for node2, or nothing to go back: "}
    assert capsys.readouterr().out.count("is none of them") == 3


@pytest.mark.parametrize(
    ("chosen", "ending"),
    [("1", "commit"), ("", "commit"), ("c", "commit"), ("2", "overwrite"), ("O", "overwrite")],
)
def test_choice_3_continues_by_a_number(
    chosen: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    pending = SimpleNamespace(
        commit=lambda: ended.append("commit"),
        overwrite=lambda _: ended.append("overwrite"),
        end=lambda: ended.append("end"),
    )
    typed(monkeypatch, "88", chosen)
    lab = PlayedLab()
    monkeypatch.setattr(lab, "write_to_leader_only", lambda _: pending)
    client.MenuSession(lab, 20.0).choose("3")
    assert ended == [ending, "end"]
    assert re.search(r'again enter "1"\n.*first enter "2"', client.NEXT)


def test_a_refused_order_is_reported_in_one_line() -> None:
    with pytest.raises(LabError, match=r"^node1 refused DELETE-LOG: no$"):
        PlayedLab("Sorry, no").order("node1", "DELETE-LOG")


class BrokenLab(PlayedLab):
    """Nodes that refuse, are down or keep silent, as the test says."""

    down: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def status(self, name: str) -> dict[str, Any]:
        faults = list(self.faults) if name == self.led_by else []
        return {} if name in self.down else {**super().status(name), "faults": faults}


class Leaderless(BrokenLab):
    """Followers alone; those that are recovering have no vote."""

    recovering: tuple[str, ...] = ()

    def status(self, name: str) -> dict[str, Any]:
        view = super().status(name)
        if not view:
            return {}
        return {**view, "role": "follower", "recovering": name in self.recovering}


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    left = iter(lines)
    monkeypatch.setattr(client, "ask", lambda prompt: next(left))


def test_a_refused_value_stops_no_later_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "44", "doubtful", "66", "")
    lab = PlayedLab()
    client.MenuSession(lab, 20.0).choose("2")
    assert lab.said == ["44 to node1", "doubtful to node2", "66 to node3"]
    assert capsys.readouterr().out == "Sorry, outcome unknown\n"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("44", "set value 44"),
        ("two  words", "set value two  words"),
        ("a\\q", "set value a\\\\q"),
        ("a\nset value 5", "set value a\\nset value 5"),
        ("\udcff", "set value \\xff"),
        ("é 漢字", "set value é 漢字"),
    ],
)
def test_any_value_is_one_line(value: str, line: str) -> None:
    assert written(value) == line


def test_a_node_that_is_down_is_skipped_and_reported() -> None:
    lab = BrokenLab("SET response: value set to 44")
    lab.down = ("node2",)
    assert RepairLab.submit(lab, "44", "node2") == "node3"
    assert lab.asked == ["node3 <- lab@set value 44"]
    assert lab.said == [
        "node2 does not answer, so node3 is asked",
        "Success: 44 was submitted to node2; node3 leads, a majority has it on disk",
    ]


def test_a_value_of_unknown_outcome_is_not_sent_again() -> None:
    lab = BrokenLab("Sorry, outcome unknown: no quorum answered in time")
    with pytest.raises(OutcomeUnknown):
        RepairLab.submit(lab, "44", "node1")
    assert lab.asked == ["node1 <- lab@set value 44"]


def test_a_redirect_of_a_follower_sends_a_value_on_to_the_leader() -> None:
    lab = BrokenLab("Sorry, I am not the leader. Last leader I heard from is: node1 (h:1)", "done")
    assert RepairLab.submit(lab, "44", "node2") == "node1"
    assert lab.asked == ["node2 <- lab@set value 44", "node1 <- lab@set value 44"]


def test_a_leader_counts_only_with_a_majority_of_followers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ALONE_S", 0.0)
    lab = BrokenLab()
    lab.down = ("node3",)
    assert lab.leader() == "node1"
    lab.down = ("node2", "node3")
    with pytest.raises(LabError, match="no node can lead without a majority"):
        lab.leader()


def test_a_node_without_a_vote_counts_in_no_majority_of_the_lab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "ALONE_S", 0.0)
    lab = Leaderless()
    lab.down, lab.recovering = ("node3",), ("node1",)
    said = "without a majority: node1 is follower, without a vote, node2 is follower, node3 does"
    with pytest.raises(LabError, match=said):
        lab.leader()


def test_choice_2_ends_the_faults_of_an_interrupted_choice_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed(monkeypatch, "")
    lab = BrokenLab()
    lab.faults = ("SKIP-REPLICATION on",)
    client.MenuSession(lab, 20.0).choose("2")
    assert lab.asked == ["node1 <- Controller@SKIP-REPLICATION off"]
    assert lab.said == ["Replication failure simulation disabled on node1."]


@pytest.mark.parametrize("problem", [KeyboardInterrupt, LabError])
def test_a_failed_or_interrupted_choice_3_restores_replication(
    problem: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(PlayedLab):
        def write_to_leader_only(self, value: str) -> Pending:
            return Pending(self, "node1", value)

    def interrupted(prompt: str) -> str:
        if "leader only" in prompt:
            return "88"
        raise problem

    monkeypatch.setattr(client, "ask", interrupted)
    lab = Waiting()
    with pytest.raises(problem):
        client.MenuSession(lab, 20.0).choose("3")
    assert "node1 <- Controller@SKIP-REPLICATION off" in lab.asked


def test_two_of_three_can_t_overwrite_and_get_the_reason() -> None:
    lab = BrokenLab()
    lab.down = ("node3",)
    with pytest.raises(LabError, match="node2 needs the vote of node1 for that"):
        Pending(lab, "node1", "88").overwrite()
    assert not [line for line in lab.asked if "HEARTBEAT" in line]


@pytest.mark.parametrize(
    ("down", "recovering", "advice"),
    [
        (("node2", "node3"), (), "To start one: python3 course/labs/repair/node.py node2"),
        (
            (),
            (*MEMBERS,),
            "To begin anew: stop all nodes, then git clean -fqX course/labs/repair/run",
        ),
    ],
)
def test_lab_without_a_leader_prints_states_and_remedy(
    down: tuple[str, ...],
    recovering: tuple[str, ...],
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a leader, the lab prints each node's state and the remedy."""
    for name in ("ALONE_S", "DEADLINE_S"):
        monkeypatch.setattr(asking, name, 0.0)
    lab = Leaderless()
    lab.down, lab.recovering = down, recovering
    with pytest.raises(LabError, match=re.escape(advice)):
        lab.leader()


@pytest.mark.parametrize(
    ("method", "arguments", "printed"),
    [
        ("vote", ("node7", 1, 0, -1), "vote: 'node7' is not one of node1, node2, node3"),
        ("receive_append_entries", (1, -1, 0, ["77"], 0), "an entry is TERM,VALUE, as in 2,44"),
        ("receive_append_entries", (1, -1, 0, None, 0), "receive_append_entries: "),
        ("receive_append_entries", (1, "-1", 0, [], 0), "receive_append_entries: "),
        ("vote", ("node2", "no", 0, -1), "vote: node1 refused that: malformed RequestVote"),
        ("vote", (), "vote: "),
        ("set_heartbeat_interval", (float("inf"),), "node1 refused HEARTBEAT infs: "),
        ("set_heartbeat_interval", ("x",), "set_heartbeat_interval: "),
        ("delete_log_file", (), "node1 refused DELETE-LOG: "),
        ("shut_down", (), "shut_down: "),
        ("__init__", (), "__init__: "),
    ],
)
def test_a_wrong_call_of_the_gateway_is_reported_in_one_line(
    method: str, arguments: tuple[object, ...], printed: str
) -> None:
    lab = PlayedLab("Sorry, malformed RequestVote. Its form is: …")
    with Gateway(calls_of(lab, "node1"), 0) as door:
        with pytest.raises(Fault, match=re.escape(printed)) as fault:
            door._dispatch(method, arguments)
        assert "\n" not in fault.value.faultString


def test_client_leaving_the_gateway_early_causes_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A client that leaves the gateway early causes no traceback."""
    with Gateway({}, 0) as door:
        try:
            raise ConnectionResetError(104, "Connection reset by peer")
        except OSError:
            door.handle_error(None, ("127.0.0.1", 1))
    assert capsys.readouterr() == ("", "")


def test_a_log_deleted_before_the_first_look_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ControlledServer, "start", lambda _: None)
    ordered: list[str] = []

    def obey(request: Any, _: str) -> None:
        ordered.append(request.verb)
        server.node = None  # this life is over

    server: Any = WatchfulServer.__new__(WatchfulServer)
    server.name, server.is_down = "node1", False
    server._startup = SimpleNamespace(configuration=SimpleNamespace(folder=tmp_path))
    server.node = SimpleNamespace(view=SimpleNamespace(durable_index=0))  # its log was deleted
    server._console = SimpleNamespace(say=ordered.append)
    server.control = SimpleNamespace(obey=obey)
    server.start()
    server.node.view.durable_index = 3  # it has caught up, and at once the file is deleted anew
    eventually(lambda: ordered[2:], "orders")
    assert ordered[0].startswith("[!] node1: node1.log was deleted while it ran.")
    assert ordered[1:] == ["SHUTDOWN", "RESTART"]
