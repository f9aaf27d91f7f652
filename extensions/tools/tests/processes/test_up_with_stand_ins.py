"""`raftline up` with stand-ins for the nodes: what it shows, what it stops, what it leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline import cli
from raftline.clients.connections.client_access import ClientAccess
from raftline.common import config
from raftline.common.address import Address
from raftline.common.config import ConfigError, Configuration
from raftline.common.process.server_process import ServerProcess
from raftline.common.process.signals import Lifeline
from raftline.raft.log import Log
from raftline.raft.membership import all_vote, read
from raftline.storage.log_file import whole_file
from raftline.tools.local_cluster import choosing, up
from raftline.tools.local_cluster.choosing import local_members
from raftline.tools.local_cluster.local_cluster import LocalCluster
from raftline.tools.local_cluster.relay import Relay
from raftline.tools.status import status
from raftline_testing.doubles import fake_node
from raftline_testing.nodes.processes import eventually, free_ports, ports_in_a_row
from tests.processes.stray_signal import TAKES_SIGTERM

ROOT = Path(__file__).parents[4]
SECONDS_MAX = 30.0

# The real command, with the stand-ins for the node and, where it is asked for, for the client.
PROGRAM = """
import sys, types
from pathlib import Path
from raftline import cli
from raftline.common.process import server_process
from raftline.tools.local_cluster import up
up.LEADER_SECONDS_MAX["fast"] = {leader_s}
server_process.SERVER = Path({fake!r})
def main(arguments):
    print("client " + " ".join(arguments), flush=True)
    for line in sys.stdin:
        print("client reads " + line, end="", flush=True)
    return 7
sys.modules["raftline.client"] = types.SimpleNamespace(main=main)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def ports(tmp_path: Path) -> list[int]:
    """Return the ports of s1, s2 and s3, which the configuration in `tmp_path` names."""
    ports = [next(free_ports) for _ in range(6)][::2]  # not in a row: each is named
    lines = [f"s{n} 127.0.0.1 {port}\n" for n, port in enumerate(ports, start=1)]
    (tmp_path / config.FILE_NAME).write_text("".join(lines))
    return ports


class Up:
    """A `raftline up` that runs, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self.output = output
        self.text = ""

    def read_until(self, awaited: str) -> str:
        """Read on until `awaited` was printed; fail if it doesn't come."""
        while awaited not in self.text:
            assert self._read_more(), f"ended without {awaited!r}:\n{self.text}"
        return self.text

    def end(self) -> int:
        """Read all that still comes and return the exit code."""
        while self._read_more():
            pass
        return self.process.wait(SECONDS_MAX)

    def stop_reading(self) -> None:
        """Take the reader of its standard output away."""
        if self.output >= 0:
            os.close(self.output)
        self.output = -1

    def _read_more(self) -> bool:
        ready, _, _ = select.select([self.output], [], [], SECONDS_MAX)
        assert ready, f"nothing more came after:\n{self.text}"
        try:
            data = os.read(self.output, 65536)
        except OSError:  # a terminal that nobody holds any more
            data = b""
        self.text += data.decode()
        return bool(data)


@contextlib.contextmanager
def running(
    folder: Path,
    *options: str,
    terminal: bool = False,
    typed: bytes | None = None,
    errors: Path | None = None,
    leader_s: float = SECONDS_MAX,
    first: str = "",
) -> Iterator[Up]:
    program = first + PROGRAM.format(fake=fake_node.__file__, leader_s=leader_s)
    reading_end, writing_end = pty.openpty() if terminal else os.pipe()
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "up", "--dir", str(folder), *options],
            stdin=subprocess.PIPE if typed is not None else subprocess.DEVNULL,
            stdout=writing_end,
            stderr=writing_end if errors is None else stack.enter_context(errors.open("wb")),
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": ""},
            start_new_session=True,
        )
    os.close(writing_end)
    if process.stdin is not None:
        process.stdin.write(typed or b"")
        process.stdin.close()
    cluster = Up(process, reading_end)
    try:
        yield cluster
    finally:
        process.kill()
        process.wait()
        cluster.stop_reading()


@contextlib.contextmanager
def held(ports: list[int]) -> Iterator[tuple[list[socket.socket], list[int]]]:
    """Yield a connection to each node, and the nodes' process numbers."""
    with contextlib.ExitStack() as stack:
        connections, numbers = [], []
        for port in ports:
            connection = socket.create_connection(("127.0.0.1", port), SECONDS_MAX)
            connections.append(stack.enter_context(connection))
            _, _, facts = connection.makefile("rb").readline().partition(b"response: ")
            numbers.append(int(json.loads(facts)["pid"]))
        yield connections, numbers


