"""Run the lab for real and assert every row of course program 002; exit with 0 if all hold."""

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

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import raftline
from labs.checking import Rows, end_with
from labs.leftovers import LabFolder
from labs.replicas.node import ordinal_of
from raftline.client import Client
from raftline_testing.nodes import processes
from raftline_testing.nodes.processes import Process, ports_in_a_row

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[2] / "src"
NAMES = ("node1", "node2", "node3")
# Without installed packages, and without Python's environment variables: the lab has no pins.
PYTHON = [sys.executable, "-S", "-E"]
# A user's own shell may start slowly, and leave a lock if it is killed.
NOBODYS_SHELL = {"SHELL": "/bin/sh", "HOME": "/nonexistent"}
SOCKET = f"raftline-check-{os.getpid()}"
DEADLINE_S = 60.0
HELD = re.compile(r'\n[0-9]+ value "(\w+-by-node\d)"\n')
SCRIPT = """
import sys; sys.path.insert(0, {source!r})
import raftline
with raftline.Node("node1", members={{"node1": {address!r}}}, dir={folder!r}) as node:
    node.wait_until_leader(timeout=60)
    value = raftline.Replicated("value", node=node)
    value.set("from a script")
    print(node.get_leader(), value.get())
"""


eventually = partial(processes.eventually, timeout_s=DEADLINE_S)


def must(holds: object, what: str) -> None:
    assert holds, what


class LabCluster:
    """Three nodes of node.py in a separate folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = ports_in_a_row(3)
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> LabCluster:
        return self

    def __exit__(self, *_: object) -> None:
        processes.end_all(self.processes.values())

    def start(self, name: str) -> None:
        command = [*PYTHON, str(HERE / "node.py"), "--node", name[-1],
                   "--base-port", str(self.port), "--dir", "."]  # fmt: skip
        process = Process(name, command, self.folder / f"{name}.console")
        process.working_folder = self.folder
        self.processes[name] = process.launch()

    def end(self, name: str, number: int) -> None:
        """Send a signal and wait until the process is gone."""
        self.processes.pop(name).terminate(number)

    def port_of(self, name: str) -> int:
        return self.port + int(name[-1]) - 1

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.port_of(name)}"

    def status(self, name: str) -> dict[str, Any]:
        try:
            text = self.ask(name, "status")
        except raftline.ClientError:
            return {}
        facts: dict[str, Any] = json.loads(text.partition(": ")[2])
        return facts

    def ask(self, name: str, command: str) -> str:
        with Client("127.0.0.1", self.port_of(name), timeout_s=5.0) as client:
            return client.request(command)

    def leader(self) -> str:
        """Wait until all running nodes follow one of them and have a vote; return its name."""

        def agreed() -> str:
            all_say = [self.status(name) for name in self.processes]
            names = {each.get("leader") for each in all_say}
            leader = names.pop() if len(names) == 1 else None
            may_fail = not any(each.get("recovering", True) for each in all_say)
            return leader if leader in self.processes and may_fail else ""

        return str(eventually(agreed, "one leader that all follow"))

    def text(self, name: str, kind: str) -> str:
        path = self.folder / f"{name}{kind}"
        return path.read_text("utf-8") if path.exists() else ""

    def value(self) -> str:
        """Return the value that all running nodes hold by now, in both files, or ""."""
        values = {self.held(name) for name in self.processes}
        return values.pop() if len(values) == 1 else ""

    def held(self, name: str) -> str:
        match = HELD.search(self.text(name, ".state_machine"))
        if match is None or f'"{match[1]}"\n' not in self.text(name, ".log"):
            return ""
        return match[1]

    def wait_for_value(self, after: int) -> int:
        """Wait until a leader has set a value after number `after`, and all running nodes hold it;
        return its number. On a busy machine there may have been more elections."""
        what = f"a value later than number {after} in .log and .state_machine of all that run"
        return int(eventually(lambda: max(0, ordinal_of(self.value()) - after), what)) + after

    def custom(self, name: str) -> list[str]:
        return self.text(name, "_CUSTOMLOG.log").splitlines()


def row_01(lab: LabCluster) -> None:
    """one script, three nodes; only --node differs"""
    usage = subprocess.run(
        [*PYTHON, str(HERE / "node.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    must("port of node 1 (8000)" in usage, "node.py does not begin at port 8000")
    for name in NAMES:
        lab.start(name)
    for name in NAMES:
        status = eventually(lambda name=name: lab.status(name), f"an answer at {lab.address(name)}")
        must(status["name"] == name, f"{lab.address(name)} is {status['name']}, not {name}")


def row_04(lab: LabCluster) -> None:
    """each custom log says who leads"""
    expected = f"leader is now: {lab.address(lab.leader())}"
    for name in NAMES:
        eventually(lambda name=name: lab.custom(name)[-1:] == [expected], f"{expected} in {name}'s")


def row_05(lab: LabCluster) -> None:
    """2a: the first leader's value is in all .log and .state_machine files"""
    lab.leader()
    lab.wait_for_value(0)


