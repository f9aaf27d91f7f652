"""Run the majorities lab for real and assert every row of it:
`python3 course/labs/majorities/check.py`.

Six processes on loopback addresses, no network; about a minute. Exit status 0: every row holds.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import ast
import json
import random
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from places import COMPOSE, DEADLINE_S, HOSTS, NAMES, WRONG, Containers, Loopback, eventually
from steps import twelve_steps

from labs.checking import end_with
from raftline.net.line_connection import ask
from raftline.raft.effects import HardState
from raftline.raft.inputs import Receive, Tick
from raftline.raft.log import Log
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendEntries, AppendRejected, RequestVoteReply
from raftline.raft.node import node_from_disk
from raftline.raft.roles import Role
from raftline.raft.state import Options
from raftline.wire.replies.refusals import code_of
from raftline_testing.nodes.processes import NotAsExpected, Process, end_all, free_ports

Row = tuple[str, str]
# In the order of their runs: each needs the results of the previous ones.
ORDER = 1, 8, 9, 3, 2, 5, 6, 7, 11, 12, 10, 4, 13, 14, 18, 15, 16, 17, 19
ROWS = [f"000-{number:02}" for number in ORDER]
FIVE_FIELDS = ["sender_name", "request", "term", "key", "value"]


def at_rest(place: Loopback) -> Iterator[Row]:
    """Check the rows about six newly started processes, and the messages between them."""
    yield "000-01", "Node1 … Node5 and Controller are up" + containers()
    leader = place.leader()
    first = [line for name in NAMES for line in states(place, name)[:1]]
    assert first == [("1", "{}", "follower")] * 5, first
    for name in NAMES:
        for _, entries, state in states(place, name):
            assert state in ("follower", "candidate", "leader")
            assert isinstance(ast.literal_eval(entries), dict)
    yield "000-08", "each change of state prints term, entries and state"
    yield "000-09", first_election(place)
    yield "000-03", message_template()
    yield "000-02", datagrams(place, leader)
    yield "000-05", sender(place, leader)
    answer = place.order(leader, "LEADER_INFO")
    assert list(answer) == FIVE_FIELDS, answer
    yield "000-06", f"message_receiver.py shows the answers, e.g. {answer}"


def containers() -> str:
    """Report whether the same steps can run in containers here; the compose file names all six."""
    compose = COMPOSE.read_text(encoding="utf-8")
    for name in (*NAMES, "Controller"):
        assert re.search(rf"^  {name}:$", compose, re.MULTILINE), f"{name} is not in the file"
    reason = Containers.why_not()
    return (
        f" (as processes: {reason})" if reason else " (in containers: make -C course compose-test)"
    )


def states(place: Loopback, name: str) -> list[tuple[str, str, str]]:
    """Return a node's output at each change of its state: term, entries, state."""
    form = r"^Current Term is: (\d+)\nCurrent Entries are: (.*)\nCurrent State is: (\w+)$"
    lines = [line for line in place.lines(name) if line.startswith("Current ")]
    return re.findall(form, "\n".join(lines), re.MULTILINE)


def first_election(place: Loopback) -> str:
    """Check that the first leader was a follower in term 1, then a candidate, and then leads that
    term.

    It is term 2, unless the very first votes were split: then the next term elects.
    """
    for name in NAMES:
        states_seen = [(int(term), state) for term, _, state in states(place, name)]
        leads = [term for term, state in states_seen if state == "leader"]
        if leads:
            term = leads[0]
            assert states_seen[0] == (1, "follower"), states_seen
            assert states_seen[states_seen.index((term, "leader")) - 1] == (term, "candidate"), (
                states_seen
            )
            candidates = [term for term, state in states_seen if state == "candidate"]
            assert candidates[0] >= 2
            return f"{name}: term 1 follower, term {term} candidate, term {term} leader"
    raise AssertionError("nobody printed that it leads")


def message_template() -> str:
    path = Path(__file__).with_name("Message.json")
    template = json.loads(path.read_text(encoding="utf-8"))
    assert list(template) == FIVE_FIELDS, template
    return "Message.json has " + ", ".join(template)


