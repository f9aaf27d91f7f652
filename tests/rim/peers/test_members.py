"""The words for changing members, the peer book, and how a node that joins starts."""

from __future__ import annotations

import argparse
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from zlib import crc32

import pytest

from raftline.common.address import Address
from raftline.common.config import FAST, FILE_NAME, ConfigError, Configuration
from raftline.net.peers import peers
from raftline.net.peers.build_exchange import Foreigners
from raftline.net.peers.peers import Peer, PeerBook
from raftline.node.clock import Clock
from raftline.node.program import joining
from raftline.node.program.joining import (
    advertised,
    begin_to_join,
    joining_address,
    reached_address,
    settle_configuration,
)
from raftline.node.program.startup import Startup, check_member
from raftline.node.program.startup import node_of as core_of
from raftline.raft.change import Change
from raftline.raft.effects import HardState
from raftline.raft.log import Log, Snapshot
from raftline.raft.membership import PREFIX, Membership, all_vote
from raftline.raft.node import RawNode, node_from_disk
from raftline.storage.disk import FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.log_lines import base_line, checksum_line, read_base
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import MachineState
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.member_commands import change_reply, read_change
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from raftline.wire.refusal import NO_LEADER
from raftline_testing.doubles.cores import OPTIONS, node_of
from raftline_testing.doubles.scripted_node import scripted_nodes
from raftline_testing.files.node_files import storage_file
from raftline_testing.files.snapshot_writing import write_snapshot
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.refused_threads import refuse

TOLD = "Level 1 version 9"  # the answer of a node whose cluster has no identity

# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("members", None),
        ("add s4 localhost 10003", Change("add", "s4", "localhost:10003")),
        ("add  s4   ::1  10003 ", Change("add", "s4", "::1:10003")),
        ("remove s4", Change("remove", "s4")),
        ("remove s4 force", Change("remove", "s4", force=True)),
        ("remove force", Change("remove", "force")),
        ("replace s2 s5 h 1", Change("replace", "s5", "h:1", "s2")),
        ("replace s2 s5 h 1 force", Change("replace", "s5", "h:1", "s2", force=True)),
        ("promote s4", Change("promote", "s4")),
        ("demote s4", Change("demote", "s4")),
        ("demote s4 force", Change("demote", "s4", force=True)),
    ],
)
def test_a_change_is_read_from_its_line(line: str, change: Change | None) -> None:
    request = read_request("client4", "", line, Limits())
    assert read_change(request.command) == change


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("members all", "members takes no operands"),
        ("add", "the form is: add NAME HOST PORT"),
        ("add s4 localhost", "the form is: add NAME HOST PORT"),
        ("add s4 localhost 0", '"0" is not a port'),
        ("add s4 localhost 99999", '"99999" is not a port'),
        ("add s4 localhost １", "is not a port"),
        ("add 4s localhost 1", '"4s" is not the name'),
        ("add s4 a,b 1", '"a,b" is not a host'),
        ("add s4 a|b 1", "is not a host"),
        ("add s4 0.0.0.0 1", "0.0.0.0 is an address to listen on, not one to connect to"),
        ("replace s1 s4 :: 1", ":: is an address to listen on"),
        ("remove", "the form is: remove NAME [force]"),
        ("remove s1 s2", "the form is: remove NAME [force]"),
        ("remove s1 force force", "the form is: remove NAME [force]"),
        ("promote s1 force", "the form is: promote NAME"),
        ("replace s1 s4", "the form is: replace OLD NEW HOST PORT [force]"),
        ("promote s4=h:1,voter", "is not the name"),
    ],
)
def test_a_change_in_another_form_is_refused(line: str, why: str) -> None:
    with pytest.raises(ProtocolError, match="Nothing was changed") as refused:
        read_change(line)
    assert why in str(refused.value)


def test_no_client_request_reads_as_a_configuration() -> None:
    for line in ("members s1=h:1,voter", "set members s1=h:1,voter", "get members"):
        request = read_request("members", "", line, Limits())
        if request.verb == "members":
            with pytest.raises(ProtocolError):
                read_change(request.command)
        else:
            assert not request.command.startswith(PREFIX)


