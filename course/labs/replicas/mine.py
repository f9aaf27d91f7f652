"""A program that shares a value with two others: `PYTHONPATH=../../../src python3 mine.py node1`.

The nodes of node.py must not be running: this program replaces them, on their files.
"""

import sys

import raftline

if len(sys.argv) != 2:
    sys.exit("usage: mine.py NAME, one of node1, node2, node3")
members = {"node1": "127.0.0.1:8000", "node2": "127.0.0.1:8001", "node3": "127.0.0.1:8002"}
with raftline.Node(sys.argv[1], members=members, dir=".") as node:
    leader = node.wait_for_leader()
    value = raftline.Replicated("value", node=node)
    print(f"{leader} leads, the value is {value.get()}", flush=True)
    for line in sys.stdin:
        value.set(line.strip())
        print(f"{node.get_leader()} leads, the value is {value.get()}", flush=True)
