"""Three processes share a dict: `python shared_dict.py node1`, node2, node3. Type; kill any one."""

import argparse
import sys

import raftline


def share(name: str, first_port: int) -> None:
    members = {f"node{n}": f"127.0.0.1:{first_port + n - 1}" for n in (1, 2, 3)}
    with raftline.Node(name, members=members, dir="logs") as node:
        said = raftline.ReplicatedDict("said", node=node)
        for line in sys.stdin:
            said[node.name] = line.strip()
            print(said.copy(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("node1", "node2", "node3"))
    parser.add_argument("first_port", type=int, nargs="?", default=8000, help="of node1 (8000)")
    arguments = parser.parse_args()
    try:
        share(arguments.name, arguments.first_port)
    except (raftline.NodeError, raftline.ClientError) as problem:
        sys.exit(f"shared_dict.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