def row_03(lab: LabCluster) -> None:
    """each node has .log, .storage, .state_machine and a custom log"""
    for name in NAMES:
        must("@setnx value " in lab.text(name, ".log"), f"no command in {name}.log")
        for word in ("term ", "vote "):
            must(word in lab.text(name, ".storage"), f"no {word} in {name}.storage")
        must("keys 1\n" in lab.text(name, ".state_machine"), f"no value in {name}.state_machine")
        must(lab.custom(name), f"nothing in {name}_CUSTOMLOG.log")


def row_06(lab: LabCluster) -> None:
    """2b: Ctrl-C at the leader, a second value on both that live; kill -9, a third"""
    number = lab.wait_for_value(0)
    old = lab.leader()  # asked last, so that the leader is ended
    lab.end(old, signal.SIGINT)
    lab.wait_for_value(number)
    see_it_return(lab, old, knows_term=True)
    number = lab.wait_for_value(0)
    killed = lab.leader()
    lab.end(killed, signal.SIGKILL)
    lab.wait_for_value(number)
    lab.start(killed)
    for name in {*NAMES} - {old, killed}:  # these were restarted, and named the leader then
        eventually(lambda name=name: len(lab.custom(name)) >= 3, f"three leaders in {name}'s log")
        lines = lab.custom(name)
        must(all(one != two for one, two in itertools.pairwise(lines)), f"no change: {lines}")


def row_07(lab: LabCluster) -> None:
    """2c: a leader that returns follows, in the later term, and holds the new value"""
    number = lab.wait_for_value(0)
    old = lab.leader()  # asked last, so that the leader is ended
    lab.end(old, signal.SIGKILL)
    lab.wait_for_value(number)
    see_it_return(lab, old)


def see_it_return(lab: LabCluster, returned: str, *, knows_term: bool = False) -> None:
    """Restart a former leader; check that it follows, in a later term, and holds the value.

    A node that handed over before it stopped already knew the later term.
    """
    missed = lab.wait_for_value(0)
    before = int(lab.text(returned, ".storage").split(" term ")[1].split()[0])
    lab.start(returned)
    follows = eventually(
        lambda: (
            status
            if (status := lab.status(returned)).get("role") == "follower" and status["leader"]
            else {}
        ),
        f"{returned} follows",
    )
    if not knows_term:
        must(follows["term"] > before, f"term {follows['term']} is not above {before}")
    lab.wait_for_value(missed - 1)
    reply = lab.ask(returned, "get value read local").removeprefix('GET response: "')
    must(ordinal_of(reply) >= missed, f"{returned} answers {reply}, and missed number {missed}")


def row_08(lab: LabCluster) -> None:
    """a wiped state comes back from the log"""
    leader = lab.port_of(lab.leader())
    others = [("127.0.0.1", lab.port + number) for number in range(3)]
    with Client("127.0.0.1", leader, timeout_s=30.0, follow=True, also=others) as client:
        client.request('set kept "by the log"')
    for name in NAMES:
        eventually(lambda name=name: " kept " in lab.text(name, ".state_machine"), "kept")
    for name in list(lab.processes):
        lab.end(name, signal.SIGTERM)
    for name in NAMES:
        (lab.folder / f"{name}.state_machine").unlink()
        lab.start(name)
    lab.leader()
    for name in NAMES:
        eventually(
            lambda name=name: ' kept "by the log"\n' in lab.text(name, ".state_machine"),
            f"the state of {name}, made again from its log",
        )


