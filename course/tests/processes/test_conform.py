"""`raftline conform`: raftline passes, a broken node is shown, bad usage is refused."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from course.tests.processes.run_conform_bugs import FAILS

from labs.bugs.play import BUGS, copy_with_bug
from raftline_course.conform import cluster as cluster_module
from raftline_course.conform import conform_command, run, transcript
from raftline_course.conform.checks import cluster_checks as clusters
from raftline_course.conform.checks import membership_checks, snapshot_checks
from raftline_course.conform.checks.checks import CHECKS, Check
from raftline_course.conform.played import wires
from raftline_course.conform.played.installer import Installer
from raftline_course.conform.run import FAILED, NOT_JUDGED, Result
from raftline_course.conform.scene import Scene
from raftline_course.conform.tested import locked
from raftline_course.conform.tested import tested_node as nodes
from raftline_course.conform.tested.tested_node import KitSettings
from raftline_course.conform.transcript import Transcript
from raftline_course.conform.verdicts import Failed
from raftline_course.grading.isolation import sandbox

ROOT = Path(__file__).parents[3]
NODE = ["{name}", "{port}", "--dir", "{dir}", "--floor"]


def conform(
    *words: str, sources: Path = ROOT / "src", timeout_s: float = 560.0
) -> subprocess.CompletedProcess[str]:
    node = ["--", sys.executable, str(sources / "server.py"), *NODE]
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "conform", *words]
    if "--" not in words and "--list" not in words:
        command += node
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT
    )


# One or two of each level; `make -C course conform` takes all.
SLICE = (
    "get-set-delete", "in-order", "majority-of-four", "late-vote", "conflict", "own-term-alone",
    "torn-write", "synced-before-answer", "first-read", "retries-in-any-order", "piece-missing",
    "new-majority", "lost-disk", "three-count",
)  # fmt: skip


def test_raftline_passes_a_slice_of_each_level() -> None:
    done = conform(*(word for name in SLICE for word in ("--only", name)))
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all passed\n")
    for name in SLICE:
        assert f" {name}   " in done.stdout


@pytest.mark.parametrize(
    ("bug", "check", "said"),
    [
        (2, "one-vote", "s1 gives s2 no vote in term 9"),
        (4, "no-cut-without-conflict", "is not: I am up to date term 1 index 3"),
        (14, "synced-before-answer", "no sync was done since the line"),
        (22, "lost-disk", "which lacks an entry that s1 had acknowledged"),
    ],
)
def test_a_bug_is_shown_with_its_rule_and_transcript(
    tmp_path: Path, bug: int, check: str, said: str
) -> None:
    done = conform("--only", check, sources=copy_with_bug(bug, tmp_path))
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
    assert "    rule: " in done.stdout
    assert " > s2@RequestVote 1-0-0\n" in done.stdout  # said to the node
    assert " < s1@Count on me term 1   (to s2)\n" in done.stdout  # and by it
    assert "FAILED     " in done.stdout


def _lock_is_missing() -> bool:
    try:
        return locked.abi() < 1
    except locked.CannotLock:
        return True


needs_lock = pytest.mark.skipif(_lock_is_missing(), reason="this kernel has no Landlock")


@needs_lock
def test_locked_node_writes_only_in_its_folder(tmp_path: Path) -> None:
    """A locked node writes in its folder alone and reads no home."""
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "kept").write_text("")
    act = (
        "import os, sys\n"
        "def tried(what):\n"
        "    try: what()\n"
        "    except PermissionError: return 'refused'\n"
        "    return 'done'\n"
        "own, other = os.environ['PLACES'].split()\n"
        "for folder in (own, other):\n"
        "    kept = folder + '/kept'\n"
        "    print(tried(lambda: open(folder + '/new', 'w')), tried(lambda: open(kept)),\n"
        "          tried(lambda: os.remove(kept)))\n"
        "print(tried(lambda: os.kill(os.getppid(), 0)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", locked.__file__, str(own), sys.executable, "-c", act],
        capture_output=True,
        text=True,
        check=False,
        cwd=own,
        env={"PLACES": f"{own} {other}"},
    )
    assert done.returncode == 0, done.stderr
    first, second, signal = done.stdout.splitlines()
    assert (first, second) == ("done done done", "refused refused refused")
    assert signal == ("refused" if locked.abi() >= 6 else "done")


@needs_lock
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no /dev/shm")
def test_locked_node_writes_to_no_device_or_shared_memory(tmp_path: Path) -> None:
    """A locked node writes to no device and into no shared memory."""
    act = (
        "import os, sys\n"
        "open('/dev/null', 'w').close(); os.urandom(4); open('/dev/urandom', 'rb').read(4)\n"
        "try: open(sys.argv[1], 'w')\n"
        "except PermissionError: print('refused')\n"
    )
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as shared:
        command = [sys.executable, "-S", locked.__file__, str(tmp_path), sys.executable, "-c", act]
        done = subprocess.run(
            [*command, shared.name], capture_output=True, text=True, check=False, cwd=tmp_path
        )
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_locked_node_in_a_bin_folder_cannot_open_that_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A locked node in the bin of a home does not open that home."""
    places = [tmp_path / "ann" / "bin", tmp_path / "ann" / "venv" / "bin"]
    for place in places:
        place.mkdir(parents=True)
        (place / "node").touch()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    monkeypatch.chdir(tmp_path / "work")
    assert str(tmp_path / "ann") not in locked.own_places([str(places[0] / "node")])
    assert str(places[1].parent) in locked.own_places([str(places[1] / "node")])


