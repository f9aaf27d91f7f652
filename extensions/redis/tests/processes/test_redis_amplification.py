"""No command of Redis makes a node keep or compute very much for a few bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from raftline.redis.harness.redis_wire import framed
from raftline.redis.resp.commands import COMMANDS
from raftline_testing.fuzzing import amplification
from raftline_testing.nodes.cluster import SERVER, Cluster

pytestmark = pytest.mark.needs("/proc")
PROGRAM = """
import runpy, sys
{fault}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
FAULT = """
from raftline.redis import redis_serving
from raftline.redis.resp import request_ledger
redis_serving.ANSWER_BYTES = request_ledger.ANSWER_BYTES = 1 << 40
"""  # no reply is too long


def test_the_search_knows_the_commands_of_redis() -> None:
    assert COMMANDS in [table for table, _ in amplification.tables()]


@pytest.mark.parametrize("end", ["MATCH", b"\xff"], ids=["text", "bytes"])
def test_growing_value_in_a_transaction_keeps_no_memory(tmp_path: Path, end: str | bytes) -> None:
    """Each length is a new one, for which the allocator finds no freed place."""
    data = framed("MULTI") + framed("APPEND", "wide", end) * 1023 + framed("EXEC")
    with Cluster(tmp_path, 1, "--pace", "fast") as cluster:
        (node,) = cluster.start("--new").nodes
        measured = amplification.Measured(node)
        assert measured.excess_of(amplification.Example("APPEND", data, 1)) == ""


def test_missing_bound_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node that counts no replies has a fault, which must not stay hidden from the fuzzer."""
    with Cluster(tmp_path, 1, "--pace", "fast") as cluster:
        node = cluster["s1"]
        node.program = [sys.executable, "-c", PROGRAM.format(fault=FAULT), str(SERVER)]
        node.start("--new")
        assert amplification.carried_out(node, 300.0, 58) == 1
    assert " are right; SEED=58" in capsys.readouterr().out