def test_each_outcome_has_its_reply() -> None:
    assert change_reply("add s4 h 1", "done", "s4 votes") == "ADD response: s4 votes"
    assert change_reply("add s4 h 1", "refused", "no") == "Sorry, no."
    assert change_reply("add s4 h 1", "unknown", "lost") == "Sorry, outcome unknown: lost"


# --- the peer book ----------------------------------------------------------------------------


class ScriptedPeer:
    def __init__(self, name: str, address: Address, life: list[str]) -> None:
        self.name, self.address, self._life = name, address, life

    def start(self) -> None:
        self._life.append(f"start {self.name} {self.address}")

    def stop(self) -> None:
        self._life.append(f"stop {self.name}")

    def send(self, line: bytes) -> None:
        self._life.append(f"{self.name} <- {line.decode()}")


def book_of(here: dict[str, Address]) -> tuple[PeerBook, list[str]]:
    life: list[str] = []

    def dial(name: str, address: Address) -> Peer:
        return ScriptedPeer(name, address, life)  # type: ignore[return-value]

    return PeerBook(here, dial), life


@pytest.mark.pure
def test_connections_begin_and_end_as_the_members_change() -> None:
    book, life = book_of({})
    book.follow({"s2": "h:2", "s3": "h:3"})
    assert life == []
    book.start()
    book.follow({"s3": "h:3", "s4": "h:4"})
    book.send("s4", b"x")
    book.send("s2", b"lost")
    assert life == ["start s2 h:2", "start s3 h:3", "stop s2", "start s4 h:4", "s4 <- x"]
    assert "s4" in book
    assert "s2" not in book
    assert book.address("s2") == Address("h", 2)  # a client may still be sent there
    assert book.address("s9") is None


@pytest.mark.pure
def test_configured_addresses_override_those_of_the_log() -> None:
    """An address in the configuration file overrides the one in the log."""
    book, life = book_of({"s2": Address("proxy", 7)})
    book.start()
    assert book.follow({"s2": "h:2", "s3": "h:3"}) == ["s2"]  # which the console tells
    assert book.follow({"s2": "h:2", "s3": "h:3"}) == []
    assert life == ["start s2 proxy:7", "start s3 h:3"]
    book.follow({"s3": "h:3"})
    assert book.follow({"s2": "h:4", "s3": "h:3"}) == ["s2"]  # it was removed, and added again
    assert book.follow({"s2": "h:5", "s3": "h:3"}) == ["s2"]  # before it was forgotten
    assert book.follow({"s2": "proxy:7"}) == []


@pytest.mark.pure
def test_a_member_that_moved_is_dialled_again() -> None:
    book, life = book_of({})
    book.start()
    book.follow({"s2": "h:2"})
    book.follow({"s2": "h:9"})
    assert life == ["start s2 h:2", "stop s2", "start s2 h:9"]