def row_09(lab: LabCluster) -> None:
    """COOLEST_HACKATHON: a node of five that slept never gives the old value"""
    process = subprocess.run(
        [*PYTHON, str(HERE / "lab.py"), "--base-port", str(ports_in_a_row(5)), "story"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    must(process.returncode == 0, process.stdout + process.stderr)
    must("It never gave the old value" in process.stdout, process.stdout)


def row_11(lab: LabCluster) -> None:
    """the bundle holds .log, .storage, .state_machine and custom logs"""
    run_lab(lab, "bundle", "CC_E4_TEST")
    with zipfile.ZipFile(lab.folder / "CC_E4_TEST.zip") as archive:
        packed = {Path(name).name for name in archive.namelist()}
    kinds = (".log", ".storage", ".state_machine", "_CUSTOMLOG.log")
    expected = {f"{name}{kind}" for name in NAMES for kind in kinds}
    must(packed == expected, f"{sorted(packed ^ expected)}")


def row_10(lab: LabCluster) -> None:
    """stop ends every node, clean removes the files, and nothing makes them again"""
    refused = run_lab(lab, "clean", status=1)
    must("still run" in refused, refused)
    run_lab(lab, "stop")
    for process in lab.processes.values():
        process.ended(DEADLINE_S)
    run_lab(lab, "clean")
    time.sleep(1.5)  # three election timeouts: a running node would have written by then
    left = sorted(path.name for path in lab.folder.glob("node*") if path.suffix != ".console")
    must(not left, f"there again: {left}")


def row_02(lab: LabCluster) -> None:
    """six panes, three nodes left and three logs right; stop_terminals.sh ends all of it"""
    if shutil.which("tmux") is None:
        print("-- 002-02 no tmux here: the six panes were not opened")
        return
    shell = {
        **os.environ, **NOBODYS_SHELL, "LAB_SOCKET": SOCKET, "LAB_DIR": str(lab.folder),
        "LAB_PORT": str(lab.port), "PYTHON": sys.executable,
    }  # fmt: skip
    terminal = ["tmux", "-L", shell["LAB_SOCKET"]]
    try:
        ended = run(["bash", str(HERE / "setup_terminals.sh")], shell)
        must(ended.returncode == 0, ended.stdout + ended.stderr)

        def panes() -> list[tuple[bool, str]]:
            form = "#{pane_left} #{pane_current_command}"
            lines = run([*terminal, "list-panes", "-t", "lab", "-F", form], shell).stdout
            return [(line.split()[0] == "0", line.split()[1]) for line in lines.splitlines()]

        def all_run() -> bool:
            left = [command for is_left, command in panes() if is_left]
            right = [command for is_left, command in panes() if not is_left]
            return right == ["tail"] * 3 and [c.startswith("python") for c in left] == [True] * 3

        eventually(all_run, "three nodes on the left, three tails on the right")
        eventually(
            lambda: all("leader is now:" in "".join(lab.custom(name)) for name in NAMES),
            "a leader in each custom log",
        )
        for number, name in enumerate(NAMES):  # from top to bottom
            for pane, text in ((number, f"==> {name}: "), (number + 3, f"{name}_CUSTOMLOG.log")):
                show = [*terminal, "capture-pane", "-p", "-S", "-", "-t", f"lab:0.{pane}"]
                eventually(
                    lambda show=show, text=text: text in run(show, shell).stdout.replace("\n", ""),
                    f"{text} in pane {pane}",
                )
        must("leader is now: 127.0.0.1:" in run(show, shell).stdout, "no leader on the right")
    finally:
        ended = run(["bash", str(HERE / "stop_terminals.sh")], shell)
    must("stopped: node1 node2 node3" in ended.stdout, ended.stdout + ended.stderr)
    must(run([*terminal, "list-sessions"], shell).returncode != 0, "tmux still runs")
    must("nothing ran" in run_lab(lab, "stop"), "a node outlived its terminal")


def row_12(lab: LabCluster) -> None:
    """runs on the Python that is installed, with nothing else"""
    must(not list(HERE.glob("*requirements*")), "there are requirements")
    foreign = subprocess.run(
        [
            *PYTHON,
            "-c",
            "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import raftline;"
            " raftline.Node; print(sorted({n.partition('.')[0] for n in sys.modules}"
            " - set(sys.stdlib_module_names) - {'raftline', '__main__'}))",
            str(SOURCE),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    must(foreign == "[]", f"loaded from elsewhere: {foreign}")


def row_13(lab: LabCluster) -> None:
    """a node, who leads, and a replicated value, from a script"""
    address = f"127.0.0.1:{ports_in_a_row(1)}"
    folder = str(lab.folder / "script")
    script = SCRIPT.format(source=str(SOURCE), address=address, folder=folder)
    ended = run([*PYTHON, "-c", script], dict(os.environ))
    must(ended.stdout == f"{address} from a script\n", ended.stdout + ended.stderr)


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def run_lab(lab: LabCluster, *arguments: str, status: int = 0) -> str:
    """Run lab.py on the lab's folder and return its output."""
    ended = run(
        [*PYTHON, str(HERE / "lab.py"), "--dir", str(lab.folder), *arguments], dict(os.environ)
    )
    output = ended.stdout + ended.stderr
    must(ended.returncode == status, f"lab.py {' '.join(arguments)}: {output}")
    return output


ROWS: tuple[Callable[[LabCluster], None], ...] = (
    row_01, row_04, row_05, row_03, row_06, row_07, row_08, row_11, row_10, row_02, row_09, row_12,
    row_13,
)  # fmt: skip


def main() -> int:
    names = {row: "002-" + row.__name__.removeprefix("row_") for row in ROWS}
    rows = Rows(*names.values())
    ends = ("tmux", "-L", SOCKET, "kill-server") if shutil.which("tmux") else ()
    with LabFolder(*ends) as scene, LabCluster(scene.folder) as lab:
        for row, name in names.items():
            held = False
            with rows.row(name, what=(row.__doc__ or "").strip()):
                row(lab)
                held = True
            if not held and row in ROWS[:6]:  # the others need the results of these
                for console in sorted(lab.folder.glob("*.console")):
                    lines = console.read_text().splitlines()
                    done = [line for line in lines if "Connection from" not in line]
                    print("\n".join([f"--- {console.name}", *done[-60:]]), file=sys.stderr)
                break
    return rows.finish()


if __name__ == "__main__":
    end_with(main)
