"""The lab on majorities, followed as its sheet says: on this machine, and in containers."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labs.majorities import names
from labs.majorities.places import COMPOSE, LabPlace
from raftline import client
from raftline.common import config
from raftline_course import controlled_server
from raftline_testing.nodes.processes import eventually

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT / "course" / "labs" / "majorities"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAB / script), *arguments],
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )


@pytest.mark.timeout(600)
def test_every_row_of_the_lab_holds_on_this_machine() -> None:
    done = run("check.py")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = sorted(line.split()[1] for line in done.stdout.splitlines() if line.startswith("ok "))
    assert rows == [f"000-{number:02}" for number in range(1, 20)]
    assert done.stderr == ""


BROKEN = """
import sys
sys.argv = sys.argv[1:2]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import check
class Nowhere:
    start = close = lambda self: None
def at_rest(place):
    yield "000-01", "all are up"
    raise AssertionError("Node3 says nothing")
check.Loopback, check.at_rest = Nowhere, at_rest
sys.exit(check.main())
"""


def test_unmet_row_is_named_with_its_reason_and_followers() -> None:
    """A row that does not hold is named with the reason, and so are those after it."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(LAB / "check.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, second, *rest = done.stdout.splitlines()
    assert (done.returncode, first) == (1, "ok 000-01 all are up"), done.stderr
    assert second == "FAILED 000-08 Node3 says nothing"
    assert len(rest) == 17 + 1
    assert {line.split(" ", 2)[2] for line in rest[:-1]} == {"it was not tried"}
    assert rest[-1].startswith("18 rows failed, ")


class PlayedPlace(LabPlace):
    """A place whose nodes answer as asked, all at once."""

    def send(self, *arguments: str) -> str:
        said = {"sender_name": "Node1", "term": 2, "key": None, "value": None}
        for verb in ("RETRIEVE", "LEADER_INFO", "RESTART"):
            self.answers.append({**said, "request": verb})
        return "Request Created : {}"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("RESTART", "RESTART"), ("RETRIEVE", "RETRIEVE"), ("STORE", "LEADER_INFO")],
)
def test_a_late_answer_is_not_taken_for_another_requests(asked: str, answered: str) -> None:
    assert PlayedPlace().order("Node1", asked)["request"] == answered


def created(*arguments: str) -> dict[str, object]:
    """Return the request that the sender creates for nobody."""
    done = run("message_sender.py", "nobody.invalid", *arguments)
    first, second, *rest = done.stdout.splitlines()
    nobody = "ERROR WHILE SENDING REQUEST ACROSS : nobody.invalid: nobody of this name is found; "
    assert (done.returncode, done.stderr, rest) == (1, "", [])
    assert second == nobody + "is it spelled right, and is it up?"
    message: dict[str, object] = ast.literal_eval(first.removeprefix("Request Created : "))
    return message


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["STORE"], "Controller_Operation", "Controller_Add"),
        (["STORE", "colour", "blue", "as the sky"], "colour", "blue as the sky"),
        (["STORE", "colour"], "colour", None),
        (["HEAL"], None, None),  # what the file says to STORE is not a word of this
        (["PARTITION", "Node2", "Node3"], None, "Node2 Node3"),
        (["DROP", "", "30% Node2"], None, "30% Node2"),
    ],
)
def test_sender_builds_requests_and_names_unknown_nodes(
    arguments: list[str], key: str | None, value: str | None
) -> None:
    """The sender builds the typed request and names unknown nodes."""
    assert created(*arguments) == {
        "sender_name": "Controller",
        "request": arguments[0],
        "term": None,
        "key": key,
        "value": value,
    }


@pytest.mark.parametrize("target", ["a..b", "", "N\u00f6de 9", "x" * 300])
def test_no_target_makes_the_sender_crash(target: str) -> None:
    done = run("message_sender.py", target, "RETRIEVE")
    assert (done.returncode, done.stderr) == (1, "")
    said = done.stdout.splitlines()[-1]
    assert said.startswith(f"ERROR WHILE SENDING REQUEST ACROSS : {target}: nobody of this name")