@pytest.mark.pure
def test_a_new_member_is_dialed_once_there_is_a_thread_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`follow` is called within a step, where an error would stop every node at the same entry."""
    said: list[str] = []
    dialed = threading.Event()

    def dial(name: str, address: Address) -> Peer:
        peer = Peer("s1", name, address, lambda _: None, lambda _: None, said.append)
        monkeypatch.setattr(peer, "_dial_once", dialed.set)
        return peer

    book = PeerBook({}, dial)
    book.start()
    try:
        with monkeypatch.context() as patched:
            refuse(patched)
            book.follow({"s2": "h:2"})
            book.send("s2", b"x")
        with monkeypatch.context() as patched:
            refuse(patched, "s1 reader of s2")  # the sender has begun
            book.send("s2", b"x")
            book.send("s2", b"x")
        assert not dialed.is_set()
        assert said == ["[!] s2 at h:2 can't be talked to: RuntimeError: can't start new thread"]
        book.send("s2", b"x")
        assert dialed.wait(30)

        def senders() -> int:
            return [each.name for each in threading.enumerate()].count("s1 sender of s2")

        assert eventually(senders, "the thread has its name") == 1
    finally:
        book.stop()


def test_a_member_whose_host_is_misspelled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    is_said = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        is_said.set()

    def look_up(*_: object) -> socket.socket:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(peers, "connect", look_up)
    peer = Peer("s1", "s2", Address("nohst", 2), lambda _: None, lambda _: None, say)
    peer.start()
    try:
        assert is_said.wait(30)
    finally:
        peer.stop()
    assert said[0] == (
        "[!] s2 at nohst:2 can't be looked up: no such host (Name or service not known)"
    )


def test_a_node_without_a_thread_for_a_member_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = Address("h", 2)
    say = lambda _: None  # noqa: E731
    book = PeerBook({}, lambda *_: Peer("s1", "s2", address, say, say, say))
    book.follow({"s2": "h:2"})
    refuse(monkeypatch)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        book.start()


def test_no_connection_begins_once_the_node_stops() -> None:
    book, life = book_of({})
    book.start()
    book.stop()
    book.follow({"s2": "h:2"})
    assert life == []


# --- a node that joins ------------------------------------------------------------------------


def test_a_joiner_needs_no_configuration_file(tmp_path: Path) -> None:
    there = Address("localhost", 1)
    folder = tmp_path / "new"
    found = settle_configuration(str(folder), "s4", "localhost", 4, joins=there)
    assert found.members == {}
    assert folder.is_dir()


def test_a_joined_node_restarts_without_a_line_in_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("s1 localhost 1\n")
    with pytest.raises(ConfigError, match=r"s4 is not in .*--join HOST:PORT"):
        settle_configuration(str(tmp_path), "s4", "localhost", 4, joins=None)
    (tmp_path / "s4.log").write_text("0 0 base\n")
    assert settle_configuration(str(tmp_path), "s4", "localhost", 4, joins=None).members


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        ("a client without a login may not add: it takes the role admin. Nothing was done.",
         "[!] s4 waits until an admin adds it: raftline member add s4 h 4"),
        ("s4 announces no build", "[!] s4 is not added yet: s4 announces no build"),
    ],
)  # fmt: skip
def test_a_joiner_that_has_no_login_waits_for_an_admin(refusal: str, line: str) -> None:
    electors: set[str] = set()
    view = SimpleNamespace(is_member=False, membership=SimpleNamespace(electors=electors))
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if not text.endswith("to be added to the cluster"):
            electors.add("s4")  # so it asks no more

    with scripted_nodes() as start:
        there = start(lambda asked: TOLD if asked.startswith("Level ") else f"Sorry, {refusal}")
        begin_to_join(
            "s4",
            Address("h", 4),
            Address("localhost", there.port),
            None,
            cast(RawNode, SimpleNamespace(view=view)),
            Foreigners("s4"),
            say,
        )
        eventually(lambda: electors)
    assert said == [f"[*] s4 asks localhost:{there.port} to be added to the cluster", line]


@pytest.mark.parametrize("variable", ["RAFTLINE_TLS_CA", "RAFTLINE_TLS_SERVER_NAME"])
def test_a_joiner_does_not_use_the_tls_of_a_client(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A node without TLS asks in plain text, whatever a client's variables name."""
    monkeypatch.setenv(variable, "no-such-file")
    view = SimpleNamespace(is_member=False, membership=SimpleNamespace(electors=()))
    said: list[str] = []
    with scripted_nodes() as start:
        added = "ADD response: s4 added"
        there = start(lambda asked: TOLD if asked.startswith("Level ") else added)
        address = Address("localhost", there.port)
        node = cast(RawNode, SimpleNamespace(view=view))
        begin_to_join("s4", Address("h", 4), address, None, node, Foreigners("s4"), said.append)
        eventually(lambda: len(said) == 2)
    assert said[1] == f"[*] {added}"