def test_locked_node_reads_only_what_its_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kit may be started where all hand-ins lie, or the teacher's keys."""
    hand_ins = tmp_path / "ann" / "hand-ins"
    for path in (hand_ins / "bob" / "node", hand_ins / "eve" / "node", tmp_path / "ann" / "node"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    monkeypatch.chdir(hand_ins)
    bob, file = str(hand_ins / "bob"), str(hand_ins / "bob" / "node")
    assert locked.own_places(["bob/node", "s1", "10000"]) == [bob, file]
    opened = locked.own_places(["sh", "bob/node", "s1", "10000"])
    assert {bob, file} <= {*opened}
    assert not {str(hand_ins), str(tmp_path / "ann")} & {*opened}
    assert str(hand_ins) in locked.own_places(["sh", "-m", "node", "s1"]), "it means this folder"
    in_home = locked.own_places(["sh", "../node"])
    assert str(tmp_path / "ann" / "node") in in_home
    assert str(tmp_path / "ann") not in in_home


@needs_lock
@pytest.mark.skipif(not sandbox.can_lock(), reason="no list of calls for this processor")
def test_a_locked_node_changes_no_mode_owner_or_time_of_a_file(tmp_path: Path) -> None:
    """Landlock knows no such rights. The calls do nothing, so that a build that makes them runs."""
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    kept = other / "kept"
    kept.touch(mode=0o600)
    before = kept.stat()
    act = (
        "import contextlib, os, sys\n"
        "kept = sys.argv[1]\n"
        "folder = os.open(os.path.dirname(kept), os.O_PATH)\n"
        "tries = [lambda: os.chmod(kept, 0o666), lambda: os.utime(kept, (1, 1)),\n"
        "    lambda: os.chmod('kept', 0o666, dir_fd=folder),\n"
        "    lambda: os.utime('kept', (1, 1), dir_fd=folder),\n"
        "    lambda: os.chown(kept, 1, 1), lambda: os.lchown(kept, 1, 1),\n"
        "    lambda: os.setxattr(kept, 'user.seen', b'x')]\n"
        "for one in tries:\n"
        "    with contextlib.suppress(OSError): one()\n"
    )
    words = [sys.executable, "-S", locked.__file__, str(own), sys.executable, "-c", act, str(kept)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=own)
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.stat() == before
    with contextlib.suppress(OSError):
        assert os.listxattr(kept) == []


@needs_lock
@pytest.mark.skipif(not sandbox.can_lock(), reason="no list of calls for this processor")
def test_a_locked_node_opens_no_socket_but_those_of_the_internet(tmp_path: Path) -> None:
    """A socket in the file system leads to what starts a person's programs, by the bus of the
    session, and no lock on files shuts that one."""
    act = (
        "import socket\n"
        "for family in socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_VSOCK:\n"
        "    try: socket.socket(family).close()\n"
        "    except PermissionError: print('refused', family.name)\n"
        "[one.close() for one in socket.socketpair()]\n"
    )
    words = [sys.executable, "-S", locked.__file__, str(tmp_path), sys.executable, "-c", act]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("refused AF_UNIX\nrefused AF_VSOCK\n", "")


@pytest.mark.parametrize("has_rights", [True, False], ids=["root", "anybody"])
def test_a_network_of_its_own_has_loopback_alone(has_rights: bool) -> None:
    if has_rights and os.geteuid():
        pytest.skip("for root")
    act = (
        "import ctypes, os, socket, sys\n"
        "from raftline_course.conform.tested import locked\n"
        "'localhost'.encode('idna')\n"  # that is read from a home, perhaps
        "if sys.argv[1] == 'False' and not os.geteuid():\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"  # its own files in /proc are its own again
        "who = os.geteuid()\n"
        "try: locked.enter_own_network()\n"
        "except locked.CannotLock as reason: sys.exit(f'cannot: {reason}')\n"
        "with socket.create_server(('127.0.0.1', 0)) as listener:\n"
        "    socket.create_connection(listener.getsockname()).close()\n"
        "print(*(name for _, name in socket.if_nameindex()), os.geteuid() == who)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", act, str(has_rights)], capture_output=True, text=True, check=False
    )
    if done.stderr.startswith("cannot: ") and not has_rights:
        pytest.skip(done.stderr)
    assert (done.stdout, done.stderr) == ("lo True\n", "")


