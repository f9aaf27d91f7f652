"""`raftline lock`, `elect` and `watch` at real nodes: what they run, how it ends, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pexpect
import pytest

import raftline
from raftline_testing.doubles import in_process
from raftline_testing.doubles.scripted_node import DEADLINE_S, SOURCE, free_port
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually
from tests.processes.stray_signal import with_stray_signal
from tests.processes.typed import at, holder_key, somebody_waits

PRINTS_TOKEN = "import os; print(os.environ['RAFTLINE_TOKEN'], flush=True)"
STANDS = f"{PRINTS_TOKEN}; import time; time.sleep(60)"
# It prints which signals it got, and ends at SIGKILL, or some seconds after its starter.
STUBBORN = """
import signal, os, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, _: print(signal.Signals(number).name, flush=True))
starter = os.getppid()
print(os.environ["RAFTLINE_TOKEN"], flush=True)
while os.getppid() == starter:
    time.sleep(2)
"""
# It starts another process, says which, and ends at the first signal.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def environment(nodes: Cluster | None) -> dict[str, str]:
    found = {key: value for key, value in os.environ.items() if key != "RAFTLINE"}
    found |= {"PYTHONPATH": str(SOURCE)}
    return found if nodes is None else found | {"RAFTLINE": at(nodes)}


@contextlib.contextmanager
def started(
    nodes: Cluster | None, *words: str, program: Sequence[str] = (str(SOURCE / "cli.py"),)
) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the shell, in which nothing is left over at the end."""
    with subprocess.Popen(
        [sys.executable, *program, *words],
        env=environment(nodes),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def done(nodes: Cluster | None, *words: str) -> tuple[int, str, str]:
    """Run a command to its end; return its exit code and what it printed. One that starts no
    program runs in this process."""
    if words[0] not in ("elect", "lock", "watch"):
        here = in_process.raftline(*words, environment=environment(nodes))
        return here.returncode, here.stdout, here.stderr
    with started(nodes, *words) as process:
        said, errors = process.communicate(timeout=DEADLINE_S)
        return process.returncode, said, errors


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def end_lease_of(kv: raftline.KV[str], key: str) -> None:
    """End the lease of a lock's holder, as its expiry would."""
    stat = kv.stat(key)
    assert stat is not None
    assert kv.request(f"release {stat.lease}").startswith("RELEASE response: ")


def test_lock_runs_a_command_and_returns_its_exit_code(nodes: Cluster) -> None:
    """A lock runs a command with its token and has its exit code."""
    first = done(nodes, "lock", "a b", "--", *program(f"{PRINTS_TOKEN}; raise SystemExit(7)"))
    second = done(nodes, "lock", "a b", "--ttl", "30", "--", *program(PRINTS_TOKEN))
    assert (first[0], first[2]) == (7, "")
    assert (second[0], second[2]) == (0, "")
    assert int(first[1]) < int(second[1])
    assert done(nodes, "lock", "a b", "--", "sh", "-c", "kill -KILL $$")[0] == 128 + 9


def test_commands_share_a_lock_or_hold_a_semaphore(nodes: Cluster, kv: raftline.KV[str]) -> None:
    once = ("--wait", "0", "--", *program(PRINTS_TOKEN))
    with kv.lock("book", shared=True) as held, kv.semaphore("pool", 2):
        status, said, _ = done(nodes, "lock", "book", "--shared", *once)
        assert (status, int(said) > held.token) == (0, True)
        status, _, errors = done(nodes, "lock", "book", *once)
        assert status == 123
        assert errors.startswith("Sorry, the lock book is held by program on ")
        assert done(nodes, "lock", "pool", "--at-most", "2", *once)[0] == 0
        assert done(nodes, "lock", "pool", "--at-most", "1", *once)[0] in (0, 123)  # by the slot
        with kv.semaphore("pool", 2):
            status, _, errors = done(nodes, "lock", "pool", "--at-most", "2", *once)
        assert (status, "held by program on " in errors) == (123, True)
    for words, why in (
        (("--at-most", "0"), "'0' is not a number of holders"),
        (("--at-most", "2", "--shared"), "not allowed with argument"),
    ):
        status, _, errors = done(nodes, "lock", "pool", *words, *once)
        assert (status, why in errors) == (2, True), errors


def test_a_lock_that_is_held_is_waited_for_or_not(nodes: Cluster, kv: raftline.KV[str]) -> None:
    holder = kv.lock("held").acquire()
    status, said, errors = done(nodes, "lock", "held", "--wait", "0", "--", *program(PRINTS_TOKEN))
    assert (status, said) == (123, "")
    assert errors.startswith("Sorry, the lock held is held by program on ")
    status, _, errors = done(
        nodes, "lock", "held", "--json", "--wait", "4", "--", *program(PRINTS_TOKEN)
    )
    waits, failure = map(json.loads, errors.splitlines())
    assert waits.pop("holder").startswith("program on ")
    assert waits == {"verb": "lock", "name": "held", "ok": True, "state": "waits"}
    assert (status, failure["ok"], failure["code"]) == (123, False, 123)
    with started(nodes, "lock", "held", "--", *program(PRINTS_TOKEN)) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("[*] the lock held is held by program on ")
        eventually(lambda: somebody_waits(kv, "lock/held/"))
        end_lease_of(kv, holder_key(kv, "lock/held/"))
        assert int(line(waiting)) > 0
        assert waiting.wait(DEADLINE_S) == 0
    with pytest.raises(raftline.LeaseLost):
        holder.release()


def test_signal_while_waiting_ends_it_and_frees_the_line(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """A signal that comes while it waits ends it, and others stop waiting."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with (
            kv.lock("left"),
            started(nodes, "lock", "left", "--", *program(PRINTS_TOKEN)) as waiting,
        ):
            eventually(lambda: somebody_waits(kv, "lock/left/"))
            waiting.send_signal(number)
            assert waiting.wait(DEADLINE_S) == 128 + number
            assert not somebody_waits(kv, "lock/left/")


def test_a_lost_lock_ends_the_command_and_all_that_it_started(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    with started(nodes, "lock", "lost", "--ttl", "9", "--", *program(PARENT)) as process:
        child = int(line(process))
        end_lease_of(kv, holder_key(kv, "lock/lost/"))
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 124
        assert errors == f"Sorry, the lock lost was lost; {sys.executable} has ended\n"
        eventually(lambda: not is_there(child), "the end of what the command started")


@pytest.mark.parametrize(
    ("verb", "prefix"), [("lock", "lock/broken/"), ("elect", "election/broken/")]
)
def test_a_lock_whose_key_somebody_deletes_is_lost(
    nodes: Cluster, kv: raftline.KV[str], verb: str, prefix: str
) -> None:
    with started(nodes, verb, "-q", "broken", "--ttl", "1", "--", *program(STANDS)) as process:
        first = int(line(process))
        del kv[holder_key(kv, prefix)]
        if verb == "elect":
            assert int(line(process)) > first
            return
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert errors == f"Sorry, the lock broken was lost; {sys.executable} has ended\n"
        assert process.returncode == 124


@pytest.mark.parametrize(("verb", "prefix"), [("lock", "lock/late/"), ("elect", "election/late/")])
def test_a_loss_that_only_the_end_shows_has_the_status_of_a_loss(
    nodes: Cluster, kv: raftline.KV[str], verb: str, prefix: str
) -> None:
    with started(nodes, verb, "-q", "late", "--ttl", "900", "--", *program(STANDS)) as process:
        line(process)
        del kv[holder_key(kv, prefix)]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 124
        assert errors.endswith(f" late was lost; {sys.executable} has ended\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_elect_does_not_rerun_its_command(
    nodes: Cluster, kv: raftline.KV[str], number: signal.Signals
) -> None:
    """An `elect` that is to stop does not run its command again after a loss."""
    words = ("elect", "-q", "told", "--ttl", "9", "--grace", "1", "--", *program(STUBBORN))
    with started(nodes, *words) as process:
        line(process)
        process.send_signal(number)
        assert line(process) == number.name  # the command has it, and takes a while to end
        end_lease_of(kv, holder_key(kv, "election/told/"))
        said, _ = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (124, "SIGTERM\n")


def test_a_command_that_outlives_sigterm_is_killed(nodes: Cluster, kv: raftline.KV[str]) -> None:
    words = ("lock", "stubborn", "--ttl", "9", "--grace", "3", "--", *program(STUBBORN))
    with started(nodes, *words) as process:
        line(process)
        end_lease_of(kv, holder_key(kv, "lock/stubborn/"))
        said, _ = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (124, "SIGTERM\n")


def test_signals_are_passed_on_and_the_lock_is_free_afterwards(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    with started(nodes, "lock", "signals", "--", *program(STUBBORN)) as process:
        line(process)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            assert line(process) == number.name
        assert kv.lock("signals").acquire(timeout=0) is None
    sleeps = ("sh", "-c", "echo runs; exec sleep 60")
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(nodes, "lock", "ends", "--", *sleeps) as process:
            assert line(process) == "runs"
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == 128 + number
        with kv.lock("ends") as held:
            assert held.token > 0


@pytest.mark.parametrize("verb", ["lock", "elect"])
@pytest.mark.parametrize("number", ["QUIT", "USR1", "USR2", "ALRM", "ABRT", "KILL"])
def test_no_command_outlives_what_held_its_lock(nodes: Cluster, verb: str, number: str) -> None:
    if number == "KILL" and sys.platform != "linux":
        pytest.skip("only Linux kills a process with its starter")
    prints = ("sh", "-c", "echo $$; exec sleep 600")
    with started(nodes, verb, f"{verb} {number}", "--", *prints) as process:
        command = int(line(process))
        process.send_signal(signal.Signals[f"SIG{number}"])
        assert process.wait(DEADLINE_S) in (-signal.SIGKILL, 128 + signal.Signals[f"SIG{number}"])
        eventually(lambda: not is_running(command), "the command has ended")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()


def test_a_signal_that_does_not_interrupt_the_wait_is_passed_on(nodes: Cluster) -> None:
    program = ("-c", with_stray_signal(str(SOURCE / "cli.py")))
    sleeps = ("sh", "-c", "echo runs; exec sleep 60")
    with started(nodes, "lock", "stray", "--", *sleeps, program=program) as process:
        assert line(process) == "runs"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM


def test_command_at_a_terminal_reads_it_and_gets_ctrl_c_once(
    nodes: Cluster, tmp_path: Path
) -> None:
    """At a terminal a command reads it and Ctrl-C reaches it once."""
    asks = "line = input('> '); print('got', line, flush=True); "
    counts = (
        "import signal, time; seen = []; signal.signal(signal.SIGINT, lambda *_: seen.append(1)); "
        "print('ready', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"  # a pause() could begin after the signal came
        "time.sleep(0.3); print(len(seen), 'signal')"
    )
    screen = pexpect.spawn(
        sys.executable,
        [str(SOURCE / "cli.py"), "lock", "tty", "--", *program(asks + counts)],
        env=environment(nodes),
        encoding="utf-8",
        timeout=DEADLINE_S,
        cwd=tmp_path,
    )
    screen.expect_exact("> ")
    screen.sendline("two words")
    screen.expect_exact("got two words")
    screen.expect_exact("ready")
    screen.sendintr()
    screen.expect_exact("1 signal")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def test_elected_command_reruns_after_a_loss_until_it_ends(
    nodes: Cluster, kv: raftline.KV[str]
) -> None:
    """An elected command runs again after a loss until it ends by itself."""
    words = ("elect", "service", "--ttl", "9", "--value", "host 1", "--json", "--")
    with started(nodes, *words, *program(STANDS)) as process:
        first = int(line(process))
        assert kv.election("service").leader() == "host 1"
        assert "host 1" in done(nodes, "show", "election/service/held/")[1]
        end_lease_of(kv, holder_key(kv, "election/service/"))
        second = int(line(process))
        assert first < second
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 128 + signal.SIGTERM
        states = [json.loads(each)["state"] for each in errors.splitlines()]
        assert states == ["campaigns", "leads", "lost", "leads"]
        assert kv.election("service").leader() is None
    assert done(nodes, "elect", "-q", "service", "--", "sh", "-c", "exit 3") == (3, "", "")


def test_an_empty_value_of_a_leader_is_taken_as_it_is(nodes: Cluster, kv: raftline.KV[str]) -> None:
    with started(nodes, "elect", "-q", "mute", "--value", "", "--", *program(STANDS)) as process:
        line(process)
        assert kv.election("mute").leader() == ""


@pytest.mark.parametrize("verb", ["lock", "elect"])
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["x"], 2, "error: COMMAND is missing: raftline {verb} NAME -- COMMAND. usage: "),
        (["--", "true"], 2, "error: the following arguments are required: NAME. usage: "),
        (["", "--", "true"], 2, "error: a name has at least one character. usage: "),
        (["x", "true"], 2, "error: unrecognized arguments: true. usage: "),
        (["x", "--ttl", "0", "--", "true"], 2, "'0' is not a time in seconds, 0.5 to 1000"),
        (["x", "--ttl", "0.003", "--", "true"], 2, "'0.003' is not a time in seconds, 0.5 to 1"),
        (["x", "--ttl", "1.5005", "--", "true"], 2, "'1.5005' is not a time in seconds, 0.5"),
        (["x", "--grace", "-1", "--", "true"], 2, "'-1' is not a time in seconds, such as 10 or "),
        (["x", "--at", "h:1", "--dir", "d", "--", "true"], 2, "--at and --dir both say where "),
        (["x", "--dir", "gone", "--", "true"], 2, "gone: there is no cluster here"),
        (["x", "--at", "localhost:{port}", "--timeout", "1", "--", "true"], 125, "nothing list"),
    ],
)
def test_a_mistake_is_one_line_and_runs_no_command(
    verb: str, words: list[str], status: int, said: str
) -> None:
    typed = [word.format(port=free_port()) for word in words]
    found = done(None, verb, *typed)
    assert (found[0], found[1]) == (status, "")
    assert said.format(verb=verb) in found[2]
    assert found[2].count("\n") == 1


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [("/gone/away", 127, "No such file or directory"), ("/", 126, "Permission denied")],
)
def test_command_that_cannot_run_is_named_and_frees_the_lock(
    nodes: Cluster, kv: raftline.KV[str], command: str, status: int, why: str
) -> None:
    """A command that cannot be run is named and the lock given back."""
    found = done(nodes, "lock", "none", "--", command)
    assert found == (status, "", f"Sorry, {command} can't be run: {why}\n")
    assert kv.lock("none").holder() is None


def test_a_watch_streams_until_ctrl_c(nodes: Cluster, kv: raftline.KV[str]) -> None:
    kv["w/a b"] = "x\ny"
    stat = kv.stat("w/a b")
    assert stat is not None
    with (
        started(nodes, "watch", "w/") as plain,
        started(nodes, "watch", "--json", "w/") as objects,
        started(nodes, "watch", "--quiet", "w/", "after", str(stat.index)) as values,
    ):
        assert line(plain).endswith(r" has w/a\sb x\ny")
        printed = json.loads(line(objects))
        assert printed.pop("index") >= stat.index
        assert printed == {"kind": "has", "key": "w/a b", "value": "x\ny"}
        kv["w/c"] = "two words"
        del kv["w/c"]
        assert line(values) == "two words"
        assert values.stderr is not None
        assert values.stderr.readline().endswith(" delete w/c\n")
        changed = [line(plain).split(" ", 2) for _ in range(2)]
        assert [what for _, _, what in changed] == ["set w/c two words", "delete w/c"]
        events = [json.loads(line(objects)) for _ in range(2)]
        assert [(event["index"], event["kind"]) for event in events] == [
            (int(index), what.split()[0]) for _, index, what in changed
        ]
        assert "value" not in events[1]
        for process in (plain, objects, values):
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130


def test_a_watch_ends_when_its_reader_has_gone(nodes: Cluster, kv: raftline.KV[str]) -> None:
    """Without another event, as in `raftline watch KEY | head -1`."""
    kv["head"] = "1"
    for words in (("head",), ("--json", "head"), ("-q", "head")):
        with started(nodes, "watch", *words) as process:
            assert line(process)
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait(DEADLINE_S) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_a_watch_that_no_node_serves_is_refused_in_one_line(nodes: Cluster) -> None:
    said = "Sorry, there is no entry 99999999 yet; the last one is "
    status, printed, errors = done(nodes, "watch", "w/", "after", "99999999")
    assert (status, printed, errors[: len(said)]) == (5, "", said)
    status, printed, _ = done(nodes, "watch", "--json", "w/", "after", "99999999")
    assert (status, json.loads(printed)["code"]) == (5, 5)
    assert done(nodes, "watch", "a", "b", "c")[0] == 2


def test_watch_on_the_screen_runs_until_ctrl_c(
    nodes: Cluster, kv: raftline.KV[str], tmp_path: Path
) -> None:
    """A watch on the screen runs until Ctrl-C, and the screen continues."""
    kv["screen/a"] = "1"
    screen = pexpect.spawn(
        sys.executable,
        [str(SOURCE / "client.py"), str(nodes.nodes[0].port), "1"],
        env=environment(None) | {"XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"},
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    screen.expect_exact("    >> ")
    screen.sendline("watch screen/")
    screen.expect_exact("[*] Sending: watch screen/\r\n")
    screen.expect_exact("[*] Received, until Ctrl-C:\r\n\r\n")
    screen.expect(r"EVENT [0-9]+ has screen/a 1\r\n")
    kv["screen/b"] = "2"
    screen.expect(r"EVENT ([0-9]+) set screen/b 2\r\n")
    screen.sendintr()
    screen.expect(r"The watch has ended\. To continue: watch screen/ after [0-9]+\r\n")
    screen.expect_exact("    >> ")
    screen.sendline("watch a b c")
    screen.expect_exact("Sorry, the form is: watch [PREFIX] [after INDEX]")
    screen.expect_exact("    >> ")
    screen.sendline("exit")
    screen.expect_exact("[*] Closing socket")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def test_lease_and_txn_commands_take_words_and_give_json(nodes: Cluster) -> None:
    """The commands of leases and transactions take words and give JSON."""
    lease = done(nodes, "lease", "--quiet", "60")[1].rstrip("\n")

    def printed(*words: str) -> object:
        found = json.loads(done(nodes, *words)[1])
        found.pop("server")
        return found

    assert printed("renew", "--json", lease) == {
        "ok": True,
        "verb": "renew",
        "lease": lease,
        "seconds": 60,
    }
    assert done(nodes, "set", "--lease", lease, "k 1", "two", "words")[0] == 0
    assert printed("set", "--json", "--lease", lease, "k2", "5") == {
        "ok": True,
        "verb": "under",
        "key": "k2",
        "lease": lease,
        "value": "5",
    }
    assert printed("set", "--ttl", "60", "--json", "k3", "a b") == {
        "ok": True,
        "verb": "setex",
        "key": "k3",
        "value": "a b",
    }
    stat = json.loads(done(nodes, "stat", "--json", "k 1")[1])["stat"]
    assert (stat["lease"], stat["bytes"]) == (lease, 9)
    words = ["if", "k2", "=", "5", ";", "none", "absent", "then", "set", "k4", "a b", ";"]
    assert printed("txn", "--json", *words, "set", "k5", "", "else", "get", "k2") == {
        "ok": True,
        "verb": "txn",
        "branch": "then",
        "results": ["k4 set to a b", "k5 set to "],
    }
    assert done(nodes, "txn", "if k4 = a\\sb then get k5 else get k2")[1].endswith('then: [""]\n')
    assert done(nodes, "release", lease)[1].endswith(" 2 keys deleted\n")
    assert done(nodes, "release", lease)[0] == 1
    assert done(nodes, "get", "k 1")[0] == 1
    injected = done(nodes, "set", "--lease", f"{lease} set other", "k", "v")
    assert injected[0] == 2
    assert "is not a lease" in injected[2]