def test_a_joiner_that_finds_no_leader_says_so_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that names itself as the node to join."""
    monkeypatch.setattr(joining, "SEARCH_S", 0.05)
    view = SimpleNamespace(is_member=False, membership=SimpleNamespace(electors=()))
    waits = f"[!] s4 is not added yet: {NO_LEADER.removeprefix('Sorry, ')}"
    said: list[str] = []

    def reply(asked: str) -> str:
        if asked.startswith("Level "):
            return TOLD
        return "ADD response: s4 added" if said[-1] == waits else NO_LEADER

    with scripted_nodes() as start:
        there = Address("localhost", start(reply).port)
        node = cast(RawNode, SimpleNamespace(view=view))
        begin_to_join("s4", Address("h", 4), there, None, node, Foreigners("s4"), said.append)
        eventually(lambda: said[-1:] == ["[*] ADD response: s4 added"])
    assert said[1:-1] == [waits]


def test_a_joiner_follows_to_a_leader_that_is_named_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may keep the request until it knows a leader, for longer than the search takes."""
    monkeypatch.setattr(joining, "SEARCH_S", 0.0)
    view = SimpleNamespace(is_member=False, membership=SimpleNamespace(electors=()))
    said: list[str] = []
    with scripted_nodes() as start:
        leader = start(lambda _: "ADD response: s4 added").port
        sorry = f"Sorry, I am not the leader. Last leader I heard from is: s2 (localhost:{leader})"
        there = start(lambda asked: TOLD if asked.startswith("Level ") else sorry).port
        node = cast(RawNode, SimpleNamespace(view=view))
        address = Address("localhost", there)
        begin_to_join("s4", Address("h", 4), address, None, node, Foreigners("s4"), said.append)
        eventually(lambda: len(said) == 2)
    assert said[1] == "[*] ADD response: s4 added"