@needs_lock
def test_a_network_that_stays_open_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise locked.CannotLock("unshare: Operation not permitted")

    monkeypatch.setattr(locked, "enter_own_network", refused)
    words = ["--locked", "--only", "reply-name", "--", "false", "{name}{port}{dir}"]
    assert conform_command.main(words) == 1
    assert "[!] --locked: the network stays open to the node: unshare: " in capsys.readouterr().err


@needs_lock
def test_a_locked_raftline_passes() -> None:
    done = conform("--locked", "--only", "reply-name", "--only", "synced-before-answer")
    assert done.returncode == 0, done.stdout


def test_json_is_an_object_a_check() -> None:
    done = conform("--json", "--only", "reply-name", "--only", "id-echo")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["name"]: one["verdict"] for one in found} == {
        "reply-name": "passed",
        "id-echo": "passed",
    }
    assert {one["level"] for one in found} == {1}


def test_each_check_has_a_rule_and_a_section() -> None:
    done = conform("--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) >= 100
    assert {line[0] for line in lines} == set("12345678")
    assert len({line.split(":")[0] for line in lines}) == len(lines), "a name is there twice"
    for line in lines:
        assert line[0] in "12345678"
        assert line.endswith(")"), line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "node", "{name}", "{port}"], "does not name {dir}"),
        (["--level", "9", "--", "n"], "'9' is not a level"),
        (["--only", "nothing", "--", "n"], "there is no check 'nothing'"),
        (["--", "/no/such/node", "{name}", "{port}", "{dir}"], "/no/such/node: No such file"),
        (["--locked", "--", "/no/node", "{name}{port}{dir}"], "there is no program '/no/node'"),
        (["--jobs", "0", "--", "n"], "'0' is not a number"),
        (["--with", "'", "--", "node", "{name}{port}{dir}"], "--with: "),
    ],
)
def test_bad_usage_is_one_line(words: list[str], said: str) -> None:
    done = conform(*words)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_is_needed() -> None:
    done = conform("--level", "1", "--")
    assert done.returncode == 2
    assert "the command that starts a node is missing: it comes after --" in done.stderr