def has_ended(connection: socket.socket) -> bool:
    """Whether the process at the other end goes away before the deadline."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_every_line_is_marked_with_its_node(tmp_path: Path, ports: list[int]) -> None:
    with running(tmp_path, "--verbose", "--pace", "human") as cluster:
        text = cluster.read_until("Ctrl-C stops all")
        for name in ("s1", "s2", "s3"):
            cluster.read_until(f"{name} | [*] {name} started with --pace human --verbose\n")
    assert f"[*] 3 nodes up: s1 s2 s3 on ports {' '.join(map(str, ports))}; " in text


def test_a_node_cannot_steer_the_terminal(tmp_path: Path, ports: list[int]) -> None:
    with running(tmp_path) as cluster:
        text = cluster.read_until("s1 | \\x1b[2Js1 steers the terminal\n")
    assert "\x1b" not in text  # not even colours: this is no terminal


def test_on_a_terminal_each_node_has_a_colour(
    tmp_path: Path, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with running(tmp_path, terminal=True) as cluster:
        assert "\x1b[36ms1 | " in cluster.read_until("s1 | [*] s1 started")
        assert "\x1b[33ms2 | " in cluster.read_until("s2 | [*] s2 started")


def test_a_terminal_without_colours_gets_no_colour(
    tmp_path: Path, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with running(tmp_path, terminal=True) as cluster:
        assert "\x1b" not in cluster.read_until("Ctrl-C stops all")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_node(
    tmp_path: Path, ports: list[int], number: signal.Signals
) -> None:
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        with held(ports) as (connections, _):
            cluster.process.send_signal(number)
            assert cluster.end() == 0
            assert all(has_ended(connection) for connection in connections)
    assert cluster.text.endswith("[*] 3 nodes stopped\n")


def test_signal_that_spares_the_wait_stops_every_node(tmp_path: Path, ports: list[int]) -> None:
    """A signal that does not interrupt the wait stops every node."""
    with running(tmp_path, first=TAKES_SIGTERM) as cluster:
        cluster.read_until("Ctrl-C stops all")
        cluster.process.send_signal(signal.SIGUSR1)
        assert cluster.end() == 0
    assert cluster.text.endswith("[*] 3 nodes stopped\n")


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="there is no /proc")
def test_no_thread_but_the_main_one_takes_a_signal(tmp_path: Path, ports: list[int]) -> None:
    """Else Ctrl-C may not wake that one, which alone can act on it."""
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        tasks = Path(f"/proc/{cluster.process.pid}/task").iterdir()
        blocked = {int(path.name): _blocked(path) for path in tasks}
        assert blocked.pop(cluster.process.pid) == set()
    assert len(blocked) >= 6  # who shows each node's lines, and who waits for its end
    asked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert all(asked <= each for each in blocked.values()), blocked


def _blocked(task: Path) -> set[int]:
    """Return the signals that a thread does not take."""
    (line,) = (line for line in (task / "status").read_text().splitlines() if "SigBlk" in line)
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_no_node_outlives_a_killed_up(tmp_path: Path, ports: list[int]) -> None:
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        with held(ports) as (connections, _):
            cluster.process.kill()
            assert [has_ended(connection) for connection in connections] == [True] * 3


def test_up_ends_with_its_nodes_when_its_reader_has_gone(tmp_path: Path, ports: list[int]) -> None:
    """`raftline up | head -1`: nodes at peace print nothing, so no write would fail."""
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        with held(ports) as (connections, _):
            cluster.stop_reading()
            assert cluster.process.wait(SECONDS_MAX) == 0
            assert all(has_ended(connection) for connection in connections)


def test_up_ends_if_its_reader_goes_before_the_nodes_are_up(
    tmp_path: Path, ports: list[int]
) -> None:
    with running(tmp_path, errors=tmp_path / "errors") as cluster:
        cluster.stop_reading()
        assert cluster.process.wait(SECONDS_MAX) == 0
    assert (tmp_path / "errors").read_text() == ""


def test_a_node_that_does_not_listen_is_stopped_by_force(tmp_path: Path, ports: list[int]) -> None:
    (tmp_path / "s2.deaf").touch()
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        with held(ports) as (connections, _):
            cluster.process.send_signal(signal.SIGINT)
            assert cluster.end() == 0
            assert all(has_ended(connection) for connection in connections)


def test_a_death_is_reported_and_the_others_continue(tmp_path: Path, ports: list[int]) -> None:
    server = f"raftline server s2 {ports[1]} --dir {tmp_path} --pace fast"
    again = f"To start it again, in another terminal: {server}"
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        with held(ports) as (_, numbers):
            os.kill(numbers[1], signal.SIGKILL)
            cluster.read_until(f"[!] s2 died (killed by SIGKILL); the others continue. {again}\n")
            os.kill(numbers[0], signal.SIGRTMIN + 6)  # which has no name
            how = f"killed by signal {signal.SIGRTMIN + 6}"
            cluster.read_until(f"[!] s1 died ({how}); 1 of 3 left, too few to serve. ")
            os.kill(numbers[2], signal.SIGKILL)
            assert cluster.end() == 1
    assert cluster.text.endswith("\n[!] no node that was started here is left\n")


def test_a_node_asked_to_stop_is_not_reported_dead(tmp_path: Path, ports: list[int]) -> None:
    with running(tmp_path) as cluster:
        cluster.read_until("Ctrl-C stops all")
        with held(ports) as (_, numbers):
            os.kill(numbers[1], signal.SIGTERM)
            cluster.read_until("[*] s2 stopped as requested; the others continue. To start it ")
    assert "died" not in cluster.text


@pytest.mark.parametrize("options", [[], ["--client"]])
def test_a_node_that_refuses_to_start_ends_up_with_its_message(
    tmp_path: Path, ports: list[int], options: list[str]
) -> None:
    (tmp_path / "s3.refuses").touch()
    with running(tmp_path, *options) as cluster:
        assert cluster.end() == 2
    assert f"s3 | [!] port {ports[2]} is in use\n" in cluster.text
    assert "[!] s3 did not start (exit status 2)\n" in cluster.text
    assert "client" not in cluster.text


def test_a_second_up_does_not_adopt_the_nodes_of_the_first(
    tmp_path: Path, ports: list[int]
) -> None:
    with running(tmp_path) as first:
        first.read_until("Ctrl-C stops all")
        with running(tmp_path, "--client") as second:
            assert second.end() == 2
        with held(ports) as (_, numbers):
            assert len(set(numbers)) == 3  # the first one's nodes still answer
    assert second.text.splitlines() == [
        f"[!] s1 can't be started: port {ports[0]} on 127.0.0.1 is in use; if this cluster "
        f"already runs, `raftline status --dir {tmp_path}` shows it",
    ]


def test_up_runs_the_client_at_the_leader_and_ends_with_it(
    tmp_path: Path, ports: list[int]
) -> None:
    with running(tmp_path, "--client", typed=b"set a 4\n") as cluster:
        assert cluster.end() == 7  # the client's own
    others = " ".join(f"--also 127.0.0.1:{port}" for port in ports[1:])
    assert cluster.text.splitlines() == [
        f"[*] 3 nodes up: s1 s2 s3 on ports {' '.join(map(str, ports))}, s1 leads term 4",
        f"client {ports[0]} 1 --follow --host 127.0.0.1 {others} --screen",
        "client reads set a 4",
        "[*] 3 nodes stopped",
    ]
    console = tmp_path / "s1.console"
    assert "[*] s1 started" in console.read_text()
    assert stat.S_IMODE(console.stat().st_mode) == 0o600


def test_without_a_leader_up_prints_the_reasons_of_the_nodes(
    tmp_path: Path, ports: list[int]
) -> None:
    (tmp_path / "s1.follows").touch()
    with running(tmp_path, "--client", leader_s=1.0) as cluster:
        assert cluster.end() == 3
    first, second, _ = cluster.text.splitlines()
    assert first == f"[!] no leader within 1 s; the nodes' output is in {tmp_path}/*.console"
    assert second.startswith("[!] no leader answers, and others follow s")


def test_ctrl_c_in_the_moment_a_node_is_started_still_stops_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(["s1"], tmp_path)

    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        relay.follow("s1", io.BytesIO(b""))
    relay.finish("s1")  # it raised: cannot join thread before it is started


def test_a_node_that_is_started_twice_at_once_is_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clicks: the second process finds its port taken, and `raftline up` takes that for a node
    that can't start, so it ends all."""
    configuration = config.parse(tmp_path / config.FILE_NAME, f"s1 127.0.0.1 {next(free_ports)}\n")
    sleeper = [sys.executable, "-c", "import time; time.sleep(100)"]
    cluster = LocalCluster(configuration, config.FAST, False, Relay(["s1"], None), (), sleeper)
    answers: list[str] = []
    clicks = [
        threading.Thread(target=lambda: answers.append(cluster.control("s1", "start")))
        for _ in range(2)
    ]
    launch = ServerProcess.launch

    def launched(node: ServerProcess, *options: str, **named: int) -> ServerProcess:
        if clicks[1].ident is None:
            clicks[1].start()
            clicks[1].join(0.2)  # it waits, or has begun a process beside this one
        return launch(node, *options, **named)

    cluster.start()
    try:
        cluster.control("s1", "kill")
        cluster.deaths.get(timeout=SECONDS_MAX)
        monkeypatch.setattr(ServerProcess, "launch", launched)
        clicks[0].start()
        for click in clicks:
            eventually(lambda click=click: click.ident is not None)
            click.join(SECONDS_MAX)
        assert sorted(answers) == ["s1 is started", "s1 runs"]
    finally:
        cluster.stop()


