"""The data of the picture: clocks, messages that meet, tags, thinning, and the saved page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from raftline.clients.connections.client_access import ClientAccess
from raftline.common.address import Address
from raftline.picture.harness.saved_page import held
from raftline.picture.view import thinning, viewer
from raftline.picture.view.clock_offsets import SOLVE_EVERY, Clocks, solved
from raftline.picture.view.picture import COMMITS, LOST_AFTER_S, SENT_MAX, Picture
from raftline.picture.view.picture_page import saved_page
from raftline.picture.view.thinning import remembered, thinned

STATE = {"clock": 0.0, "role": "follower", "term": 1, "log": []}


def step_of(at: float, **more: Any) -> dict[str, Any]:
    """Return a step as a node tells it."""
    plain = {
        "at": at, "in": "Tick", "from": None, "line": None, "kind": "Tick", "why": [],
        "changed": [], "sent": [], "refused": False, "pulse": False, "cut": None, "append": [],
        "role": "follower", "term": 1,
    }  # fmt: skip
    return {**plain, **more}


def picture(**clocks: float) -> Picture:
    """Return a picture of nodes whose clocks show this at our time 100."""
    made = Picture()
    for name, clock in clocks.items():
        made.begin(name, {**STATE, "clock": clock}, 100.0, 100.0)
    return made


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["k"] for event in events]


def test_offsets_are_solved_from_the_least_way_in_each_direction() -> None:
    # s2's clock is 5 s ahead; the ways take 1 to 9 ms, and the answer of the disk 30 ms more.
    clocks = Clocks()
    clocks.begins("s1", 10.0, 100.0, 100.2)
    clocks.begins("s2", 15.0, 100.0, 100.9)
    for way_ms in range(1, 10):
        clocks.travelled("s1", "s2", 5 + way_ms / 1000)
        clocks.travelled("s2", "s1", -5 + way_ms / 1000 + (0.03 if way_ms > 1 else 0))
    for _ in range(SOLVE_EVERY):
        clocks.travelled("s1", "s2", 5.5)
    found = clocks.solve()
    assert abs(found["s1"] - 90.1) < 1e-9
    assert abs((found["s1"] - found["s2"]) - 5) < 1e-9


def test_a_node_that_only_a_follower_talks_to_is_solved_over_it() -> None:
    least = {("a", "b"): 2.001, ("b", "a"): -1.999, ("b", "c"): 1.002, ("c", "b"): -0.998}
    found = solved(["a", "b", "c", "d"], {"a": 0.0, "b": 9.0, "c": 9.0, "d": 7.0}, least)
    assert [round(found[name], 6) for name in "abcd"] == [0.0, -2.0, -3.0, 7.0]


def test_sent_and_taken_message_is_one_in_either_order() -> None:
    """A message that is sent and taken is one, in either order of news."""
    made = picture(s1=0.0, s2=50.0)
    events = made.step("s1", step_of(1.0, sent=[["s2", "PreVote 2-0-0"], ["s3", "PreVote 2-0-0"]]))
    assert kinds(events) == ["step", "message", "message"]
    taken = made.step("s2", step_of(51.002, **{"from": "s1", "line": "PreVote 2-0-0"}))
    assert kinds(taken) == ["step", "arrive"]
    assert taken[0]["got"] == taken[1]["id"] == events[1]["id"]
    early = made.step("s1", step_of(1.5, **{"from": "s2", "line": "Count on me term 2"}))
    assert kinds(early) == ["step"]
    late = made.step("s2", step_of(51.49, sent=[["s1", "Count on me term 2"]]))
    assert kinds(late) == ["step", "message", "arrive"]
    assert late[2]["step"] == early[0]["id"]


def test_message_that_never_arrives_is_lost_and_a_slow_one_late() -> None:
    """A message that never arrives is lost and one that takes long is late."""
    made = picture(s1=0.0, s2=50.0)
    made.step("s1", step_of(1.0, sent=[["s2", "one"], ["s2", "two"]]))
    assert list(made.lost({"s1": 1.0 + LOST_AFTER_S - 0.1})) == []
    arrived = made.step("s2", step_of(51.7, **{"from": "s1", "line": "two"}))[1]
    assert arrived["late"]
    assert kinds(list(made.lost({"s1": 1.0 + LOST_AFTER_S}))) == ["lost"]


def test_messages_of_an_ended_node_hide_no_other_loss() -> None:
    """A message from before a node's end does not hide the loss of another."""
    made = picture(s1=0.0, s2=50.0)
    made.step("s1", step_of(1.0, sent=[["s3", "one"]]))
    made.end("s1", 101.0)
    two = made.step("s2", step_of(52.0, sent=[["s3", "two"]]))[1]
    assert [event["id"] for event in made.lost({"s2": 60.0})] == [two["id"]]
    assert kinds(list(made.lost({"s2": 60.0, "s1": 10.0}))) == ["lost"]


