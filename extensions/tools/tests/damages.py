"""A node's files, whole and damaged in each way that fsck knows."""

from __future__ import annotations

from raftline.raft.membership import all_vote
from raftline.storage.snapshot_lines import MachineState, format_snapshot
from raftline.storage.start_plan import Cure
from raftline.wire.key_stat import with_facts
from raftline_testing.files.node_files import GOOD, MEMBERS, SECOND, THIRD, log_file, storage_file

WHOLE = {"s1.log": GOOD, "s1.storage": storage_file(5, "s2", (5, 2)), ".s1.born": b"s1\n"}


def snapshot(index: int, term: int) -> bytes:
    state = MachineState(
        index, term, all_vote(MEMBERS), ['{"forgotten": false}'], {"a": with_facts("4", 2)}
    )
    return b"".join(format_snapshot(state))


BEHIND = log_file(THIRD, base=b"3 1 base s1=localhost:10000 s2=localhost:10001\n")
COMPACTED = {**WHOLE, "s1.log": BEHIND, "s1.state_machine": snapshot(3, 1)}
DAMAGES = {
    "a torn tail": (
        {"s1.log": GOOD + b"6 2 set torn"},
        "s1.log ends in 12 torn bytes, after entry 5. A batch that was never acknowledged",
        Cure.CUT_TAIL,
        False,
    ),
    "a snapshot of a later term": (
        {**COMPACTED, "s1.state_machine": snapshot(9, 6)},
        "s1.storage says term 5, but s1.state_machine has an entry of term 6. One of the two is",
        Cure.DROP_STORAGE,
        True,
    ),
    "a flipped byte": (
        {"s1.log": GOOD.replace(b"b 30", b"b 31")},
        "s1.log, line 6 (byte 135): a checksum that does not match the lines above it. Entries "
        "that were acknowledged are damaged; sound before it: entries up to 2.",
        Cure.CUT_LOG,
        True,
    ),
    "a broken base line": (
        {"s1.log": GOOD.replace(b"base", b"bass", 1).replace(b"0 0 bass", b"0 0 base x", 1)},
        "s1.log, line 1 (byte 0): ",
        Cure.CUT_LOG,
        True,
    ),
    "an older log": (
        {"s1.log": GOOD[: GOOD.index(b"3 1 ")]},
        "s1.log ends at entry 2, but entry 5 was synced before. It was cut, or replaced by an",
        Cure.TAKE_VOTE,
        True,
    ),
    "no storage": (
        {"s1.storage": b""},
        "s1.storage is damaged, since it does not consist of two lines. The node's term",
        Cure.DROP_STORAGE,
        True,
    ),
    "an older storage": (
        {"s1.storage": storage_file(1, mark=(2, 1))},
        "s1.storage says term 1, but s1.log has an entry of term 2. One of the two is from another",
        Cure.DROP_STORAGE,
        True,
    ),
    "the log of another cluster": (
        {
            "s1.log": log_file(SECOND.replace(b"3 1", b"1 1"), base=b"0 0 base s8=h:1 s9=h:2\n"),
            "s1.storage": storage_file(5, "s2", (1, 1)),
        },
        "s1.log is of a cluster that s1 never was a member of (s8 s9).",
        Cure.NONE,
        False,
    ),
    "another node's storage": (
        {"s1.storage": storage_file(5, name="s2")},
        "s1.storage belongs to node 's2', not to s1",
        Cure.NONE,
        False,
    ),
    "a newer version's storage": (
        {"s1.storage": storage_file(5, "s2", (5, 2), "whole cluster 9f86d081884c7d65 level 2")},
        "s1.storage is not understood: line 1; was it written by a newer version? Start the node",
        Cure.NONE,
        False,
    ),
    "a snapshot in a form that is unknown": (
        {"s1.state_machine": snapshot(3, 1).replace(b" snapshot ", b" snapshot2 ")},
        "s1.state_machine, line 1: not `INDEX TERM snapshot MEMBERS`; a newer version may have "
        "written it. It may have held more than the log does: ",
        Cure.DROP_SNAPSHOT,
        True,
    ),
    "a rotten snapshot that is not needed": (
        {"s1.state_machine": snapshot(3, 1).replace(b"2 a 4", b"2 a 5")},
        "s1.state_machine, line 7: the closing line does not match the lines above it. The log "
        "holds all its entries, so it is not needed",
        Cure.DROP_SNAPSHOT,
        False,
    ),
    "a rotten snapshot that may hold more": (
        {"s1.state_machine": snapshot(9, 2).replace(b"2 a 4", b"2 a 5")},
        "s1.state_machine, line 7: the closing line does not match the lines above it. It may have "
        "held more than the log does",
        Cure.DROP_SNAPSHOT,
        True,
    ),
    "a rotten snapshot that is needed": (
        {"s1.log": BEHIND, "s1.state_machine": snapshot(3, 1)[:-9]},
        "s1.state_machine, line 7: the file ends too early. The log lacks its entries: the node",
        Cure.DROP_LOG_AND_SNAPSHOT,
        True,
    ),
    "a snapshot that is gone": (
        {"s1.log": BEHIND},
        "s1.log begins after entry 3 of term 1. s1.state_machine, the snapshot with the earlier",
        Cure.DROP_LOG_AND_SNAPSHOT,
        True,
    ),
}