def test_a_node_that_can_t_be_started_again_ends_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may run in another terminal, as the line about its death advises: its port is taken."""
    taken = tmp_path / "taken"
    text = (
        f"import os, sys, time; time.sleep(100 * (not os.path.exists({str(taken)!r}))); sys.exit(2)"
    )
    configuration = config.parse(tmp_path / config.FILE_NAME, f"s1 127.0.0.1 {next(free_ports)}\n")
    program = [sys.executable, "-c", text]
    cluster = LocalCluster(configuration, config.FAST, False, Relay(["s1"], None), (), program)
    cluster.start()
    try:
        cluster.control("s1", "kill")
        cluster.deaths.get(timeout=SECONDS_MAX)
        taken.touch()
        assert cluster.control("s1", "start") == "s1 is started"
        cluster.report_death(cluster.deaths.get(timeout=SECONDS_MAX))
    finally:
        cluster.stop()
    assert "[!] s1 did not start (exit status 2); none is left. To start" in capfd.readouterr().out


def test_answers_from_before_a_death_name_no_leader(
    tmp_path: Path, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that follows an election came before it, and not again."""
    configuration = config.read(tmp_path / config.FILE_NAME)
    relay = Relay(["s1", "s2", "s3"], None)
    cluster = LocalCluster(configuration, config.FAST, False, relay, ["--new"])
    ask_all, killed = status.ask_all, ""

    def asked(*arguments: Any) -> list[status.NodeStatus]:
        nonlocal killed
        nodes = ask_all(*arguments)
        leader = status.leader_of(nodes)
        if leader is not None and not killed:
            killed = leader.name
            cluster.control(killed, "kill")
            eventually(lambda: not cluster.deaths.empty(), f"{killed} has ended")
        return nodes

    monkeypatch.setattr(status, "ask_all", asked)
    try:
        cluster.start()
        cluster.wait_until_up(leader_wanted=False, deadline=float("inf"))
        deadline = time.monotonic() + SECONDS_MAX
        leader = status.leader_of(cluster.wait_until_up(leader_wanted=True, deadline=deadline))
    finally:
        cluster.stop()
    assert leader is not None
    assert leader.name != killed != ""