def datagrams(place: Loopback, node: str) -> str:
    """Check that a JSON datagram from port 5556 to 5555 is answered at its source, and on 5555."""
    before = len(place.answers)
    message = {**dict.fromkeys(FIVE_FIELDS), "sender_name": "Controller", "request": "LEADER_INFO"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((HOSTS["Controller"], place.udp_port + 1))
        channel.settimeout(DEADLINE_S)
        channel.sendto(json.dumps(message).encode("utf-8"), (HOSTS[node], place.udp_port))
        answer = json.loads(channel.recv(65_535).decode("utf-8"))
    assert (answer["sender_name"], answer["key"]) == (node, "LEADER"), answer
    eventually(lambda: answer in place.answers[before:], "the copy for the receiver")
    return f"JSON in UTF-8 over UDP, node port {place.udp_port}, sender port {place.udp_port + 1}"


def sender(place: Loopback, node: str) -> str:
    before = len(place.answers)
    lines = place.send(node, "LEADER_INFO").splitlines()
    eventually(lambda: place.answers[before:], "the answer, before anything else is asked")
    assert lines[0].startswith("Request Created : {'sender_name': 'Controller'"), lines
    assert len(lines) == 1, lines
    for nobody in ("Node77.invalid", "Controller-Nobody.invalid"):
        lines = place.send(nobody, "RETRIEVE").splitlines()
        assert lines[-1].startswith(f"ERROR WHILE SENDING REQUEST ACROSS : {nobody}: "), lines
    return lines[-1]


def at_work(place: Loopback) -> Iterator[Row]:
    """Check the rows about storage, and the twelve steps."""
    for line in twelve_steps(place):
        print(f"   step {line}", flush=True)
    console = [line for name in NAMES for line in place.lines(name)]
    entry = r"{'term': \d+, 'Controller_Operation': 'Controller_Add'}"
    for number in (1, 2):
        form = rf"Forwarding the log to followers: \[{number}: {entry}\]"
        assert any(re.fullmatch(form, line) for line in console), form
    form = rf"Log entries are: \['1': {entry}, '2': {entry}\]"
    assert any(re.fullmatch(form, line) for line in console), form
    yield "000-07", "two STOREs are entries 1 and 2; both lines are printed"
    yield "000-11", "after SHUTDOWN of the leader another leads, with the same log (steps 7 to 9)"
    yield "000-12", "RESTART brings it back, it catches up; RETRIEVE and SHUTDOWN again"
    for name in NAMES:
        if json.loads(place.ask(name, "status").partition(": ")[2])["down"]:
            place.order(name, "RESTART")
    leader = place.leader()
    committed = place.of_leader("RETRIEVE")
    assert committed["key"] == "COMMITED_LOGS", committed
    follower = next(name for name in NAMES if name != leader)
    for request in (["STORE", "k", "v"], ["RETRIEVE"]):
        eventually(lambda request=request: names_leader(place, request), "a follower's answer")
    yield "000-10", f"COMMITED_LOGS at the leader; {follower} names it by LEADER_INFO"
    yield "000-04", every_request(place)


def names_leader(place: Loopback, request: list[str]) -> bool:
    """Whether a follower answers LEADER_INFO, with the leader's name, to an order that it can't
    carry out."""
    leader = place.leader()
    follower = next(name for name in NAMES if name != leader)
    answer = place.order(follower, *request)
    return (answer["request"], answer["key"], answer["value"]) == ("LEADER_INFO", "LEADER", leader)


def every_request(place: Loopback) -> str:
    """Check the requests that the steps don't include, and the messages between servers."""
    term = status(place, place.leader())["term"]

    def converted() -> bool:
        answer = place.order(place.leader(), "CONVERT_FOLLOWER")
        return answer["request"] == "CONVERT_FOLLOWER" and answer["key"] is None

    eventually(converted, "a leader that was converted")
    eventually(lambda: status(place, place.leader())["term"] > term, "an election after that")
    term = status(place, place.leader())["term"]

    def elected() -> bool:
        other = next(name for name in NAMES if name != place.leader())
        answer = place.order(other, "TIMEOUT")
        assert answer["request"] == "TIMEOUT", answer
        return bool(status(place, place.leader())["term"] > term)

    eventually(elected, "an election after a timeout")  # not by a node that led meanwhile
    output = "\n".join(line for name in NAMES for line in place.lines(name))
    for words in ("AppendEntries ", "RequestVote ", "Count on me term ", "I am up to date term "):
        assert words in output, words
    return "all seven requests; APPEND_RPC, VOTE_REQUEST and VOTE_ACK are lines on the consoles"


def status(place: Loopback, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(place.ask(name, "status").partition(": ")[2])
    return facts


def control(place: Loopback, name: str, order: str) -> str:
    """Give an order as a line over TCP."""
    return place.ask(name, f"Controller@{order}")


def in_trouble(place: Loopback) -> Iterator[Row]:
    """Check the rows about the logs, with faults injected into running nodes."""
    yield "000-13", latest_log_wins(place)
    yield "000-14", commit_by_majority(place)


def latest_log_wins(place: Loopback) -> str:
    """Make two nodes miss an entry; they are the first candidates after the leader, and denied."""
    leader = place.leader()
    stale = [name for name in NAMES if name != leader][:2]
    for name in stale:
        everybody = " ".join(other for other in NAMES if other != name)
        assert "in force" in control(place, name, f"PARTITION {everybody}")
    up = [name for name in NAMES if name not in stale]
    stored = place.of_leader("STORE", "latest", "yes", among=up)
    assert stored["request"] == "STORE", stored
    leader = place.leader(up)
    one, other = (name for name in up if name != leader)
    before = len(denials(place, up))
    # These two no longer hear each other, so that neither is elected before the stale ones stand.
    control(place, one, f"PARTITION {other}")
    place.order(leader, "SHUTDOWN")
    eventually(lambda: not any(status(place, n)["leader"] for n in (one, other)), "no leader")
    control(place, stale[0], "HEAL")
    assert "stands in term" in control(place, stale[0], "TIMEOUT")
    denied = eventually(lambda: denials(place, up)[before:], "a vote denied for want of entries")
    control(place, stale[1], "HEAL")
    assert "stands in term" in control(place, stale[1], "TIMEOUT")
    control(place, one, "HEAL")
    new = place.leader([name for name in NAMES if name != leader])
    assert new not in stale, f"{new} leads without the latest entry"
    place.order(leader, "RESTART")
    return f"{new} leads, not {stale[0]} or {stale[1]}: {denied[-1]}"


def denials(place: Loopback, names: list[str]) -> list[str]:
    return [line for name in names for line in place.lines(name) if "log not up to date" in line]


def commit_by_majority(place: Loopback) -> str:
    """Check that a leader cut off with one follower commits nothing, and that afterwards all logs
    equal the new leader's."""
    old, key, others, asking, answer = eventually(lambda: leader_alone(place), "a leader cut off")
    new = place.leader(others)
    place.of_leader("STORE", "kept", "yes", among=others)
    asking.join(DEADLINE_S)
    assert answer, "no answer"
    assert "STORE response" not in answer[0], answer
    for name in NAMES:
        control(place, name, "HEAL")

    def equal() -> bool:
        views = [status(place, name) for name in NAMES]
        ends = {(view["last_index"], view["commit_index"], view["last_applied"]) for view in views}
        return len(ends) == 1

    eventually(equal, "equal logs")
    eventually(lambda: len({entries_on_disk(place, name) for name in NAMES}) == 1, "on all disks")
    log = entries_on_disk(place, new)
    assert " set kept yes" in log
    assert key not in log
    return f"what {old} had alone was never committed, and all five logs are {new}'s"


def leader_alone(
    place: Loopback,
) -> tuple[str, str, list[str], threading.Thread, list[str]] | None:
    """Cut a leader off with one follower, and give it something to store; return its name, the key,
    the others' names, the asking
    function and the answer; None if it no longer led by then."""
    old = place.leader()
    friend, *others = (name for name in NAMES if name != old)
    for name in (old, friend):
        control(place, name, f"PARTITION {' '.join(others)}")
    key, answer = f"lost-{time.monotonic_ns()}", list[str]()
    asking = threading.Thread(
        target=lambda: answer.append(control(place, old, f"STORE {key} never")), daemon=True
    )
    asking.start()
    try:
        eventually(lambda: key in entries_on_disk(place, old), "the entry", timeout_s=2)
    except NotAsExpected:
        for name in NAMES:
            control(place, name, "HEAL")
        asking.join(DEADLINE_S)
        return None
    return old, key, others, asking, answer


def entries_on_disk(place: Loopback, name: str) -> str:
    """Return the entries that a node's file holds; `# cut after 5` removes earlier entries."""
    text = (place.folder / f"{name}.log").read_text(encoding="utf-8")
    entries: dict[int, str] = {}
    for line in text.splitlines():
        if cut := re.match(r"# cut after (\d+)", line):
            entries = {index: one for index, one in entries.items() if index <= int(cut[1])}
        elif entry := re.match(r"(\d+) \d+ (?!base )", line):
            entries[int(entry[1])] = line
    return "\n".join(entries.values())


def by_hand(place: Loopback) -> Iterator[Row]:
    """Check the rows about one node with played peers."""
    node, me, other = "Node1", "Node2", "Node3"

    def says(name: str, line: str) -> str:
        def answer() -> str:  # a connection that has just ended may still hold the name
            text = place.ask(node, f"{name}@{line}").partition("@")[2]
            return "" if code_of(text) == "speaks-elsewhere" else text

        return eventually(answer, f"an answer to {line}")

    granted = says(me, "RequestVote 5-0-0")  # a node that took part in an election isn't a newcomer
    assert granted == "Count on me term 5", granted
    agreed = says(me, 'AppendEntries 5-0-0-[{"index": 1, "term": 5, "command": "set a 4"}]')
    assert agreed == "I am up to date term 5 index 1 round 0", agreed
    refused = says(me, "AppendEntries 5-9-5-[]")
    assert refused == "GiveEntriesAfterIndex 1 term 5 round 0", refused
    again = says(me, 'AppendEntries 5-0-0-[{"index": 1, "term": 5, "command": "set a 4"}]')
    assert again == agreed, again
    yield "000-15", f"accepted: {agreed}; rejected: {refused}"
    denied = says(other, "AppendEntries 4-0-0-[] commit 0 round 1")
    assert denied == "GiveEntriesAfterIndex 1 term 5 round 0", denied
    yield "000-16", f"a leader of term 4 hears {denied!r}; {candidates()}"


def candidates() -> str:
    """Check with the core alone which events end a candidacy, and which don't."""
    names = ("Node1", "Node2", "Node3")
    timeouts = random.Random(7)
    log, options = Log(), Options(150, 50)
    core = node_from_disk(
        "Node1",
        Membership(tuple(names)),
        log,
        HardState(2, None),
        options,
        lambda: 150 + timeouts.randrange(150),
        0,
    )
    core.step(Tick(), 400)
    core.step(Receive(RequestVoteReply("Node2", "Node1", 3, True, pre_vote=True)), 401)
    assert (core.view.role, core.view.term) == (Role.CANDIDATE, 3)
    sent = core.step(Receive(AppendEntries("Node3", "Node1", 2, 0, 0)), 402).send_after_save
    assert core.view.role is Role.CANDIDATE
    assert [(type(one), one.term) for one in sent] == [(AppendRejected, 3)]
    core.step(Receive(AppendEntries("Node3", "Node1", 3, 0, 0)), 403)
    assert (core.view.role, core.view.leader) == (Role.FOLLOWER, "Node3")
    return "a candidate stays one, and follows whoever won its election"


def alone(place: Loopback) -> Iterator[Row]:
    """Check the single server of the report's Figure 1."""
    stored = eventually(
        lambda: (a := place.order("Node1", "STORE", "alone", "yes"))["request"] == "STORE" and a,
        "a leader of one",
    )
    assert stored["value"] == "yes", stored
    assert place.ask("Node1", "get alone") == "Node1@GET response: yes"
    yield "000-17", "one server serves alone; of five only the leader does (000-10)"


def properties(place: Loopback) -> Iterator[Row]:
    """Check validity, agreement, termination and integrity of the previous run's results."""
    suggested = {"Controller_Add", "yes", "never", "v"}
    # agreement: the same entries in the same order
    eventually(lambda: len({entries_on_disk(place, name) for name in NAMES}) == 1, "equal logs")
    log = entries_on_disk(place, NAMES[0])
    pairs = re.findall(r"^(\d+) \d+ set (\S+) (\S+)$", log, re.MULTILINE)
    assert {value for _, _, value in pairs} <= suggested  # validity: a client suggested it
    term = status(place, place.leader())["term"]
    assert place.of_leader("STORE", "last", "v")["request"] == "STORE"  # termination: it ends
    stored = place.of_leader("RETRIEVE")["value"]
    assert len([one for one in stored.values() if "last" in one]) >= 1
    indexes = [int(index) for index, _, _ in pairs]
    assert indexes == sorted(set(indexes))  # integrity: each index occurs once
    assert all(one["term"] <= status(place, place.leader())["term"] for one in stored.values())
    yield "000-18", f"validity, agreement, termination and integrity hold, up to term {term}"


def phase_two(place: Loopback) -> Iterator[Row]:
    """Check the fixed leader, and its failures."""
    ports = [next(free_ports) for _ in range(3)]
    nodes = []
    try:
        for number, port in enumerate(ports):
            leader = [f"localhost:{ports[0]}"] if number else []
            command = place.run("phase2.py", f"Node{number + 1}", str(port), *leader)
            nodes.append(Process(f"Node{number + 1}", command).launch())
            nodes[-1].wait_for_line("listens")
            if number:
                nodes[-1].wait_for_line("Log entries")
        assert _ask(ports[0], "STORE k v").endswith("STORE response: entry 1 is k v")
        for port in ports[1:]:
            eventually(lambda port=port: _ask(port, "RETRIEVE").endswith('["k v"]'), "a copy")
        assert "the leader is fixed" in _ask(ports[1], "STORE k w")
        nodes[0].kill()
        nodes[1].wait_for_line("no way to elect another")
        assert "the leader is fixed" in _ask(ports[2], "STORE k w")
    finally:
        end_all(nodes)
    yield "000-19", "a fixed leader replicates by TCP; when it is killed nobody takes its place"


def _ask(port: int, line: str) -> str:
    return ask(port, f"Controller@{line}")


def played() -> Iterator[Row]:
    """Start a node of three whose peers are never started: this program plays them."""
    place = Loopback(NAMES[:3])
    try:
        place.nodes["Node1"].start("--new")
        yield from by_hand(place)
    finally:
        place.close()


def single() -> Iterator[Row]:
    place = Loopback(NAMES[:1])
    try:
        place.start()
        yield from alone(place)
    finally:
        place.close()


def main() -> int:
    """Check every row; return 0 if all hold, 1 if one does not, 2 for any arguments."""
    if sys.argv[1:]:
        print("usage: check.py, without arguments", file=sys.stderr)
        return 2
    begun_s = time.monotonic()
    place = Loopback()
    parts: list[Callable[[], Iterator[Row]]] = [
        lambda: at_rest(place), lambda: at_work(place), lambda: in_trouble(place),
        lambda: properties(place), played, single, lambda: phase_two(place),
    ]  # fmt: skip
    left = list(ROWS)
    try:
        place.start()
        for part in parts:
            for row, what in part():
                print(f"ok {row} {what}", flush=True)
                left.remove(row)
    except (*WRONG, OSError, ValueError, subprocess.SubprocessError) as wrong:
        reason = " ".join(str(wrong).split()) or type(wrong).__name__
        print(f"FAILED {left[0]} {reason}")
        for row in left[1:]:
            print(f"FAILED {row} it was not tried")
    finally:
        place.close()
    seconds = time.monotonic() - begun_s
    print(f"{f'{len(left)} rows failed' if left else 'all 19 rows hold'}, {seconds:.0f} s")
    return 1 if left else 0


if __name__ == "__main__":
    end_with(main)