def test_node_that_exits_at_once_is_reported_with_its_output() -> None:
    """A node that ends at once is reported with what it printed."""
    done = conform(
        "--only", "reply-name", "--", sys.executable, "-c", "print('no such disk')", *NODE
    )
    assert done.returncode == 1
    assert "s1 takes no connection. It printed:\n      no such disk\n" in done.stdout


@pytest.mark.parametrize(
    "reply",
    [
        "Sorry, there is no such command",
        "MEMBERS response: []",
        'MEMBERS response: {"voters": [1], "learners": [], "members": {}}',
        'MEMBERS response: {"voters": ["s1"], "learners": []}',
    ],
)
def test_node_ignorant_of_its_members_fails_by_its_answer(reply: str) -> None:
    """A node that does not know its members fails by its answer."""
    client: Any = SimpleNamespace(ask=lambda _: reply)
    with pytest.raises(Failed, match=re.escape(f"'members' is answered {reply!r}")):
        membership_checks.members(client)


def test_an_increment_without_a_number_fails_at_once() -> None:
    said = {"counter@incr n": "INCR response: 1x"}
    cluster: Any = SimpleNamespace(
        nodes={"s1": None},
        patience_s=60.0,
        ask_at=lambda _name, line, _who: said[line],
        ask=lambda _: "GET response: one",
        expect=lambda truth, why: cluster_module.TestedCluster.expect(cluster, truth, why),
    )
    counted = clusters.Counting(cluster)
    with pytest.raises(Failed, match="'incr n' is answered 'INCR response: 1x'"):
        counted.some(1, ["s1"])
    with pytest.raises(Failed, match="'incr n' is answered"):  # a thread may have heard it
        counted.wait_for(1)
    with pytest.raises(Failed, match="'get n' is answered 'GET response: one'"):
        counted.judge()


def test_unforeseen_answer_fails_only_its_check() -> None:
    """An answer that no check thought of fails that check alone."""
    check = Check(1, "odd", "", "", body=lambda _: json.loads("Sorry"))
    judged = run.judge(check, KitSettings((sys.executable,)))
    assert judged.verdict == FAILED
    assert judged.why.startswith("the node's line can't be read: JSONDecodeError: ")


def test_a_line_without_an_end_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "LINE_MAX", 10_000)
    node, kit = socket.socketpair()
    monkeypatch.setattr(socket.socket, "setsockopt", lambda *_: None)
    wire = wires.Wire(kit, "client1", Transcript())
    with node:
        node.sendall(b"s1@one\n" + b"x" * 20_000)
        line = wire.next_line(10.0)
        assert line is not None
        assert line.text == "one"
        assert wire.next_line(10.0) is None
        assert wire.is_ended.wait(10.0)
    wire.close()


def test_a_node_that_speaks_without_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "KEPT_MAX", 1_000)
    node, kit = socket.socketpair()
    monkeypatch.setattr(socket.socket, "setsockopt", lambda *_: None)
    said = Transcript()
    with node:
        wire = wires.Wire(kit, "client1", said)
        node.sendall(b"s1@Sorry, no\n" * 2_000)
        assert wire.is_ended.wait(10.0)
        assert len(said.lines) == 1_000
        wire.say("client1@get b")  # a check goes on until it misses an answer
    wire.close()
    scene: Any = mock.Mock(transcript=said)

    def miss() -> None:
        raise Failed("no answer to 'get b'")

    judged = run._ended(Check(1, "talks", "", ""), scene, miss)
    assert judged.why == "no answer to 'get b' (the nodes said more lines than the kit reads)"


