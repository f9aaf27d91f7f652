"""One node of the lab: `python node.py --node 1`, and the same with 2 and 3 in other terminals.

The elected node sets the shared value: the first leader to "first-by-node2", say, the next one to
"second-by-node1". All nodes write down who leads, in nodeN_CUSTOMLOG.log.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))  # a clone needs no installing

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import os
import signal
import time

import raftline
from raftline.common.process import signals

WORDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
CHECK_S = 5.0  # how long a follower looks for the value that a new leader sets


def ordinal_of(value: object) -> int:
    """Return 2 for "second-by-node1", and 0 for any value that no node has set."""
    word = str(value).partition("-by-")[0]
    if word.endswith("th") and word[:-2].isdigit():
        return int(word[:-2])
    return WORDS.index(word) + 1 if word in WORDS else 0


def next_value(old: object, name: str) -> str:
    """Return the value that the leader `name` sets after the value `old`."""
    number = ordinal_of(old)
    return f"{WORDS[number] if number < len(WORDS) else f'{number + 1}th'}-by-{name}"


class ElectionReaction:
    """The reaction of the lab's node to an election."""

    def __init__(self, node: raftline.Node, folder: Path) -> None:
        self.node = node
        self.value = raftline.Replicated("value", node=node)
        self.custom_log = folder / f"{node.name}_CUSTOMLOG.log"
        node.on_leader_change(self.tell)
        node.on_leader(self.set_value)
        node.on_leader_change(self.look)

    def tell(self, leader: raftline.api.Leader) -> None:
        with self.custom_log.open("a", encoding="utf-8") as log:
            log.write(f"leader is now: {leader}\n")
        self.say(f"leader is now: {leader} ({leader.name})")

    def set_value(self) -> None:
        """Set the next value atomically: another leader elected meanwhile sets another value."""
        try:
            new = self.value.update(lambda old: next_value(old, self.node.name))
            self.say(f"I lead, and have set the value: {new}")
        except raftline.ClientError as problem:  # deposed at once, perhaps: the next leader sets it
            self.say(f"I led, and could not tell whether I set the value: {problem}")

    def look(self, leader: raftline.api.Leader) -> None:
        """Print the value that another leader sets, as soon as it does, while it leads."""
        if self.node.is_leader:
            return
        end_s = time.monotonic() + CHECK_S
        try:
            while self.node.get_leader() == leader and time.monotonic() < end_s:
                value = self.value.get()
                if str(value).endswith(f"-by-{leader.name}"):
                    self.say(f"I follow {leader.name}, and the value is: {value}")
                    return
                time.sleep(0.1)
        except raftline.ClientError as problem:
            if self.node.is_running:
                self.say(f"I can't read the value: {problem}")

    def say(self, text: str) -> None:
        print(f"==> {self.node.name}: {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--node", type=int, required=True, help="which one: 1, 2 or 3")
    parser.add_argument("--nodes", type=int, default=3, help="how many there are (%(default)s)")
    parser.add_argument("--base-port", type=int, default=8000, help="port of node 1 (%(default)s)")
    parser.add_argument("--dir", type=Path, default=Path(), help="where the files go (here)")
    parser.add_argument("--pace", choices=("fast", "human"), default="fast")
    arguments = parser.parse_args()
    if not 1 <= arguments.node <= arguments.nodes:
        parser.error(f"--node is a number from 1 to {arguments.nodes}")
    members = {
        f"node{number}": f"127.0.0.1:{arguments.base_port + number - 1}"
        for number in range(1, arguments.nodes + 1)
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # This matters if the checker has started it.
    signals.end_with_starter(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with (
            signals.raised(),
            raftline.Node(
                f"node{arguments.node}",
                members=members,
                dir=arguments.dir,
                pace=arguments.pace,
                console=sys.stdout,
                state_file_every=0.1,
            ) as node,
        ):
            ElectionReaction(node, arguments.dir)
            while node.is_running:
                time.sleep(0.5)
            return node.exit_status or 0
    except raftline.NodeError as problem:
        print(f"[!] {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
