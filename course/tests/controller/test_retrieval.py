"""The log as a controller sees it, in replies and in the course's lines."""

from __future__ import annotations

import json

import pytest

from raftline.common.process.console import safe_line
from raftline.raft.effects import Effects
from raftline.raft.inputs import Propose, Receive, Tick
from raftline.raft.log import Entry
from raftline.raft.messages import AppendAccepted, AppendEntries
from raftline_course.controller.control import OFF, Permits
from raftline_course.controller.leader_orders import (
    PAGE_BYTES,
    PAGE_ENTRIES,
    CourseLines,
    numbered,
    page,
)
from raftline_testing.doubles.cores import leader_of, node_of, sync
from raftline_testing.orders import StepDown, obey


def test_only_entries_of_clients_are_numbered() -> None:
    entries = [
        Entry(1, 2, "noop"),
        Entry(2, 2, "set Controller_Operation Controller_Add"),
        Entry(3, 2, "members s1=localhost:10000,voter"),
        Entry(4, 3, "noop"),
        Entry(5, 3, "client7#12@set k two words"),
        Entry(6, 3, "delete k"),
        Entry(7, 3, "set term 5"),
        Entry(8, 3, "client7@session"),
        Entry(9, 3, r"set a\sb x\ny"),
    ]
    assert numbered(entries) == {
        1: {"term": 2, "Controller_Operation": "Controller_Add"},
        2: {"term": 3, "k": "two words"},
        3: {"term": 3, "command": "delete k"},
        4: {"term": 3, "command": "set term 5"},
        5: {"term": 3, "command": "session"},
        6: {"term": 3, "a b": "x\ny"},
    }


def test_a_page_fits_a_datagram_and_names_the_next_one() -> None:
    views = {n: {"term": 1, "k": str(n)} for n in range(1, PAGE_ENTRIES + 11)}
    first, more = page(views, 0)
    assert (len(first), more) == (PAGE_ENTRIES, PAGE_ENTRIES)
    rest, more = page(views, more)
    assert (list(rest), more) == ([str(PAGE_ENTRIES + n) for n in range(1, 11)], 0)
    long = {n: {"term": 1, "k": "é" * 2000} for n in range(1, 30)}
    first, more = page(long, 0)
    assert len(json.dumps(first)) <= PAGE_BYTES
    assert more == len(first)
    assert page({1: {"term": 1, "k": "x" * 2 * PAGE_BYTES}}, 0)[1] == 0  # one is always given


def test_entry_counts_as_logged_once_a_majority_has_it() -> None:
    """An entry is among the log's entries once a majority has it."""
    said: list[str] = []
    lines = CourseLines(said.append)
    node = leader_of("s1")
    lines.stepped(node.view, Effects())
    assert said[-3:] == [
        "Current Term is: 1",
        "Current Entries are: {}",
        "Current State is: leader",
    ]
    said.clear()
    lines.stepped(node.view, node.step(Propose(["set k v"]), 300))
    sync(node)
    assert said == ["Forwarding the log to followers: [1: {'term': 1, 'k': 'v'}]"]
    lines.stepped(node.view, node.step(Receive(AppendAccepted("s2", "s1", 1, 2, 1)), 310))
    assert said[1:] == ["Log entries are: ['1': {'term': 1, 'k': 'v'}]"]


def test_follower_prints_new_terms_and_entries() -> None:
    """A follower prints each term it hears of and its entries too."""
    said: list[str] = []
    lines = CourseLines(said.append)
    node = node_of("s1", 1)
    lines.stepped(node.view, Effects())
    said.clear()
    entries = [Entry(2, 2, "noop"), Entry(3, 2, "set k v")]
    lines.stepped(node.view, node.step(Receive(AppendEntries("s2", "s1", 2, 1, 1, entries)), 10))
    assert said == [
        "Current Term is: 2",
        "Current Entries are: {1: {'term': 1, 'x': '1.1'}, 2: {'term': 2, 'k': 'v'}}",
        "Current State is: follower",
    ]
    lines.stepped(node.view, node.step(Receive(AppendEntries("s2", "s1", 2, 3, 2, [], 3)), 20))
    committed = "['1': {'term': 1, 'x': '1.1'}, '2': {'term': 2, 'k': 'v'}]"
    assert said[3:] == [f"Log entries are: {committed}"]