def test_the_sender_explains_itself_and_its_file(tmp_path: Path) -> None:
    done = run("message_sender.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "python3 message_sender.py Node3 SHUTDOWN" in done.stdout
    for name in ("message_sender.py", "names.py", "names.txt"):
        shutil.copy(LAB / name, tmp_path)
    for text in ("{", "[]"):
        (tmp_path / "Message.json").write_text(text)
        done = run(str(tmp_path / "message_sender.py"), "Node1", "RETRIEVE")
        assert (done.returncode, done.stderr) == (2, "")
        assert done.stdout.startswith("Message.json is not a JSON object")
        assert len(done.stdout.splitlines()) == 1


def test_the_receiver_shows_each_answer_until_ctrl_c() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as node:
        node.bind(("127.0.0.7", 0))
        environment = {**os.environ, "CONTROLLER_PORT": str(node.getsockname()[1])}
        node.close()
        with (
            socket.socket(type=socket.SOCK_DGRAM) as node,
            subprocess.Popen(
                [sys.executable, str(LAB / "message_receiver.py")],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as receiver,
        ):
            assert receiver.stdout is not None
            silent = threading.Timer(20, receiver.kill)  # then it will not say anything any more
            silent.start()
            where = ast.literal_eval(receiver.stdout.readline().removeprefix("Listening on "))
            node.bind(("127.0.0.2", 0))
            for data, shown in (
                (b'{"key": null, "value": "\xc3\xa9"}', {"key": None, "value": "é"}),
                (b"\xff", b"\xff"),
            ):
                node.sendto(data, where)
                line = receiver.stdout.readline()
                assert line == f"Message Received : {shown} From : {node.getsockname()}\n"  # type: ignore[str-bytes-safe]
            receiver.send_signal(signal.SIGINT)
            assert receiver.communicate(timeout=60) == ("", "")
            silent.cancel()
        assert receiver.returncode == 0


def test_nodes_listen_on_5555_and_sender_speaks_from_5556() -> None:
    """Nodes listen on port 5555 and the sender speaks from 5556."""
    assert (names.NODE_PORT, names.SENDER_PORT) == (5555, 5556)
    given = controlled_server.parser().parse_args(
        ["Node1", "10000", "--controller", "--controller-udp"]
    )
    assert given.controller_udp == 5555


def test_the_command_lines_of_the_containers_are_valid() -> None:
    compose = COMPOSE.read_text(encoding="utf-8")
    found = re.search(r"exec python course/server\.py (.*?)\n *healthcheck", compose, re.DOTALL)
    assert found is not None
    given = controlled_server.parser().parse_args(found[1].split())
    assert (given.name, given.port, given.dir, given.host) == (
        "$$NODE",
        "10000",
        "/data",
        "0.0.0.0",
    )
    assert given.open_to_network
    assert given.insecure
    assert (given.controller, given.controller_from) == (True, ["Controller"])
    assert (given.controller_udp, given.controller_lines) == (5555, True)
    checked = re.search(r"test: \[CMD, python, (src/\S+), (.*)\]", compose)
    assert checked is not None
    assert (ROOT / checked[1]).exists()
    *arguments, command = re.sub(r'[",]', "", checked[2]).split()
    asked = client.parser().parse_args(arguments)
    assert (asked.node, command) == (("", 10000), "status")
    members = config.read(COMPOSE.with_name(config.FILE_NAME)).members
    assert [*members] == [f"Node{n}" for n in range(1, 6)]
    for name, address in members.items():
        assert address == (name, 10000)
        for part in ("container_name", "hostname"):
            assert f"{part}: {name}\n" in compose
        assert f'volumes: ["{name.lower()}:/data"]\n' in compose


def test_a_second_receiver_reports_the_port_in_use() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as first:
        first.bind(("127.0.0.7", 0))
        port = first.getsockname()[1]
        environment = {**os.environ, "CONTROLLER_PORT": str(port)}
        done = subprocess.run(
            [sys.executable, str(LAB / "message_receiver.py")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    said = f"message_receiver.py can't listen on port {port}: Address already in use; does one run?"
    assert (done.returncode, done.stdout, done.stderr) == (1, said + "\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["phase2.py", "Node1", "²"], ["phase2.py", "Node1", "1", "localhost:²"], ["phase2.py"],
        ["steps.py", "--container"], ["check.py", "000-07"],
    ],
)  # fmt: skip
def test_wrong_arguments_of_the_lab_s_programs_are_named(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@pytest.mark.timeout(600)
def test_the_twelve_steps_in_containers() -> None:
    done = run("steps.py", "--containers")
    if done.returncode == 3:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(line.startswith("ok step ") for line in done.stdout.splitlines()) == 8


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "check.py: interrupted\n"),
        (signal.SIGTERM, 128 + signal.SIGTERM, ""),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_no_process_outlives_a_checker(
    number: signal.Signals, status: int, said: str, tmp_path: Path
) -> None:
    checker = subprocess.Popen(
        [sys.executable, str(LAB / "check.py")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert checker.stdout is not None
    try:
        assert checker.stdout.readline().startswith("ok 000-01")
        folder, parent = next(tmp_path.iterdir()), f"\nPPid:\t{checker.pid}\n"
        family = [at.parent for at in Path("/proc").glob("[0-9]*/status") if parent in _text(at)]
        assert len(family) >= 7, family  # five nodes, the receiver, and who sweeps the folder
        checker.send_signal(number)
        assert checker.communicate(timeout=60)[1] == said
    finally:
        checker.kill()
    assert checker.returncode == status
    eventually(lambda: not any((one / "exe").exists() for one in family), "the end of all")
    eventually(lambda: not folder.exists(), "a folder that was swept")


def test_a_lab_program_without_a_reader_ends_silently(tmp_path: Path) -> None:
    """Whether its checker was killed: it may have something to say before it knows."""
    (tmp_path / "talks.py").write_text("print('Message Received', flush=True)\n")
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    done = subprocess.run(
        [sys.executable, str(LAB / "tethered.py"), str(tmp_path / "talks.py")],
        stdout=writing_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing_end)
    assert (done.returncode, done.stderr) == (0, "")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # that process has ended meanwhile
        return ""