def losses(made: Picture) -> dict[str, tuple[float | None, str | None]]:
    """Return when and where the messages of s1 were lost, by their text."""
    lines = {message["id"]: message["line"] for message in made._under_way}
    lost = made.lost({"s1": 60.0})
    return {lines[event["id"]]: (event["at"], event["where"]) for event in lost}


def test_a_connection_says_where_a_message_was_lost() -> None:
    made = picture(s1=0.0, s2=50.0)
    made.step("s1", step_of(1.0, sent=[["s2", "one"], ["s2", "two"], ["s3", "three"]]))
    made.step("s2", step_of(51.1, **{"from": "s1", "line": "one"}))
    broken = {"kind": "PeerDisconnected", "in": "PeerDisconnected s2"}
    made.step("s1", step_of(2.0, sent=[["s2", "four"]], **broken))
    made.step("s1", step_of(3.0, sent=[["s2", "five"]]))
    made.step("s2", step_of(53.1, **{"from": "s1", "line": "five"}))  # on a new connection
    made.step("s1", step_of(4.0, sent=[["s2", "six"]]))
    assert losses(made) == {
        "two": (2.0, "way"), "three": (None, None), "four": (2.0, "sender"), "six": (None, None),
    }  # fmt: skip


def test_a_message_to_a_node_that_ends_is_lost_there() -> None:
    made = picture(s1=0.0, s2=50.0)
    made.step("s1", step_of(1.0, sent=[["s2", "one"], ["s3", "two"]]))
    made.end("s2", 102.0)
    assert losses(made) == {"one": (2.0, "receiver"), "two": (None, None)}


def test_messages_that_never_arrive_are_not_kept_for_ever() -> None:
    made = picture(s1=0.0)
    for number in range(SENT_MAX + 10):
        made.step("s1", step_of(number, sent=[["s2", f"round {number}"]]))
        list(made.lost({"s1": number}))
    assert len(made._sent) == SENT_MAX
    assert len(made._under_way) == LOST_AFTER_S
    assert made._losses == {}


def test_elections_votes_conflicts_and_commits_are_tagged() -> None:
    made = picture(s1=0.0)

    def tags(**more: Any) -> list[str]:
        found: list[str] = made.step("s1", step_of(1.0, **more))[0]["tags"]
        return found

    assert tags() == []
    assert tags(role="candidate", term=2, kind="RequestVoteReply") == ["election", "vote"]
    assert tags(role="leader", term=2) == ["election"]
    assert tags(role="leader", term=2) == []
    committed = [["a majority holds entry 2 of my term 2, so it is committed", "§5.3", COMMITS]]
    assert tags(role="leader", term=2, why=committed, commit=2) == ["commit"]
    broken = [["commits entry 3, held by s1 alone of 3: no majority", "§5.3", COMMITS, True]]
    assert tags(role="leader", term=2, why=broken, commit=3) == ["commit", "broken"]
    not_yet = [["it holds entry 1, of an earlier term", "Figure 8", COMMITS]]
    assert tags(role="leader", term=2, why=not_yet, commit=2) == []
    assert tags(term=3, cut=4) == ["election", "conflict"]
    assert tags(term=3, why=[["refused", "§5.3", "append_entries._send_missing"]]) == ["conflict"]


def test_elections_stay_among_too_many_events() -> None:
    """Of too many events, elections stay and the rest is counted."""
    made = picture(s1=0.0, s2=0.0)
    events = []
    for number in range(300):
        events += made.step("s1", step_of(number, sent=[["s2", f"line {number}"]]))
    events += made.step("s2", step_of(399, role="candidate", term=2))
    events += made.step("s2", step_of(400, role="candidate", term=2, pulse=True))
    events += made.step("s1", step_of(401, pulse=True))
    assert thinned(events[:50], 100) == (events[:50], 0)
    chosen, left_out = thinned(events, 100)
    assert len(chosen) <= 106
    assert left_out == len(events) - len(chosen)
    assert [event["at"] for event in chosen if event["k"] == "step"][-3:] == [399, 400, 401]
    sent = {event["id"] for event in chosen if event["k"] == "message"}
    assert all(set(event["sent"]) <= sent for event in chosen if event["k"] == "step")