def test_kit_keeps_only_as_much_output_as_it_shows(tmp_path: Path) -> None:
    """The kit keeps no more of a node's output than it shows."""
    command = [sys.executable, "-c", "print('x\\n' * 999)"]
    node = nodes.TestedNode("s1", 1, tmp_path, {"s1": 1}, command)
    node.launch()
    node.process.ended()
    assert len(node.process.lines) < 50


def test_each_lab_bug_has_a_check() -> None:
    """Each bug of the labs has a check that its node fails."""
    listed = {line.split()[1].rstrip(":") for line in conform("--list").stdout.splitlines()}
    assert sorted(FAILS) == BUGS
    assert set(FAILS.values()) <= listed


def test_another_program_may_be_the_other_nodes_of_a_cluster() -> None:
    """Here it is raftline again, by another command."""
    node = f"{sys.executable} {ROOT / 'src' / 'server.py'} {{name}} {{port}} --dir {{dir}} --floor"
    done = conform("--only", "leaders-killed", "--with", f"{node} --reads log")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("load", "times"), [(0.5, 1), (8.0, 2), (40.0, 10), (400.0, 10)])
def test_kit_waits_longer_and_retries_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, load: float, times: int
) -> None:
    """On a busy machine the kit waits longer and tries more often."""
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    settings = KitSettings(("node",))
    assert settings.patience_s == 12 * times
    check = Check(2, "disturbed", "", "", body=lambda _: None)
    disturbed = Result(check, FAILED, "it stood"), "PreVote 2-0-0"
    monkeypatch.setattr(run, "_tried", lambda *_: disturbed)
    judged = run.judge(check, settings)
    assert judged.verdict == NOT_JUDGED
    assert judged.why.startswith(f"in each of {4 * times} tries s1 stood for election")


@pytest.mark.parametrize(
    ("reply", "disturbed"),
    [
        ("Sorry, outcome unknown: this server lost the leadership", True),
        ("Sorry, I know of no leader. Try again.", True),
        ("Sorry, the value has 1048476 bytes; the limit is 1000", False),
    ],
)
def test_node_losing_the_lead_amid_snapshot_writes_is_retried(reply: str, disturbed: bool) -> None:
    """A node that loses the lead during the writes for a snapshot is judged again."""
    said = Transcript()

    def ask(request: str) -> str:
        said.add("<", "client1", "s1", reply)
        return reply

    client, scene = mock.Mock(ask=ask), mock.Mock(transcript=said)
    scene.client.return_value = client
    scene.expect = lambda truth, why: Scene.expect(scene, truth, why)
    with pytest.raises(Failed, match=f"'set small yes' is answered '{reply[:20]}"):
        snapshot_checks.compacted(scene, Installer())
    assert bool(said.disturbed) is disturbed


def test_a_node_that_never_answers_fails_by_the_missing_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(KitSettings, "patience_s", 0.5)
    mute = tmp_path / "mute.py"
    mute.write_text(
        "import socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[2])))\n"
        "kept = []\n"
        "while True: kept.append(listener.accept())\n"
    )
    words = ["--only", "one-vote", "--election-ms", "100"]
    assert conform_command.main([*words, "--", sys.executable, str(mute), *NODE]) == 1
    said = capsys.readouterr().out
    assert "    no answer to RequestVote 1-0-0\n" in said
    assert " > s2@RequestVote 1-0-0\n" in said


class Patient(KitSettings):
    """A kit that waits for hardly any time."""

    patience_s = 0.01