def test_joiner_sent_in_a_circle_ends_its_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two followers may name each other while an election is under way."""
    monkeypatch.setattr(joining, "SEARCH_S", 0.05)
    electors: set[str] = set()
    view = SimpleNamespace(is_member=False, membership=SimpleNamespace(electors=electors))
    ports: list[int] = []
    said: list[str] = []

    def reply_at(place: int) -> Callable[[str], str]:
        sorry = "Sorry, I am not the leader. Last leader I heard from is: s2 (localhost:{})"
        return lambda asked: TOLD if asked.startswith("Level ") else sorry.format(ports[1 - place])

    def say(text: str) -> None:
        said.append(text)
        if "is not added yet" in text:
            electors.add("s4")  # so it asks no more

    with scripted_nodes() as start:
        ports += [start(reply_at(place)).port for place in range(2)]
        node = cast(RawNode, SimpleNamespace(view=view))
        address = Address("localhost", ports[0])
        begin_to_join("s4", Address("h", 4), address, None, node, Foreigners("s4"), say)
        eventually(lambda: electors, "the end of the search", 10.0)
    assert said[1].startswith("[!] s4 is not added yet: I am not the leader. ")


@pytest.mark.parametrize(("voters", "says"), [(("s1", "s4"), False), (("s1",), True)])
def test_joiner_that_is_a_member_asks_nothing(voters: tuple[str, ...], says: bool) -> None:
    """Otherwise, one that died while it caught up would stay a learner unnoticed."""
    learners = () if "s4" in voters else ("s4",)
    node = node_of("s4", voters=Membership(voters, learners))
    said: list[str] = []
    begin_to_join("s4", Address("h", 4), Address("h", 1), None, node, Foreigners("s4"), said.append)
    line = "[*] s4 is a learner, without a vote. To give it one: raftline promote s4"
    assert said == [line] * says


def unreadable_list(folder: Path) -> str:
    """Leave a list of members in the folder that not even root can read; return its name."""
    (folder / FILE_NAME).mkdir()
    return f"{folder / FILE_NAME}: can't be read: Is a directory"


def test_node_with_members_in_its_log_needs_no_list(tmp_path: Path) -> None:
    """A node whose log has the members starts without the list."""
    why = unreadable_list(tmp_path)
    (tmp_path / "s4.log").write_text("0 0 base s1=h:1,voter s4=h:4,voter\n")
    found = settle_configuration(str(tmp_path), "s4", "localhost", 4, joins=None)
    assert found == Configuration(tmp_path / FILE_NAME, {}, unread=why)
    view = node_of("s4", voters=Membership(("s1", "s2", "s4"))).view
    assert check_member(view, found) == [
        f"[!] {why}. The members are those of the log: s1 s2 s4. Let this user read the file, or "
        "remove it"
    ]


@pytest.mark.parametrize("log", [None, "", "0 1 set a 4\n"])
def test_a_node_whose_log_names_no_members_needs_the_list(tmp_path: Path, log: str | None) -> None:
    why = unreadable_list(tmp_path)
    if log is not None:
        (tmp_path / "s4.log").write_text(log)
    with pytest.raises(ConfigError, match=re.escape(why)):
        settle_configuration(str(tmp_path), "s4", "localhost", 4, joins=None)


def test_a_list_that_contradicts_itself_is_refused_all_the_same(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("s1 localhost 1\ns1 localhost 2\n")
    (tmp_path / "s4.log").write_text("0 0 base s1=h:1,voter s4=h:4,voter\n")
    with pytest.raises(ConfigError, match="s1 appears twice"):
        settle_configuration(str(tmp_path), "s4", "localhost", 4, joins=None)


def test_a_base_line_may_name_no_members() -> None:
    one = all_vote({"s1": "h:1"})
    assert base_line(all_vote({})) == b"0 0 base\n"
    assert read_base(b"0 0 base\n") == (0, 0, all_vote({}))
    assert read_base(base_line(one)) == (0, 0, one)


def place_of(name: str, membership: Membership, *, recovering: bool = False) -> list[str]:
    node = node_of(name, voters=membership, recovering=recovering)
    return check_member(node.view, Configuration(Path("c"), {}))


def test_a_node_prints_its_membership_at_its_start() -> None:
    assert place_of("s4", Membership(())) == [
        "[*] s4 knows no members yet: it waits until a leader adds it"
    ]
    assert place_of("s1", Membership(("s1",))) == []


@pytest.mark.parametrize(
    ("voters", "why"),
    [
        (2, "[!] 2 voters need each other, and the loss of either stops the cluster: use 1 or 3"),
        (4, "[!] 4 voters tolerate the loss of 1, like 3 voters, and every write waits for 3: "
            "use 3 or 5"),
    ],
)  # fmt: skip
def test_a_poor_number_of_voters_is_reported_at_the_start(voters: int, why: str) -> None:
    names = tuple(f"s{number}" for number in range(1, voters + 1))
    assert place_of("s1", Membership(names)) == [why]
    assert place_of("s1", Membership((*names, "s9"))) == []
    assert place_of("s9", Membership(names, learners=("s9",))) == []  # it has no say in that


def after_a_snapshot(*, recovering: bool) -> RawNode:
    """Return s4, whose log begins after a snapshot of a cluster of s1 and s2."""
    return node_from_disk(
        "s4",
        Membership(("s1", "s2")),
        Log(7, 2),
        HardState(2, None),
        OPTIONS,
        lambda: 1,
        0,
        recovering=recovering,
        snapshot=Snapshot(7, 2, 0, 0),
    )


@pytest.mark.parametrize("recovering", [False, True])
def test_node_with_an_older_snapshot_waits_for_a_leader(recovering: bool) -> None:
    """It was killed before it received the entry that adds it, or has lost that entry."""
    node = after_a_snapshot(recovering=recovering)
    [said] = check_member(node.view, Configuration(Path("c"), {}))
    assert said.startswith("[!] s4 is not a member as far as its log goes (s1 s2): it waits for a ")


def test_node_with_older_entries_waits_for_a_leader() -> None:
    """A node whose entries precede its addition waits for a leader."""
    log = Log()
    log.extend(1, ["noop", "members s1=h:1,voter s2=h:2,voter"])
    node = node_from_disk("s4", Membership(()), log, HardState(1, None), OPTIONS, lambda: 1, 0)
    [said] = check_member(node.view, Configuration(Path("c"), {}))
    assert said.startswith("[!] s4 is not a member as far as its log goes (s1 s2): it waits for a ")


def joiner(commands: list[str], *, recovering: bool = False, cluster: str = "") -> RawNode:
    """Return s4, born to join, with these entries after those that added it or did not yet."""
    log = Log()
    log.extend(1, ["noop", "members s1=h:1,voter s2=h:2,voter", *commands])
    return node_from_disk(
        "s4",
        Membership(()),
        log,
        HardState(1, None),
        OPTIONS,
        lambda: 1,
        0,
        recovering=recovering,
        may_be_new=recovering,
        cluster=cluster,
    )


ADDED = "members s1=h:1,voter s2=h:2,voter s4=h:4,voter"
REMOVED = "members s1=h:1,voter s2=h:2,voter"


def test_a_removed_node_prints_that_it_was_removed() -> None:
    [said] = check_member(joiner([ADDED, REMOVED]).view, Configuration(Path("c"), {}))
    assert said.startswith("[!] s4 was removed from the cluster by entry 4 of its log.")


OURS, OTHERS = "9f86d081884c7d65", "3c6e0b8a9c15224a"


def joins(node: RawNode, cluster: str) -> tuple[str, list[str]]:
    """Make a node ask one of a cluster to be added; return the identity that it goes by then, and
    what was asked."""
    asked: list[str] = []

    def reply(line: str) -> str:
        asked.append(line.partition(" ")[0])
        named = f" cluster {cluster}" if cluster else ""
        return f"Level 1 version 9{named}" if line.startswith("Level ") else "ADD response: added"

    foreigners, said = Foreigners("s4", lambda: node.view.cluster), list[str]()
    with scripted_nodes() as start:
        there = Address("localhost", start(reply).port)
        begin_to_join("s4", Address("h", 4), there, None, node, foreigners, said.append)
        eventually(lambda: said[-1:] == ["[*] ADD response: added"])
    return foreigners.mine(), asked


def test_joiner_keeps_to_its_cluster_before_it_hears_anybody() -> None:
    """The leader of a cluster that this name has left may still dial it."""
    mine, asked = joins(node_of("s4", voters=Membership(())), OURS)
    assert mine == OURS
    assert asked[0] == "Level"


def test_a_joiner_may_be_added_to_a_cluster_without_an_identity() -> None:
    assert joins(node_of("s4", voters=Membership(())), "")[0] == ""


def test_a_node_that_caught_up_in_part_may_join_again() -> None:
    assert joins(joiner([], recovering=True), OURS)[0] == OURS


def test_removed_node_may_rejoin_its_cluster_with_its_files() -> None:
    """A removed node may join the same cluster again with its files."""
    assert joins(joiner([ADDED, REMOVED], cluster=OURS), OURS)[0] == OURS


def test_a_member_starts_though_it_is_to_join_another_cluster() -> None:
    """The node that --join names may have moved elsewhere since."""
    said: list[str] = []
    node, foreigners = joiner([ADDED], cluster=OTHERS), Foreigners("s4")
    with scripted_nodes() as start:
        there = Address("localhost", start(lambda _: f"Level 1 version 9 cluster {OURS}").port)
        begin_to_join("s4", Address("h", 4), there, None, node, foreigners, said.append)
    assert len(said) == 1
    assert said[0].startswith("[!] s4 can't join with the files that it has")
    assert foreigners.mine() == ""


@pytest.mark.parametrize("cluster", ["", OTHERS])
def test_a_node_joins_no_cluster_with_the_files_of_another_one(cluster: str) -> None:
    """Its entries may have the same terms, and would be taken for those of the cluster. Files
    without an identity are older than the cluster's identity, or of another cluster."""
    with pytest.raises(FilesRefused) as refused:
        joins(joiner([ADDED, REMOVED], cluster=cluster), OURS)
    said = re.sub("localhost:[0-9]+", "HOST:PORT", str(refused.value))
    assert said == (
        "s4 can't join with the files that it has: they belong to another cluster than HOST:PORT. "
        "Move s4.* and .s4.born away; it gets everything from the leader"
    )


