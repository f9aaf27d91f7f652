"""The lab's commands other than its nodes: `python lab.py stop | clean | bundle NAME | story`."""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import contextlib
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable

import raftline
from labs.checking import end_with
from labs.leftovers import LabFolder, holders
from raftline.client import Client
from raftline_testing.nodes.processes import Process, end_all

NODE = Path(__file__).with_name("node.py")
SUBMITTED = ("node*.log", "node*.storage", "node*.state_machine")  # node*_CUSTOMLOG.log is a .log
MADE = (
    *SUBMITTED, "node*.lock", "node*.state_machine.*", "node*.tmp", "node*.damaged-*",
    ".node*.born", "server-configuration.txt",
)  # fmt: skip
STOP_S = 10.0
BEGIN_S = 60.0
KEY = "COOLEST_HACKATHON"


def running(folder: Path) -> dict[str, int]:
    """Return the nodes that run on the files in `folder`, and their process ids; 0 for a node that
    has the lock, but has not yet written its id there."""
    return holders(folder.glob("node*.lock"))


def stop(folder: Path) -> None:
    """End every node that runs on the files in `folder`, and wait until it is gone."""
    names: set[str] = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        signalled = {0}  # kill(0) would mean the whole process group
        end_s = time.monotonic() + STOP_S
        while (found := running(folder)) and time.monotonic() < end_s:
            names |= {*found}
            for process in {*found.values()} - signalled:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            signalled |= {*found.values()}
            time.sleep(0.05)
    print(f"stopped: {' '.join(sorted(names)) or 'nothing ran'}")


def clean(folder: Path) -> int:
    """Remove the nodes' files, unless a node is still running."""
    still = running(folder)
    if still:
        print(f"{' '.join(still)} still run(s): python lab.py stop, then clean", file=sys.stderr)
        return 1
    paths = {path for pattern in MADE for path in folder.glob(pattern)}
    for path in paths:
        path.unlink()
    print(f"removed {len(paths)} files")
    return 0


def bundle(folder: Path, name: str) -> int:
    """Pack the files to hand in into NAME.zip, which must not exist yet."""
    paths = sorted({path for pattern in SUBMITTED for path in folder.glob(pattern)})
    if not paths:
        print(f"there is nothing to bundle in {folder.resolve()}: run the nodes", file=sys.stderr)
        return 1
    target = folder / f"{name}.zip"
    try:
        with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, f"{name}/{path.name}")
    except FileExistsError:
        print(f"{target} is there already; remove it, or choose another name", file=sys.stderr)
        return 1
    print(f"{target}: {len(paths)} files")
    return 0


def story(base_port: int) -> int:
    """Run five nodes, one of which sleeps through a change. Ask it as soon as it is back."""
    with LabFolder() as scene:
        folder = scene.folder
        nodes = {number: start(number, base_port, folder) for number in range(1, 6)}
        try:
            return tell(nodes, base_port, folder)
        except raftline.ClientError as problem:
            ports = f"{base_port}-{base_port + 4}"
            print(f"lab.py: five nodes on ports {ports}: {problem}", file=sys.stderr)
            return 1
        finally:
            end_all(nodes.values())


def tell(nodes: dict[int, Process], base_port: int, folder: Path) -> int:
    addresses = [f"127.0.0.1:{base_port + number}" for number in range(5)]
    coolest = raftline.Replicated(KEY, node=raftline.connect(",".join(addresses), timeout=30.0))
    if not all_of(nodes, base_port, is_up):  # other programs on these ports keep their keys
        return 1
    coolest.set("somerandomhackathon")
    if not all_of(nodes, base_port, has_registered):
        return 1
    print(f"1. all five have registered: {KEY} = {coolest.get()}")
    nodes[5].kill()
    coolest.set("HashCode")
    print(f"2. node5 has failed; now {KEY} = {coolest.get()}")
    nodes[5] = start(5, base_port, folder)
    answers: dict[str, int] = {}
    end_s = time.monotonic() + 30
    while '"HashCode"' not in answers and time.monotonic() < end_s:
        reply = answer(base_port + 4, f"get {KEY} read index")
        answers[reply] = answers.get(reply, 0) + 1
    for reply, times in answers.items():
        print(f"3. node5 is back, and answers: {reply} ({times} times)")
    stale = any("somerandom" in reply for reply in answers)
    print("   It gave the old value!" if stale else "   It never gave the old value.")
    return 1 if stale or '"HashCode"' not in answers else 0


def start(number: int, base_port: int, folder: Path) -> Process:
    """Start a node of five, which ends with this process; don't wait. Show only its errors."""
    command = [sys.executable, str(NODE), "--node", str(number), "--nodes", "5",
               "--base-port", str(base_port), "--dir", str(folder)]  # fmt: skip
    return Process(f"node{number}", command, stderr=None).launch(stdout=subprocess.DEVNULL)


def all_of(nodes: dict[int, Process], base_port: int, holds: Callable[[int, int], bool]) -> bool:
    """Wait until this holds for the port and process of each node; False, with a line that
    says why, if it never will."""
    end_s = time.monotonic() + BEGIN_S
    ports = {base_port + number - 1: node for number, node in nodes.items()}
    while not all(holds(port, node.pid) for port, node in ports.items()):
        ended = [node.name for node in nodes.values() if not node.is_running]
        if ended or time.monotonic() > end_s:
            why = "could not start: see above" if ended else "not all have a vote yet"
            message = f"lab.py: {' '.join([*ended, why])}; try another --base-port"
            print(message, file=sys.stderr)
            return False
        time.sleep(0.05)
    return True


def is_up(port: int, process: int) -> bool:
    """Whether this process answers on this port."""
    return f'"pid": {process},' in answer(port, "status")


def has_registered(port: int, _: int) -> bool:
    """Whether this node has the value, and a vote. A node that started after the first election
    gets its vote once it has caught up. Until then none of the others may fail."""
    return answer(
        port, f"get {KEY} read local"
    ) == '"somerandomhackathon"' and '"recovering": false' in answer(port, "status")


def answer(port: int, command: str) -> str:
    """Return the answer of the node on this port, or why there is none."""
    try:
        with Client("127.0.0.1", port, timeout_s=5.0) as client:
            return client.request(command).removeprefix("GET response: ")
    except raftline.ClientError as problem:
        return f"no answer: {type(problem).__name__}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path(), help="where the files are (here)")
    parser.add_argument("--base-port", type=int, default=8010, help="of story: node 1's (8010)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("stop", help="end every node that runs here")
    verbs.add_parser("clean", help="remove what the nodes have written")
    verbs.add_parser("bundle", help="zip what is handed in").add_argument("name", metavar="NAME")
    verbs.add_parser("story", help=f"{KEY}: one node of five sleeps through a change")
    arguments = parser.parse_args()
    if not 1 <= arguments.base_port <= 65_531:
        parser.error("--base-port is a number from 1 to 65531")
    match arguments.verb:
        case "stop":
            stop(arguments.dir)
        case "clean":
            return clean(arguments.dir)
        case "bundle":
            return bundle(arguments.dir, arguments.name)
        case "story":
            return story(arguments.base_port)
    return 0


if __name__ == "__main__":
    end_with(main)
