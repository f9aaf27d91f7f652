"""Requests of a cluster that has a level by its log and has not applied it, as after each start."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from raftline.common.address import Address
from raftline.common.build_level import LEVEL, Build
from raftline.common.config import FAST, FILE_NAME, Configuration
from raftline.common.process.console import Console
from raftline.common.version import VERSION
from raftline.logmanager import LogManager
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.peers.level_exchange import Builds
from raftline.net.protocol.host import Batch
from raftline.node.program.node_server import Server
from raftline.node.program.startup import Startup
from raftline.raft.inputs import PeerLevel, Receive
from raftline.raft.levels import FLOOR, NOT_HEARD, level_command
from raftline.raft.log import Entry
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.refusal import NO_LEADER, NO_QUORUM, RISING
from raftline_testing.doubles.cores import OPTIONS, append, established, leader_of, node_of
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.nodes.processes import DEADLINE_S, eventually

RAISE = [Entry(1, 1, level_command(LEVEL, "9f86d081884c7d65"))]


@pytest.fixture
def host() -> Server:
    """A node that was started again: its log raises the level, and nothing of it is applied."""
    configuration = Configuration(Path(FILE_NAME), {"s1": Address("h1", 10000)})
    console = Console(io.StringIO(), verbose=False)
    host = Server(Startup("s1", configuration, print), FAST, console, readings=ReadSettings())
    host.node = node_of("s1", term=1, options=replace(OPTIONS, level=LEVEL))
    host.node._state.append(RAISE)
    host.logmanager = LogManager("s1", MemoryFolder(), MEMBERS)
    host.builds = Builds(lambda name, level, applies: None)
    assert (host.level, host.node.view.levels.latest) == (0, LEVEL)
    return host


def test_keys_of_a_lease_are_known_once_entries_are_applied(host: Server) -> None:
    host.driver = SimpleNamespace(core=threading.Lock())  # type: ignore[assignment]
    host.book = SimpleNamespace(address=lambda _: Address("h2", 10001))  # type: ignore[assignment]
    host.logmanager.store.leased["lease-5"] = {"a"}
    for node, why in ((node_of("s1", 1), NO_LEADER), (leader_of("s1", 1), NO_QUORUM("s1"))):
        host.node = node
        assert host.keys_of_lease("lease-5") is None
        assert host.not_here() == host.not_confirmed() == why
    host.node = established("s1", 1)
    known = host.keys_of_lease("lease-5")
    assert known is not None
    assert (len(known), known.are_held(("a",)), known.are_held(("b",))) == (1, True, False)
    host.node.step(Receive(append(3, (0, 0), sender="s2", to="s1")), host.node.view.now_ms)
    assert host.keys_of_lease("lease-5") is None
    assert host.not_here().endswith("s2 (h2:10001)")


def asked(host: Server) -> tuple[threading.Thread, list[str]]:
    replies: list[str] = []
    thread = threading.Thread(target=lambda: replies.append(host.why_level(LEVEL)), daemon=True)
    thread.start()
    return thread, replies


def test_a_request_waits_until_the_level_of_the_log_is_applied(host: Server) -> None:
    host.slowest_ms = 1000 * int(DEADLINE_S)
    thread, replies = asked(host)
    assert replies == []
    host.logmanager.apply(RAISE)
    host.applied()
    thread.join(DEADLINE_S / 4)
    assert replies == [""]


def test_request_that_waited_too_long_for_a_level_is_refused(host: Server) -> None:
    host.slowest_ms = 0
    assert host.why_level(LEVEL) == RISING


def test_a_request_that_waits_for_a_level_is_sent_on_to_a_leader(host: Server) -> None:
    host.slowest_ms = 1000 * int(DEADLINE_S)
    host.book = SimpleNamespace(address=lambda _: Address("h2", 10001))  # type: ignore[assignment]
    thread, replies = asked(host)
    host.node.step(Receive(append(1, (0, 0), sender="s2", to="s1")), host.node.view.now_ms)
    thread.join(DEADLINE_S / 4)
    assert replies == ["Sorry, I am not the leader. Last leader I heard from is: s2 (h2:10001)"]


def test_request_waits_for_no_member_to_be_upgraded(host: Server) -> None:
    """s3 was never heard from, so the leader does not wait for it."""
    host.slowest_ms = 1000 * int(DEADLINE_S)
    host.builds.record("s2", Build(LEVEL, "9"), host)
    assert host.why_level(LEVEL + 1) == (
        "Sorry, this cluster is at level 0, and this needs a higher one: start a newer version of "
        f"s1 ({VERSION}) and s2 (9). Nothing was done."
    )


def test_request_names_a_member_that_was_heard_and_is_gone(host: Server) -> None:
    host.slowest_ms = 1000 * int(DEADLINE_S)
    for level in (LEVEL, NOT_HEARD):
        host.node.step(PeerLevel("s3", level), host.node.view.now_ms)
    assert "and s3 (not heard yet). Nothing" in host.why_level(LEVEL + 1)


def test_request_above_the_floor_names_the_option(host: Server) -> None:
    host.slowest_ms = 1000 * int(DEADLINE_S)
    host._startup.level = FLOOR
    assert host.why_level(LEVEL) == (
        "Sorry, this cluster is at level 0, and this needs a higher one: its nodes were started "
        "with --floor. Nothing was done."
    )


def test_a_connection_that_waits_for_a_level_holds_up_no_other() -> None:
    """The shared reader leaves such a line to the thread of its connection."""
    scenes: list[ServedConnection] = []

    def submit(*batches: Batch, more_come: bool) -> None:
        for batch in batches:
            (scene,) = [one for one in scenes if batch.reply_sink is one.connection.outgoing]
            scene.host.submit(batch)

    reader = SharedReader(submit, crowd=0)
    scenes += [ServedConnection(shared_reader=reader), ServedConnection(shared_reader=reader)]
    one, other = scenes
    asked, risen = threading.Event(), threading.Event()

    def why_level(needed: int) -> str:
        asked.set()
        assert risen.wait(DEADLINE_S)
        return ""

    one.host.why_level = why_level
    for scene in (one, other):
        scene.say("set a 1\n")
        scene.submitted(1)
        scene.answer(0, "SET response: a set to 1")
        assert scene.line() == "s1@SET response: a set to 1"
    one.say("txn set b 1 ; set c 1\n")
    assert asked.wait(DEADLINE_S)
    other.say("set d 1\n")
    eventually(lambda: other.batches[1:], "the line of the other")
    assert len(one.batches) == 1
    risen.set()
    assert one.submitted(2)[1][0].startswith("txn ")
    one.end()
    other.end()
