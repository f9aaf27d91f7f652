"""The bound on what a cluster holds: beyond it the leader takes only what frees something."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.net.protocol.host import Batch
from raftline.node.disk_room import DiskRoom, DiskSpace
from raftline.node.loop.quota import Quota, needs_room
from raftline.raft.log import Entry
from raftline.raft.messages import AppendEntries
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.limits import DISK_LEFT_BYTES, LEASE_BYTES, PAIR_BYTES
from raftline.wire.replies.refusals import code_of

LARGE = 1 << 40  # bytes of a disk
FREE = (LARGE, LARGE)


@pytest.fixture
def store() -> Store:
    store = Store(is_at_floor=False)
    store.number = 1
    return store


def answers(quota: Quota, *commands: str) -> list[str]:
    """Return the replies to commands that are refused; "" for each that is proposed."""
    batches = [Batch([command], is_read=False) for command in commands]
    admitted = quota.admit(batches)
    return ["" if batch in admitted else batch.replies[0] for batch in batches]


def test_beyond_its_bytes_a_cluster_takes_only_what_frees_some(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), bytes_max=PAIR_BYTES + 50)
    assert (answers(quota, "set a 1"), quota.lacks) == ([""], "")
    execute(store, f"set a {'x' * 50}")
    sets, delete, lease = answers(quota, "set b 1", "delete a", "lease 10")
    limit = PAIR_BYTES + 50
    assert sets == lease
    assert sets == (
        f"Sorry, no room: keys and leases take {limit} bytes (--max-bytes). Nothing was done; "
        "delete or clear some keys first."
    )
    assert (code_of(sets), delete, quota.lacks) == ("no-room", "", "bytes")
    assert answers(quota, "sum", "c@sum") == ["", ""]
    execute(store, "delete a")
    assert (answers(quota, "set b 1"), store.bytes) == ([""], 0)


def test_a_run_is_taken_or_refused_as_one(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), bytes_max=0)
    batch = Batch(["delete a", "set a 1"], is_read=False)
    assert quota.admit([batch]) == []
    assert [code_of(reply) for reply in batch.replies] == ["no-room"] * 2


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("set a 1", True), ("c#7@set a 1", True), ("delete a", False), ("c#7@delete a", False),
        ("clear a", False), ("release lease-7", False), ("c@forget", False), ("c@session", False),
        ("c@session bob", False),
        ("bob@set a 1", True), ("set x@delete a", True), ("append a 1", True),
        ("txn delete a ; clear b", False),
        ("c#7@txn if a = 1 then delete a else get b", False), ("txn delete a ; set a 1", True),
        ("txn if a = delete then delete a else set a 1", True), ("under lease-7 set a 1", True),
    ],
)  # fmt: skip
def test_what_frees_needs_no_room(command: str, needs: bool) -> None:
    assert needs_room(command) is needs


def test_leases_are_bounded_by_themselves_and_count(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), leases_max=2)
    for number in (1, 2):
        store.number = number
        execute(store, "lease 10")
    assert store.bytes == 2 * LEASE_BYTES
    first, second, third = answers(quota, "lease 10", "c@lease 10 tag", "set a 1")
    assert (
        first
        == second
        == ("Sorry, no room: there are 2 leases. Nothing was done; release some first.")
    )
    assert (third, quota.lacks) == ("", "leases")
    execute(store, "release lease-1")
    assert answers(quota, "lease 10") == [""]


def write(store: Store, user: str, command: str) -> None:
    """Apply a write of a user."""
    store.number, store.user = store.number + 1, user
    execute(store, command)
    store.user = ""


def answer(quota: Quota, writer: str | None, command: str) -> str:
    """Return the refusal of a write; "" if it is proposed. Admins are None."""
    batch = Batch([command], is_read=False)
    batch.writer = writer
    return "" if quota.admit([batch]) else batch.replies[0]


def fill(quota: Quota, store: Store, user: str, command: str) -> int:
    """Write until the next write is refused; return how often."""
    for count in range(1000):
        if answer(quota, user, command.format(count)):
            return count
        write(store, user, command.format(count))
    raise AssertionError("never refused")


def test_one_user_fills_at_most_three_quarters_of_the_room(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), bytes_max=100_000)
    value = "x" * 800
    bob = fill(quota, store, "bob", f"set bob/{{}} {value}")
    assert 0.7 < store.bytes / 100_000 < 0.72  # 3/4 of 15/16
    held, share = store.accounts.bytes["bob"], 3 * (100_000 - 6250 - store.bytes)
    assert answer(quota, "bob", "set bob/0 1") == (
        f"Sorry, no room: bob holds {held} bytes, and a user may hold 3 times the room that is "
        f"left, {share} now. Nothing was done; delete or clear some keys first."
    )
    assert code_of(answer(quota, "bob", "set bob/0 1")) == "no-room"
    assert (
        quota.lacks == answer(quota, "bob", "delete bob/0") == answer(quota, "ann", "set a 1") == ""
    )
    ann = fill(quota, store, "ann", f"set ann/{{}} {value}")
    assert 0 < ann < bob  # and the next one still has room
    assert answer(quota, "eve", "set eve/0 1") == answer(quota, "eve", "lease 10") == ""
    write(store, "ann", "clear bob/")  # whoever deletes them
    assert answer(quota, "bob", "set bob/0 1") == ""
    assert quota.accounts() == {"ann": {"bytes": store.accounts.bytes["ann"], "leases": 0}}


def test_some_room_is_kept_for_admins(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), bytes_max=100_000)
    for user in [f"user{number}" for number in range(20)]:
        fill(quota, store, user, f"set {user}/{{}} 1") if store.bytes < 93_750 else None
    while not answer(quota, None, "set root 1"):
        assert store.bytes < 100_000
        write(store, "root", f"set root/{store.number} {'x' * 100}")
    assert quota.lacks == "bytes"
    assert "--max-bytes" in answer(quota, "bob", "set bob/0 1")


def test_leases_have_shares_of_their_own(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), leases_max=64)
    assert fill(quota, store, "bob", "lease 10") == 46  # of 60: 46 > 3 * 14
    assert answer(quota, "bob", "lease 10") == (
        "Sorry, no room: bob holds 46 leases, and a user may hold 3 times the room that is left, "
        "42 now. Nothing was done; release some first."
    )
    assert answer(quota, "bob", "set bob/0 1") == answer(quota, "ann", "lease 10") == ""
    write(store, "", "release lease-2")
    write(store, "", "release lease-3")
    assert answer(quota, "bob", "lease 10") == ""


def test_clients_without_a_login_have_one_share(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), bytes_max=100_000)
    fill(quota, store, "", f"set {{}} {'x' * 800}")
    assert "clients without a login hold" in answer(quota, "", "set a 1")
    assert answer(quota, "bob", "set b 1") == ""


def test_without_users_there_are_no_shares(store: Store) -> None:
    quota = Quota(store, DiskSpace(lambda: FREE), bytes_max=100_000)
    while quota.lacks == "":
        assert answers(quota, "set a 1") == [""]
        write(store, "", f"set {store.number} {'x' * 800}")
    assert store.bytes >= 100_000


@pytest.mark.parametrize(
    ("free", "whole", "is_low"),
    [
        (8 * DISK_LEFT_BYTES, LARGE, False),
        (8 * DISK_LEFT_BYTES - 1, LARGE, True),
        (47 << 20, 48 << 20, True),
    ],
)
def test_disk_is_low_long_before_it_is_nearly_full(
    store: Store, free: int, whole: int, is_low: bool
) -> None:
    assert Quota(store, DiskSpace(lambda: (free, whole))).is_disk_low == is_low


def test_a_leader_whose_disk_is_nearly_full_refuses_before_it_is(store: Store) -> None:
    disk, said = [DISK_LEFT_BYTES, LARGE], list[str]()
    quota = Quota(store, DiskSpace(lambda: (disk[0], disk[1])), say=said.append)
    quota.check_disk()
    assert (quota.lacks, said) == ("", [])
    disk[0] -= 1
    for _ in range(2):
        quota.check_disk()
        assert [line.partition(":")[0] for line in said] == ["[!] The disk is nearly full"]
    sets, delete = answers(quota, "set a 1", "delete a")
    assert (code_of(sets), "disk" in sets, delete) == ("no-room", True, "")
    disk[:] = [7 << 20, 48 << 20]  # a small disk: an eighth of it
    assert answers(quota, "set a 1") == [""]
    disk[0] = 5 << 20
    quota.check_disk()
    assert quota.lacks == "disk"


def test_follower_accepts_entries_on_less_disk_than_its_leader() -> None:
    def why(left: int) -> str:
        manager: Any = type("Manager", (), {"log_bytes": 0})
        room = DiskRoom(manager, lambda: 0, DiskSpace(lambda: (left, LARGE)))
        entries = [Entry(1, 3, "set a 5")]
        (refusal,) = room.refusals([AppendEntries("s2", "s1", 3, 0, 0, entries, 0, 1)])
        return refusal

    assert why(DISK_LEFT_BYTES // 2) == ""
    assert why(DISK_LEFT_BYTES // 2 - 1) == "my disk is nearly full, and takes no entries"
