"""The sheets' commands, carried out as a student types them, in a fresh handout."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from course.tests.sheets import sheet

from labs.handout import make_handout
from raftline.common.config import FILE_NAME
from raftline_testing.nodes.processes import (
    Process,
    end_all,
    eventually,
    free_ports,
    ports_in_a_row,
)

BLOCK = re.compile(r"^```sh\n(.+?)^```$", re.MULTILINE | re.DOTALL)
TRIAL_S = 8  # in the place of half a minute


def commands(lab: str) -> list[str]:
    """Return the commands of a sheet's Run, without remarks."""
    run = sheet(lab).partition("\n## Run\n")[2].partition("\n## Look\n")[0]
    lines = [line for block in BLOCK.findall(run) for line in block.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines]


class Student:
    """A person with a handout and as many terminals as needed."""

    def __init__(self, lab: str, folder: Path) -> None:
        self.left = commands(lab)
        self.folder = folder
        self.terminals: list[Process] = []
        self.ports: dict[str, str] = {}  # of the sheet, and those that are free here
        make_handout(lab, folder)

    def _next(self, beginning: str) -> str:
        """Take the next command of the sheet, which begins so."""
        command = self.left.pop(0)
        assert command.startswith(beginning), command
        for port, free in self.ports.items():
            command = re.sub(rf"(?<!\d){port}(?!\d)", free, command)
        return re.sub(r"(^|=\S+ )python3 ", lambda at: f"{at[1]}{sys.executable} ", command)

    def starts(self, beginning: str, at: str = ".") -> Process:
        """Type the next command, which continues, in a terminal of its own."""
        command = f"cd '{self.folder / at}' && exec env {self._next(beginning)}"
        terminal = terminal_of(beginning, command)
        self.terminals.append(terminal)
        return terminal.launch()

    def types(self, beginning: str, at: str = ".", typed: str = "", status: int = 0) -> str:
        """Type the next command and return what it shows."""
        ran = subprocess.run(
            self._next(beginning),
            shell=True,
            cwd=self.folder / at,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = ran.stdout + ran.stderr
        assert (ran.returncode, "Traceback" in said) == (status, False), said
        return said


def terminal_of(name: str, command: str) -> Process:
    """Return a terminal: as long as it is open, what runs in it finds no end of its input."""
    return Process(name, ["sh", "-c", command], stdin=subprocess.PIPE)


@pytest.fixture
def student(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Student]:
    found = Student(request.param, tmp_path)
    try:
        yield found
        assert found.left == []
    finally:
        end_all(found.terminals)


def of_lab(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("student", [name], indirect=True)


def one_of(terminals: list[Process], part: str) -> Process:
    """Return the terminal that shows this, as soon as one does."""
    return eventually(
        lambda: next((t for t in terminals if any(part in line for line in t.lines)), None), part
    )


@of_lab("elections")
def test_the_commands_of_lab_1_work(student: Student) -> None:
    assert "\n[*] I am Leader\n" in student.types("python3 course/labs/elections/figures.py 3")
    first = ports_in_a_row(3)
    student.ports = {str(10000 + n): str(first + n) for n in range(3)}
    student.ports["--pace human"] = "--pace class"  # an election in 2 to 4 seconds
    names = "".join(f"s{n} localhost {first + n - 1}\n" for n in (1, 2, 3))
    (student.folder / "logs" / FILE_NAME).write_text(names)
    nodes = [student.starts(f"python3 src/server.py s{n}") for n in (1, 2, 3)]
    one_of(nodes, "I am Leader")
    said = student.types("python3 src/client.py", typed="set d 8\nget d\n")
    assert "SET response: d set to 8\nGET response: 8\n" in said
    assert (student.folder / "logs" / "s1.storage").read_text().startswith("name s1 term ")


@of_lab("repair")
def test_the_commands_of_lab_2_work(student: Student) -> None:
    run = student.folder / "course/labs/repair/run"
    names = "".join(f"node{n} localhost {next(free_ports)}\n" for n in (1, 2, 3))
    (run / FILE_NAME).write_text(names)
    nodes = [student.starts(f"python3 course/labs/repair/node.py node{n}") for n in (1, 2, 3)]
    one_of(nodes, "I am Leader")
    said = student.types("python3 course/labs/repair/client.py", typed="2\n44\n\n5\nexit\n")
    assert "Success: 44 was submitted to node1; " in said
    end_all(nodes)
    assert (run / "node1.log").exists()
    student.types("rm -f course/labs/repair/run/node*")
    assert [path.name for path in run.iterdir()] == [FILE_NAME]
    for name in ("a", "b", "c", "bonus"):
        said = student.types(f"python3 course/labs/repair/scenario.py {name}")
        assert said.endswith("All came as expected.\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's loopback addresses")
@of_lab("majorities")
def test_the_commands_of_lab_3_work(student: Student) -> None:
    at = "course/labs/majorities"
    for name in ("run/" + FILE_NAME, "names.txt"):  # other addresses than those of other tests
        file = student.folder / at / name
        file.write_text(file.read_text().replace(" 127.0.0.", " 127.0.77."))
    student.ports = {str(26200 + n): str(next(free_ports)) for n in range(3)}
    nodes = student.starts("python3 src/cli.py up --dir course/labs/majorities/run --pace class")
    one_of([nodes], "Current State is: leader")
    receiver = student.starts("python3 message_receiver.py", at)
    receiver.wait_for_line("Listening on")
    assert "Request Created : " in student.types("python3 message_sender.py Node1 LEADER_INFO", at)
    receiver.wait_for_line("'request': 'LEADER_INFO'")
    for number in (1, 2, 3):
        student.starts(f"python3 phase2.py Node{number}", at)
    leader = int(student.ports["26200"])
    for command, answer in (("STORE k v", "k"), ("RETRIEVE", "v")):
        assert answer in str(eventually(lambda c=command: asked(leader, c), command))


def asked(port: int, line: str) -> str:
    """Return what is answered to one line, as `nc` shows it; "" where nothing listens yet."""
    try:
        with socket.create_connection(("localhost", port), 5) as channel:
            channel.sendall(f"{line}\n".encode())
            return channel.recv(4096).decode()
    except ConnectionRefusedError:
        return ""


@of_lab("replicas")
def test_the_commands_of_lab_4_work(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SOCKET", f"raftline-test-{os.getpid()}")  # nobody's panes
    at, first, others = "course/labs/replicas", ports_in_a_row(3), ports_in_a_row(5)
    student.ports = {str(8000 + n): str(first + n) for n in range(3)}
    student.ports["lab.py story"] = f"lab.py --base-port {others} story"
    program = student.folder / at / "mine.py"
    text = program.read_text()
    for port, free in student.ports.items():
        text = text.replace(f":{port}", f":{free}")
    program.write_text(text)
    node = [sys.executable, str(student.folder / at / "node.py"), "--base-port", str(first)]
    folder = ["--dir", str(student.folder / at)]
    nodes = [Process(f"node{n}", [*node, *folder, "--node", str(n)]).launch() for n in (1, 2, 3)]
    student.terminals += nodes
    one_of(nodes, "I lead, and have set the value")
    eventually(lambda: len(list((student.folder / at).glob("node?.state_machine"))) == 3, "files")
    assert "set" in student.types("cat node?.log", at)
    assert "term" in student.types("cat node?.storage", at)
    student.types("cat node?.state_machine", at)
    assert "leader" in student.types("python3 ../../../src/cli.py status", at)
    said = student.types("python3 ../../../src/client.py 8001 1 get value", at)
    assert 'GET response: "first-by-node' in said
    assert "It never gave the old value." in student.types("python3 lab.py story", at)
    student.types("./stop_terminals.sh", at)
    eventually(lambda: not any(node.is_running for node in nodes), "no node")
    mine = student.starts("PYTHONPATH=../../../src python3 mine.py node1", at)
    others_running = [
        terminal_of(name, f"cd '{student.folder / at}' && exec {program_of(name)}")
        for name in ("node2", "node3")
    ]
    for each in others_running:
        each.launch()
    student.terminals += others_running
    one_of([mine], "leads, the value is first-by-node")
    end_all([mine, *others_running])
    assert "CC_E4_YOURS.zip: " in student.types("python3 lab.py bundle", at)
    assert student.types("python3 lab.py stop", at) == "stopped: nothing ran\n"
    assert "removed" in student.types("python3 lab.py clean", at)


def program_of(name: str) -> str:
    return f"env PYTHONPATH=../../../src {sys.executable} mine.py {name}"


@pytest.mark.nightly
@of_lab("availability")
def test_the_commands_of_lab_5_work(student: Student) -> None:
    lab = student.folder / "course/labs/availability"
    for number in (1, 2, 3):
        file = lab / f"metrics_{number}.json"
        metrics = json.loads(file.read_text())
        early = [each for each in metrics.get("actions", []) if each["trigger point"] < TRIAL_S - 3]
        metrics |= {"total execution time": TRIAL_S, "only hb": 1, "actions": early}
        file.write_text(json.dumps(metrics | {"client requests": 100}))
    student.types("python3 src/simulator.py course/labs/availability/metrics_1.json > run1.txt")
    assert "\nSafety: kept" in student.types("cat run1.txt")
    for number in (2, 3):
        student.types(f"python3 src/simulator.py course/labs/availability/metrics_{number}.json")
        assert (student.folder / f"run{number}.html").exists()
        assert (student.folder / f"run{number}.jsonl").exists()


@of_lab("bugs")
def test_the_commands_of_lab_6_work(student: Student) -> None:
    play = "python3 course/labs/bugs/play.py"
    assert "+client1 <- s1@SET response" in student.types(f"{play} 1", status=1)
    assert "All that happens" in student.types(f"{play} 1 --whole", status=1)
    assert "Everything happens as it should." in student.types(f"{play} 1 --without")
    assert student.types(f"{play} 1 --copy one") == "one/src holds the faulty program\n"
    assert "\n+" in student.types(f"{play} 1 --from one", status=1)
    assert student.types(f"{play} 1 --hint") != student.types(f"{play} 1 --hint 2")
    assert "InvariantError" in student.types(f"{play} 6 --simulate 20", status=1)