# --- which nodes are of the folder ---------------------------------------------------------


def log_of(folder: Path, name: str, *entries: tuple[int, str], base: str = "") -> None:
    """Write a log as a node leaves it: its base line, and one batch of entries, term and command.

    Without a given base it begins with s1, s2 and s3.
    """
    members = (read(f"members {base}") if base else None) or all_vote(
        {f"s{n}": f"127.0.0.1:{n}" for n in (1, 2, 3)}
    )
    log = Log()
    for term, command in entries:
        log.extend(term, [command])
    (folder / f"{name}.log").write_bytes(b"".join(whole_file(members, log)))


def members_entry(*names: str, port: int = 1) -> str:
    return "members " + " ".join(f"{name}=127.0.0.1:{port},voter" for name in names)


def test_an_added_member_is_started_and_a_removed_one_is_named(
    tmp_path: Path, ports: list[int]
) -> None:
    port = next(free_ports)
    now = f"members s1=127.0.0.1:1,voter s4=127.0.0.1:{port},voter s5=127.0.0.1:9,learner"
    log_of(tmp_path, "s1", (1, "noop"))
    log_of(tmp_path, "s2", (1, "noop"), (2, members_entry("s2")), (2, "noop"))  # never committed
    log_of(tmp_path, "s4", (1, "noop"), (3, now))
    (tmp_path / "s6.log").write_text("0 0 base\n")  # it joins, and was never added
    with running(tmp_path) as cluster:
        text = cluster.read_until(f"2 nodes up: s1 s4 on ports {ports[0]} {port}; Ctrl-C stops all")
        why = "(not a member in the newest log)"
        away = f"(there is no {tmp_path}/s5.log)"
        assert text.startswith(f"[*] not started: s2 {why}, s3 {why}, s6 {why}, s5 {away}\n")
        with held([ports[0], port]) as (_, numbers):
            os.kill(numbers[1], signal.SIGKILL)
            cluster.read_until(
                "[!] s4 died (killed by SIGKILL); 1 of 2 left, too few to serve. To start it "
                f"again, in another terminal: raftline server s4 {port} --dir {tmp_path}"
            )


