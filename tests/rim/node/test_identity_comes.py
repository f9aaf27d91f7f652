"""Requests beyond the floor before the identity in the log is applied, as after each start."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from raftline.common.address import Address
from raftline.common.config import FAST, FILE_NAME, Configuration
from raftline.common.identities import AT_FLOOR
from raftline.common.process.console import Console
from raftline.logmanager import LogManager
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.peers.build_exchange import Builds
from raftline.net.protocol.host import Batch
from raftline.node.program.node_server import Server
from raftline.node.program.startup import Startup
from raftline.raft.identity import identity_command
from raftline.raft.inputs import Receive
from raftline.raft.log import Entry
from raftline.wire.commands.parsing import ReadSettings
from raftline.wire.refusal import NO_IDENTITY, NO_LEADER, NO_QUORUM
from raftline_testing.doubles.cores import OPTIONS, append, established, leader_of, node_of
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.nodes.processes import DEADLINE_S, eventually

ABOVE = replace(OPTIONS, cluster_if_new="9f86d081884c7d65")
FIRST = [Entry(1, 1, identity_command(ABOVE.cluster_if_new))]


@pytest.fixture
def host() -> Server:
    """A node that was started again: its log has an identity, and nothing of it is applied."""
    configuration = Configuration(Path(FILE_NAME), {"s1": Address("h1", 10000)})
    console = Console(io.StringIO(), verbose=False)
    host = Server(Startup("s1", configuration, print), FAST, console, readings=ReadSettings())
    host.node = node_of("s1", term=1, options=ABOVE)
    host.node._state.append(FIRST)
    host.logmanager = LogManager("s1", MemoryFolder(), MEMBERS)
    host.builds = Builds(lambda name, build: None)
    assert (host.is_at_floor, host.node.view.identity.is_at_floor) == (True, False)
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
    thread = threading.Thread(target=lambda: replies.append(host.why_at_floor()), daemon=True)
    thread.start()
    return thread, replies


def test_a_request_waits_until_the_identity_is_applied(host: Server) -> None:
    host.slowest_ms = 1000 * int(DEADLINE_S)
    thread, replies = asked(host)
    assert replies == []
    host.logmanager.apply(FIRST)
    host.applied()
    thread.join(DEADLINE_S / 4)
    assert replies == [""]


def test_request_that_waited_too_long_is_refused(host: Server) -> None:
    host.slowest_ms = 0
    assert host.why_at_floor() == NO_IDENTITY


def test_a_request_that_waits_is_sent_on_to_a_leader(host: Server) -> None:
    host.slowest_ms = 1000 * int(DEADLINE_S)
    host.book = SimpleNamespace(address=lambda _: Address("h2", 10001))  # type: ignore[assignment]
    thread, replies = asked(host)
    host.node.step(Receive(append(1, (0, 0), sender="s2", to="s1")), host.node.view.now_ms)
    thread.join(DEADLINE_S / 4)
    assert replies == ["Sorry, I am not the leader. Last leader I heard from is: s2 (h2:10001)"]


def test_request_beyond_the_floor_names_the_member_at_it(host: Server) -> None:
    """s3 was never heard from, so nothing is known of its build."""
    host.node = node_of("s1", options=ABOVE)
    host.builds.record("s2", AT_FLOOR, host)
    assert host.why_at_floor() == (
        "Sorry, this cluster is at the floor, where it serves only what other implementations "
        "understand: start s2 with raftline and without --floor. Nothing was done."
    )


def test_request_beyond_the_floor_names_the_option(host: Server) -> None:
    host._startup.is_at_floor = True
    assert host.why_at_floor() == (
        "Sorry, this cluster is at the floor, where it serves only what other implementations "
        "understand: its nodes were started with --floor. Nothing was done."
    )


def test_a_connection_that_waits_holds_up_no_other() -> None:
    """The shared reader leaves such a line to the thread of its connection."""
    scenes: list[ServedConnection] = []

    def submit(*batches: Batch, more_come: bool) -> None:
        for batch in batches:
            (scene,) = [one for one in scenes if batch.reply_sink is one.connection.outgoing]
            scene.host.submit(batch)

    reader = SharedReader(submit, crowd=0)
    scenes += [ServedConnection(shared_reader=reader), ServedConnection(shared_reader=reader)]
    one, other = scenes
    asked, applied = threading.Event(), threading.Event()

    def why_at_floor() -> str:
        asked.set()
        assert applied.wait(DEADLINE_S)
        return ""

    one.host.why_at_floor = why_at_floor
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
    applied.set()
    assert one.submitted(2)[1][0].startswith("txn ")
    one.end()
    other.end()