def test_entry_is_forwarded_under_its_own_number() -> None:
    """An entry is forwarded under its number while others wait."""
    said: list[str] = []
    lines = CourseLines(said.append)
    node = leader_of("s1")
    lines.stepped(node.view, Effects())
    for number in (1, 2, 3):
        lines.stepped(node.view, node.step(Propose(["set k v"]), 300))
        assert said[-1].startswith(f"Forwarding the log to followers: [{number}: {{'term': 1")


def test_the_newest_entry_is_always_shown() -> None:
    said: list[str] = []
    lines = CourseLines(lambda line: said.append(safe_line(line)))
    node = leader_of("s1")
    for index in range(2, 32):
        lines.stepped(
            node.view, node.step(Propose(["set Controller_Operation Controller_Add"]), 300)
        )
        sync(node)
        lines.stepped(node.view, node.step(Receive(AppendAccepted("s2", "s1", 1, index, 1)), 310))
    entry = "{'term': 1, 'Controller_Operation': 'Controller_Add'}"
    assert said[-1].startswith("Log entries are: (25 more before) ['26': {'term': ")
    assert said[-1].endswith(f", '29': {entry}, '30': {entry}]")
    lines.stepped(node.view, obey(node, StepDown(), 320))
    assert said[-2].startswith("Current Entries are: (24 more before) {25: {'term': ")
    assert said[-2].endswith(f", 29: {entry}, 30: {entry}}}")


def test_a_node_that_asks_for_prevotes_is_shown_as_a_follower() -> None:
    said: list[str] = []
    lines = CourseLines(said.append)
    node = node_of("s1", 1)
    lines.stepped(node.view, Effects())
    lines.stepped(node.view, node.step(Tick(), 1000))
    assert node.view.role.value == "pre-candidate"
    assert said == [
        "Current Term is: 1",
        "Current Entries are: {1: {'term': 1, 'x': '1.1'}}",
        "Current State is: follower",
    ]


@pytest.mark.parametrize(
    ("allowed", "sender", "host", "why"),
    [
        (None, "Controller", "127.0.0.1", OFF),
        ([], "Controller", "127.0.0.1", ""),
        ([], "Controller", "127.9.8.7", ""),
        ([], "Controller", "::1", ""),
        ([], "Controller", "::ffff:127.0.0.1", ""),
        ([], "Controller", "fe80::1%eth0", "orders from fe80::1%eth0 are not taken"),
        ([], "Controller", "10.1.2.3", "orders from 10.1.2.3 are not taken"),
        (["10.0.0.0/8"], "Controller", "10.1.2.3", ""),
        (["10.0.0.0/8"], "Controller", "::ffff:10.1.2.3", ""),
        (["10.0.0.0/8"], "Controller", "11.1.2.3", "orders from 11.1.2.3 are not taken"),
        (["10.1.2.3"], "Controller", "10.1.2.4", "orders from 10.1.2.4 are not taken"),
        (["no.such.host.invalid"], "Controller", "10.1.2.3", "orders from 10.1.2.3 are not taken"),
        ([], "controller", "127.0.0.1", "only Controller gives orders"),
        (["0.0.0.0/0"], "s2", "10.1.2.3", "only Controller gives orders"),
    ],
)
def test_orders_are_taken_from_one_name_and_allowed_addresses(
    allowed: list[str] | None, sender: str, host: str, why: str
) -> None:
    reason = Permits(allowed).why_not(sender, host)
    assert (reason or "").startswith(why)
    assert bool(reason) is bool(why)
