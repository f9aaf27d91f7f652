"""The Python calls for a request, at the leader and at a follower, which do not depend on the load
of the machine.

Three nodes of this clone count the calls of their functions under a load, once all connections
exist. Heartbeats are included, a few calls for each request.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import results
from generator import BenchError, Load
from rows import ROWS, Setting
from script import end_with
from slow_ways import KEYS, CountedNodes, Function, in_order

ROWS_COUNTED = ("set, 1", "set, 64", "set, 8 x 16 in flight", "get, 1", "get, 64")
REQUESTS = {1: 2_000, 8: 20_000, 64: 10_000}  # by connections
SETTLE_S = 0.5


def counted(row: Setting, requests: int, folder: Path, base_port: int) -> list[list[Function]]:
    """Return the functions that the leader calls, then those of each follower."""
    options = ("--pace", "class")  # fewer heartbeats among the requests
    with CountedNodes(folder, base_port, options=options) as nodes:
        nodes.fill(Load("load", connections=1, keys=KEYS))
        leader = nodes.wait_for_leader()
        load = Load(row.what, row.connections, row.in_flight, requests=requests, keys=KEYS)
        time.sleep(SETTLE_S)
        for pid in nodes.pids():
            os.kill(pid, signal.SIGUSR1)
        nodes.begin(load).result()
        for pid in nodes.pids():  # before a node ends, after which the others begin an election
            os.kill(pid, signal.SIGUSR2)
        order = sorted(nodes.processes, key=lambda number: number != leader)
        for number in order[1:] + order[:1]:  # the leader last, so that no node stands for election
            nodes.end(number)
        return [in_order(nodes.counts(number).read_text(), requests) for number in order]


def total(functions: list[Function]) -> float:
    return sum(each.calls for each in functions)


def by_module(functions: list[Function]) -> list[str]:
    """Return a line for each module, the one with the most calls first."""
    modules: dict[str, float] = {}
    for each in functions:
        modules[each.module] = modules.get(each.module, 0) + each.calls
    in_order = sorted(modules.items(), key=lambda row: -row[1])
    return [f"{calls:9.2f}  {module}" for module, calls in in_order]


def by_function(functions: list[Function]) -> list[str]:
    return [f"{each.calls:9.2f}  {each.module}.py:{each.line} {each.name}" for each in functions]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS_COUNTED, default=ROWS_COUNTED)
    parser.add_argument("--requests", type=int, help="of each row (default: 2,000 to 20,000)")
    parser.add_argument("--by", choices=("module", "function"), help="list these as well")
    parser.add_argument("--dir", type=Path, default=results.FOLDER)
    parser.add_argument("--base-port", type=int, default=29_700)
    arguments = parser.parse_args(argv)
    lists = {"module": by_module, "function": by_function}
    for name in arguments.rows:
        requests = arguments.requests or REQUESTS[ROWS[name].connections]
        try:
            leader, *followers = counted(ROWS[name], requests, arguments.dir, arguments.base_port)
        except BenchError as error:
            print(error, file=sys.stderr)
            return 1
        mean = sum(map(total, followers)) / len(followers)
        print(f"{name:<24}leader {total(leader):8.1f}   a follower {mean:8.1f}", flush=True)
        if arguments.by:
            for who, functions in (("leader", leader), ("follower", followers[0])):
                print(who, *lists[arguments.by](functions), sep="\n")
    return 0


if __name__ == "__main__":
    end_with(main)