def test_a_member_that_runs_already_is_named_and_left_alone(
    tmp_path: Path, ports: list[int]
) -> None:
    """It joined in another terminal, say, which is still open."""
    port = next(free_ports)
    log_of(tmp_path, "s1", (1, f"{members_entry('s1')} s4=127.0.0.1:{port},voter"))
    log_of(tmp_path, "s4")
    fake = [sys.executable, fake_node.__file__]
    lifeline = Lifeline()
    with subprocess.Popen(
        [*fake, "s4", str(port), "--dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        env=lifeline.environment(),
        pass_fds=[lifeline.reading_end],
    ) as other:
        try:
            assert other.stdout
            assert other.stdout.readline()
            there = Address("127.0.0.1", port)
            eventually(lambda: status.ask("s4", there, ClientAccess(), 5.0).answer, "s4")
            with running(tmp_path) as cluster:
                text = cluster.read_until(f"1 node up: s1 on port {ports[0]}; Ctrl-C stops all")
        finally:
            other.kill()
            lifeline.close()
    assert f", s4 (already runs on 127.0.0.1:{port})\n" in text


def test_up_starts_no_node_if_no_member_is_of_the_folder(tmp_path: Path, ports: list[int]) -> None:
    log_of(tmp_path, "s1", (1, members_entry("s9")))
    with running(tmp_path) as cluster:
        assert cluster.end() == 2
    no_member = "(not a member in the newest log)"
    assert cluster.text == (
        f"raftline: {tmp_path}: nothing to start here; not started: s1 {no_member}, s2 {no_member},"
        f" s3 {no_member}, s9 (there is no {tmp_path}/s9.log)\n"
    )


def test_logs_of_another_cluster_name_no_members(tmp_path: Path, ports: list[int]) -> None:
    log_of(tmp_path, "x1", (9, "noop"), base="x1=127.0.0.1:9,voter")  # another cluster's
    log_of(tmp_path, "s4", base="s4=127.0.0.1:9,voter")
    (tmp_path / "s1.log").write_text("0 1 set a 4\n")  # by hand
    (tmp_path / "nohup.log").write_bytes(b"\xff\n")
    (tmp_path / "no name.log").mkdir()
    chosen = config.load(tmp_path)
    assert local_members(chosen) == (chosen, [])


def test_up_asks_other_nodes_for_the_members_of_a_damaged_log(
    tmp_path: Path, ports: list[int]
) -> None:
    log_of(tmp_path, "s1", (1, members_entry("s1")))
    log_of(tmp_path, "s2", (1, "noop"), (5, members_entry("s2")))
    with (tmp_path / "s2.log").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"x")
    chosen, others = local_members(config.load(tmp_path))
    assert [*chosen.members] == ["s1"]
    assert [other.partition(" ")[0] for other in others] == ["s2", "s3"]


# --- which cluster is meant -----------------------------------------------------------------


def begun(folder: str | None, count: int | None, base_port: int | None) -> Configuration:
    """Return what is chosen, once it is written where it is new."""
    chosen = choosing.choose(folder, count, base_port)
    choosing.write_down(chosen)
    return chosen


def test_a_new_folder_gets_a_configuration(tmp_path: Path) -> None:
    chosen = begun(str(tmp_path / "lab"), 5, 12000)
    assert choosing.described(chosen) == "s1 s2 s3 s4 s5 on ports 12000-12004"
    assert config.load(tmp_path / "lab").members == chosen.members


