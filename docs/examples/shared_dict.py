"""Three processes share a dict: `python shared_dict.py node1`, node2, node3. Type; kill any one."""
import sys

import raftline

first_port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
members = {f"node{n}": f"127.0.0.1:{first_port + n - 1}" for n in (1, 2, 3)}
with raftline.Node(sys.argv[1], members=members, dir="logs") as node:
    said = raftline.ReplicatedDict("said", node=node)
    for line in sys.stdin:
        said[node.name] = line.strip()
        print(said.copy(), flush=True)
