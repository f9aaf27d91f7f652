"""The administration of a cluster by the typed client: its members, its leader, a backup."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import raftline
import raftline.aio
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.newcomers import newcomer
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at


def test_a_program_sees_its_cluster(kv: raftline.KV[str], nodes: Cluster) -> None:
    assert 0 < kv.ping() < DEADLINE_S
    assert kv.ping("another") > 0
    assert kv.binary.ping() > 0
    status = kv.status()
    names = sorted(node.name for node in nodes.nodes)
    assert sorted(status.members) == names
    assert status.leader in names
    assert status.facts["term"] == status.term >= 1
    members = kv.members()
    assert sorted(member.name for member in members) == names
    assert {member.role for member in members} == {"voter"}
    assert all(member.votes for member in members)
    assert {member.name: member.address for member in members} == status.members


def test_a_backup_is_a_new_file_with_what_was_acknowledged(
    kv: raftline.KV[str], tmp_path: Path
) -> None:
    kv["backed up"] = "1"
    file = tmp_path / "a.backup"
    backup = kv.backup(file)
    assert backup.index >= kv.read("backed up").index
    assert file.stat().st_size == backup.bytes
    assert file.stat().st_mode & 0o777 == 0o600
    assert "backed\\sup 1" in file.read_text("utf-8")
    with pytest.raises(FileExistsError, match="exists; name a new file for the backup"):
        kv.backup(file)
    with pytest.raises(FileNotFoundError):
        kv.backup(tmp_path / "no folder" / "a.backup")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        (lambda kv: kv.transfer("s9"), raftline.Refused, "s9"),
        (lambda kv: kv.transfer("two words"), ValueError, "not the name of a node"),
        (lambda kv: kv.members.remove("s9"), raftline.Refused, "s9 is not a member"),
        (lambda kv: kv.members.remove("s9", force=True), raftline.Refused, "s9 is not a member"),
        (
            lambda kv: kv.members.replace("s9", "s8", "h:1", force=True),
            raftline.Refused,
            "s9 is not a voter",
        ),
        (lambda kv: kv.members.promote("s1"), raftline.Refused, "s1 votes already"),
        (lambda kv: kv.members.add("s9", "nowhere"), ValueError, "not an address"),
        (lambda kv: kv.members.add("s9", 5), TypeError, "an address is a str"),
        (lambda kv: kv.members.demote(5), TypeError, "the name of a node is a str"),
    ],
)
def test_a_mistake_changes_nothing(
    kv: raftline.KV[str],
    call: Callable[[raftline.KV[str]], object],
    error: type[Exception],
    why: str,
) -> None:
    with pytest.raises(error, match=why):
        call(kv)


def test_members_come_and_go_and_the_leadership_moves(three: Cluster) -> None:
    with raftline.connect(at(three), timeout=4 * DEADLINE_S) as kv:
        new = newcomer(three, three.nodes[0])
        with ThreadPoolExecutor(1) as pool:
            added = pool.submit(kv.members.add, new.name, f"localhost:{new.port}")
            eventually(lambda: new.name in [member.name for member in kv.members()], "a learner")
            new.start()  # it is a member by now, so it does not ask to be added itself
            assert added.result().is_complete
        assert kv.transfer(new.name) == new.name
        assert kv.members.demote("s1", force=True).is_complete
        assert {each.name: each.votes for each in kv.members()}["s1"] is False
        promoted = kv.members.promote("s1")
        assert promoted.is_complete
        assert promoted.index is not None
        assert kv.transfer("s1") == "s1"
        assert kv.members.remove(new.name).is_complete
        assert new.name not in [member.name for member in kv.members()]


async def test_tasks_do_the_same(nodes: Cluster, tmp_path: Path) -> None:
    async with raftline.aio.connect(at(nodes)) as kv:
        await kv.set("backed up", "2")
        assert await kv.ping() > 0
        status = await kv.status()
        members = await kv.members()
        assert {member.name: member.address for member in members} == status.members
        backup = await kv.backup(tmp_path / "a.backup")
        assert (tmp_path / "a.backup").stat().st_size == backup.bytes
        with pytest.raises(raftline.Refused, match="s1 votes already"):
            await kv.members.promote("s1")
        to = next(name for name in status.members if name != status.leader)
        assert await kv.transfer(to) == to