def test_added_or_lagging_joiner_starts_again_to_join() -> None:
    """After a restart, a node that was added starts, and one that is still catching up waits for a
    leader."""
    nowhere = Configuration(Path("c"), {})
    assert check_member(joiner([ADDED]).view, nowhere) == []
    [said] = check_member(joiner([], recovering=True).view, nowhere)
    assert said.startswith("[!] s4 is not a member as far as its log goes (s1 s2): it waits for a ")
    newborn = node_of("s4", voters=Membership(()))
    [said] = check_member(newborn.view, nowhere)
    assert said == "[*] s4 knows no members yet: it waits until a leader adds it"


def test_a_lone_node_without_its_log_is_refused() -> None:
    with pytest.raises(FilesRefused, match="no node to catch up from"):
        place_of("s1", Membership(("s1",)), recovering=True)


def test_joiner_listening_everywhere_must_name_its_address() -> None:
    """A joining node that listens on all addresses must advertise one."""
    empty = Configuration(Path("c"), {})
    assert advertised("s4", "h", 4, empty) == Address("h", 4)
    with pytest.raises(ConfigError, match="doesn't tell where others reach s4"):
        advertised("s4", "0.0.0.0", 4, empty)
    named = Configuration(Path("c"), {"s4": Address("outside", 9)})
    assert advertised("s4", "0.0.0.0", 4, named) == Address("outside", 9)
    given = Address("door", 7)
    assert advertised("s4", "0.0.0.0", 4, named, given) == given
    assert advertised("s4", "0.0.0.0", 4, empty, given) == given