def test_answer_is_shown_only_with_its_question() -> None:
    """Of too many events, no answer is shown without its question."""
    made = picture(s1=0.0, s2=0.0)
    events = []
    for number in range(100):
        ask, answer = f"ask {number}", f"answer {number}"
        events += made.step("s1", step_of(number, sent=[["s2", ask]]))
        got = {"from": "s1", "line": ask}
        events += made.step("s2", step_of(number + 0.3, sent=[["s1", answer]], **got))
        got = {"from": "s2", "line": answer}
        events += made.step("s1", step_of(number + 0.6, **got))
    chosen = thinned(events, 60)[0]
    kept = {event["id"] for event in chosen if event["k"] in ("step", "message")}
    arrived = [event for event in chosen if event["k"] == "arrive" and event["id"] in kept]
    assert len(arrived) > 10
    assert [event for event in arrived if event["step"] not in kept] == []
    lines = [event["line"].split() for event in chosen if event["k"] == "message"]
    asked = {number for word, number in lines if word == "ask"}
    assert {number for word, number in lines if word == "answer"} == asked


def test_a_cluster_at_rest_keeps_its_elections_and_its_logs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thinning, "PULSES_KEPT", 10)
    made = picture(s1=0.0)
    events = [*made.step("s1", step_of(0, role="leader", term=2, append=[[1, 2, "noop"]]))]
    events += made.step("s1", step_of(1, pulse=True, append=[[2, 2, "set a 1"]]))
    for number in range(2, 200):
        events += made.step("s1", step_of(number, pulse=True, sent=[["s2", f"beat {number}"]]))
    held: list[dict[str, Any]] = []
    for event in events:
        held = remembered([*held, event], 50)
    steps = [event for event in held if event["k"] == "step"]
    assert [event["at"] for event in steps[:2]] == [0, 1]
    assert steps[-1]["at"] == 199
    assert len(held) <= 50
    sent = {event["id"] for event in held if event["k"] == "message"}
    assert all(set(event["sent"]) <= sent for event in steps)


def test_entries_of_a_step_that_is_left_out_come_with_the_next() -> None:
    made = picture(s1=0.0)
    events = []
    for number in range(1, 61):
        entry = [number, 1, f"set a {number}"]
        events += made.step("s1", step_of(number, append=[entry], sent=[["s2", f"{number}"]]))
    chosen, left_out = thinned(events, 20)
    assert left_out > 80
    appended = [entry[0] for event in chosen for entry in event.get("append", [])]
    assert appended == list(range(1, 61))


def test_restart_in_a_thinned_batch_keeps_each_entry_once() -> None:
    """A restart within a thinned batch neither loses nor doubles an entry."""
    made = picture(s1=0.0)
    events, log = [], []
    for number in range(1, 61):
        log.append([number, 1, f"set a {number}"])
        events += made.step("s1", step_of(number, append=log[-1:], sent=[["s2", f"{number}"]]))
        if number == 30:
            events += made.end("s1", 30.5)
            begun = {"clock": 30.6, "role": "follower", "term": 1, "log": list(log)}
            events += made.begin("s1", begun, 30.6, 30.6)
    chosen, left_out = thinned(events, 20)
    assert left_out > 80
    restart = next(place for place, event in enumerate(chosen) if event["k"] == "end")
    lives = chosen[:restart], chosen[restart:]
    before, after = (
        [entry[0] for event in life for entry in event.get("append", [])] for life in lives
    )
    assert (before, after) == (list(range(1, 31)), list(range(31, 61)))


def test_a_saved_page_needs_nothing_else_and_a_value_stays_text() -> None:
    value = "</script><script>alert(1)</script>"
    page = saved_page({"members": ["s1"], "events": [{"value": value}]}, "my <run>")
    assert "<script>alert" not in page
    assert "<title>my &lt;run&gt;</title>" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert not re.search(r"^(?:import|export) ", page, re.MULTILINE)
    assert held(page)["events"] == [{"value": value}]
    assert "default-src 'none'; script-src 'sha256-" in page
    assert "unsafe" not in page


def test_time_of_a_saved_page_begins_once_its_nodes_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The time of a saved page begins once its nodes are heard."""

    async def answer_late(_: viewer.ViewedNodes, talk: Generator[object, object, None]) -> None:
        next(talk)  # it connects
        await asyncio.sleep(0.5)
        for said in (None, None, b"s1@OBSERVE response: " + json.dumps(STATE).encode()):
            talk.send(said)
        await asyncio.Event().wait()

    monkeypatch.setattr(viewer.ViewedNodes, "carry_out", answer_late)
    page = tmp_path / "page.html"
    members = {"s1": Address("localhost", 1)}
    assert viewer.save(members, ClientAccess(), page, 0.1) == 0
    assert capsys.readouterr().out == f"{page} holds 1 events of 0.1 s\n"
    assert page.exists()
