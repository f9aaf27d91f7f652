"""Stands in for server.py in the tests of `raftline up`: answers only `status`.

Files next to its configuration change its behaviour: `NAME.refuses` makes it refuse to start,
`NAME.deaf` makes it ignore SIGTERM. s1 leads, in term 4, unless the file `s1.follows` exists.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "src"))

from raftline.common.process import signals


def main() -> int:
    name, port, _, folder = sys.argv[1:5]
    if (Path(folder) / f"{name}.refuses").exists():
        print(f"[!] port {port} is in use", file=sys.stderr)
        return 2
    if (Path(folder) / f"{name}.deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # a clean stop
    signals.end_with_starter(lambda: os._exit(0))
    print(f"[*] {name} started with {' '.join(sys.argv[5:])}", flush=True)
    print(f"\x1b[2J{name} steers the terminal", flush=True)
    leads = name == "s1" and not (Path(folder) / "s1.follows").exists()
    facts = {"name": name, "role": "leader" if leads else "follower", "term": 4}
    facts |= {"leader": "s1", "last_index": 1, "commit_index": 1, "last_applied": 1}
    answer = f"{name}@STATUS response: {json.dumps({**facts, 'pid': os.getpid()})}\n".encode()
    with socket.create_server(("127.0.0.1", int(port))) as listening:
        connections = []  # connections stay open, so that a client sees this process end
        while True:
            connection, _ = listening.accept()
            connections.append(connection)
            connection.sendall(answer)


if __name__ == "__main__":
    raise SystemExit(main())