@pytest.mark.pure
def test_three_checks_without_an_election_end_the_waiting() -> None:
    """A node that leads alone, or stands and never wins, is judged by what it does."""
    settings = Patient((sys.executable, "{name}", "{port}", "{dir}"))
    elections = settings.elections
    told = []
    for _ in range(4):
        with Scene(settings) as scene, pytest.raises(Failed) as failed:
            scene.await_leader(0)
        told.append(
            str(failed.value).endswith(": so it was in 3 checks, and this one does not wait")
        )
    assert told == [False, False, False, True]
    with Scene(settings) as scene:
        scene.transcript.add("<", "s2", "s1", "RequestVote 2-0-0")
        assert scene.await_candidate(0).term == 2
    with cluster_module.TestedCluster(settings) as cluster:
        for _ in range(3):
            with pytest.raises(Failed, match="no node leads"):
                cluster.leader()
        with pytest.raises(Failed, match="does not wait"):
            cluster.leader()
    for _ in range(5):  # this kind came once
        with (
            pytest.raises(Failed, match="too late"),
            elections.awaited("s1 hears nobody, and does not stand"),
        ):
            raise Failed("too late")


NEVER_LEADS = """
import socketserver, sys
class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"s1@Sorry, I know of no leader. Try again.\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", int(sys.argv[2])), Talk).serve_forever()
"""


def test_node_that_never_leads_is_awaited_by_three_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node that never leads is waited for by three checks and no more."""
    (tmp_path / "node.py").write_text(NEVER_LEADS)
    monkeypatch.setattr(KitSettings, "patience_s", 0.5)
    checks = ("reply-name", "id-echo", "no-name", "first-at", "empty-value")
    words = [word for name in checks for word in ("--only", name)]
    node = [sys.executable, str(tmp_path / "node.py"), *NODE]
    assert conform_command.main([*words, "--jobs", "1", "--json", "--", *node]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["verdict"] for one in found] == [FAILED] * 5
    skipped = "a node that is alone never leads: so it was in 3 checks, and this one does not wait"
    assert [one["why"] == skipped for one in found] == [False] * 3 + [True] * 2


def test_late_request_for_the_votes_of_its_term_is_not_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer may read a leader's request for its vote after another one made it the leader."""
    add, all_do, has_led = Transcript.add, Scene.all_do, threading.Event()

    def held_back(said: Transcript, way: str, other: str, *words: Any) -> transcript.Line:
        if (way, other) == (transcript.FROM_NODE, "s3"):
            has_led.wait(10.0)
        return add(said, way, other, *words)

    def releasing(scene: Scene, rule: wires.Rule) -> None:
        all_do(scene, rule)
        if rule is not wires.silent:
            has_led.set()

    monkeypatch.setattr(Transcript, "add", held_back)
    monkeypatch.setattr(Scene, "all_do", releasing)
    check = next(each for each in CHECKS if each.name == "hears-of-a-term")
    command = (sys.executable, str(ROOT / "src" / "server.py"), *NODE)
    judged = run.judge(check, KitSettings(command))
    assert (judged.verdict, judged.why) == (run.PASSED, "")


def test_an_answer_to_a_round_that_nobody_asked_is_told_at_once() -> None:
    """As of a node that takes numbers for doubles; only answers to earlier rounds are late ones."""
    with socket.create_server((wires.HOST, 0)) as server:
        wire = wires.dial(server.getsockname()[1], "s2", Transcript())
        theirs, _ = server.accept()
    said = [f"s1@I am up to date term 1 index 0 round {number}\n" for number in (3, 2**53)]
    theirs.sendall("".join(said).encode())
    line = wire.next_line(60.0, {1, 2, 3})
    assert line is not None
    assert line.text == f"I am up to date term 1 index 0 round {2**53}"
    theirs.close()
    wire.close()


def test_vote_requests_leave_room_for_earlier_lines() -> None:
    """A long run of requests for votes leaves room for what came before."""
    said = Transcript()
    said.act("s1 starts")
    for number in range(20):
        said.add(">", "client1", "client1", f"set k{number} 1")
    for term in range(2, 252):
        said.add("<", "s2", "s1", f"PreVote {term}-0-0")
    shown = said.shown()
    assert [line for line in shown if line.endswith("> client1@set k19 1")]
    assert shown[-1].strip() == "… 246 more requests for votes and their answers"
    assert len(shown) == 26