@pytest.mark.parametrize("listens", [True, False])
def test_ports_that_cannot_be_had_are_written_nowhere(tmp_path: Path, listens: bool) -> None:
    folder, first = tmp_path / "lab", ports_in_a_row(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        if listens:
            taken.listen()
        with running(folder, "--base-port", str(first)) as cluster:
            assert cluster.end() == 2
    assert cluster.text == (
        f"[!] s2 can't be started: port {first + 1} on localhost is in use; choose others with "
        "--base-port\n"
    )
    assert not folder.exists()
    other = ports_in_a_row(3)
    with running(folder, "--base-port", str(other)) as cluster:
        cluster.read_until(f"[*] 3 nodes up: s1 s2 s3 on ports {other}-{other + 2}; Ctrl-C")


def test_configuration_begun_by_another_process_is_not_adopted(tmp_path: Path) -> None:
    """A configuration that another process began is not adopted."""
    chosen = choosing.choose(str(tmp_path), 3, 10000)
    (tmp_path / config.FILE_NAME).write_text("anna 9000\n")
    with pytest.raises(ConfigError, match="written by another process and names anna on port 9000"):
        choosing.write_down(chosen)


def test_without_files_up_starts_three_nodes_in_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = begun(None, None, None)
    assert choosing.described(chosen) == "s1 s2 s3 on ports 10000-10002"
    assert (tmp_path / "logs" / config.FILE_NAME).is_file()


def test_an_existing_configuration_is_used_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / config.FILE_NAME).write_text("anna 9000\nberta 9005\n")
    monkeypatch.chdir(tmp_path)
    assert choosing.described(choosing.choose(None, None, None)) == "anna berta on ports 9000 9005"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--controller-udp"], "--controller-udp is a door for orders; add --controller"),
        (["--controller", "--controller-udp"], "several nodes of .* are on localhost; give each"),
    ],
)
def test_datagrams_not_for_every_node_are_refused_before_start(
    options: list[str], said: str, tmp_path: Path
) -> None:
    """Datagrams that not every node can have are refused before any starts."""
    chosen = choosing.choose(str(tmp_path), 3, None)
    with pytest.raises(ConfigError, match=said):
        up.up(chosen, config.FAST, verbose=False, client_wanted=False, options=options)


@pytest.mark.parametrize(("typed", "port"), [([], "5555"), (["6555"], "6555")])
def test_up_takes_the_port_of_the_controller_s_datagrams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], port: str
) -> None:
    """Two students on one machine run the lab at once, each with a port of their own."""
    seen: list[str] = []
    monkeypatch.setattr(up, "up", lambda *_, options, **__: seen.extend(options) or 0)
    words = ["--controller", "--controller-udp", *typed, "--controller-lines"]
    assert cli.main(["up", "--dir", str(tmp_path), *words]) == 0
    assert sorted(seen) == sorted(["--controller", "--controller-udp", port, "--controller-lines"])
    assert seen[seen.index("--controller-udp") + 1] == port


def test_nodes_on_separate_addresses_are_shown_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / config.FILE_NAME).write_text("a 127.0.0.2 9000\nb 127.0.0.3 9000\n")
    monkeypatch.chdir(tmp_path)
    said = "a b on 127.0.0.2:9000 127.0.0.3:9000"
    assert choosing.described(choosing.choose(None, None, None)) == said


@pytest.mark.parametrize(("count", "port"), [(5, None), (None, 11000), (3, 11000)])
def test_a_configuration_is_never_overwritten(
    tmp_path: Path, count: int | None, port: int | None
) -> None:
    before = begun(str(tmp_path), 3, 10000).path.read_bytes()
    with pytest.raises(ConfigError, match=r"names s1 s2 s3 on ports 10000-10002, but s1 .* asked"):
        choosing.choose(str(tmp_path), count, port)
    assert (tmp_path / config.FILE_NAME).read_bytes() == before


def test_asking_for_the_existing_configuration_is_accepted(tmp_path: Path) -> None:
    begun(str(tmp_path), 3, 10000)
    assert len(choosing.choose(str(tmp_path), 3, 10000).members) == 3


def test_ports_end_at_65535(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="need ports up to 65536, and 65535 is the last"):
        choosing.choose(str(tmp_path), 3, 65534)
    assert not (tmp_path / config.FILE_NAME).exists()


def test_nodes_elsewhere_are_not_started_here(tmp_path: Path) -> None:
    (tmp_path / config.FILE_NAME).write_text("s1 localhost 10000\ns2 192.0.2.7 10000\n")
    with pytest.raises(ConfigError, match=r"s2 is on 192\.0\.2\.7"):
        up.up(config.load(tmp_path), config.FAST, verbose=False, client_wanted=False)