@pytest.mark.parametrize("text", ["localhost", "h:0", ":1", "a b:1", "0.0.0.0:1", "[::]:1"])
def test_a_wrong_address_to_advertise_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        reached_address(text)


@pytest.mark.parametrize("text", ["localhost", "localhost:", ":1", "a b:1", "h:0", "h:x"])
def test_a_join_address_must_name_a_node(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        joining_address(text)
    assert joining_address("::1:10000") == Address("::1", 10000)


def files_of_a_lone_node_that_lost_an_entry(path: Path) -> None:
    """Write a snapshot of entry 7, the log after it, and a mark of entry 8."""
    alone = all_vote({"s1": "localhost:10000"})
    file = SnapshotFile(Folder(path), "s1")
    file.publish(write_snapshot(file, MachineState(7, 1, alone, [], {"a": "4"})))
    base = base_line(alone, 7, 1)
    (path / "s1.log").write_bytes(base + checksum_line(0, crc32(base)))
    (path / "s1.storage").write_bytes(storage_file(1, "s1", mark=(8, 1)))
    (path / ".s1.born").write_bytes(b"s1 was born here.\n")


def started(path: Path, *, joins: bool = False) -> list[str]:
    """Start s1 from its files as a node does; return what is said of its membership."""
    known = {"s1": Address("localhost", 10000)}
    configuration = Configuration(path / FILE_NAME, {} if joins else known)
    startup = Startup("s1", configuration, lambda _: None, joins=joins)
    manager, recovered = startup.recover()
    manager.close()
    node = core_of(
        startup, recovered, FAST, Clock(), heartbeat_ms=50, leased=False, compact_bytes=1 << 20
    )
    return check_member(node.view, configuration)


@pytest.mark.parametrize(
    ("advice", "joins"), [("remove (.*), and start again", False), ("since, move (.*) away", True)]
)
def test_lone_node_that_lost_files_starts_once_advice_is_taken(
    tmp_path: Path, advice: str, joins: bool
) -> None:
    """Its snapshot also names it as the only member, and every compaction leaves one."""
    files_of_a_lone_node_that_lost_an_entry(tmp_path)
    with pytest.raises(FilesRefused, match="is the only member") as refused:
        started(tmp_path)
    found = re.search(advice, str(refused.value))
    assert found is not None
    for name in re.findall(r"\.?s1\.\w+", found[1]):
        (tmp_path / name).unlink()
    assert all("is the only member" not in line for line in started(tmp_path, joins=joins))
