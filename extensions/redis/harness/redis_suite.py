"""Redis's own tests against a node: `make -C integrations redis-suite REDIS=CHECKOUT`.

The checkout stays as it is, and none of its text is here. Its test program is given the address of
a proxy before a node. The proxy answers what the program itself needs and no node has, such as
`FUNCTION FLUSH` before a unit, and notes what each test sends, since the program names each test by
`DEBUG LOG`. So a test that fails uses a command that a node does not have, or is listed below with
its reason, or is a finding.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from raftline.redis.resp.commands import COMMANDS
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.processes import free_ports

from .redis_wire import framed

UNITS: Final = (
    "type/string", "type/incr", "type/hash", "type/list", "type/list-2", "type/list-3", "type/set",
    "type/zset", "pubsub", "multi", "expire", "keyspace", "scan",
)  # fmt: skip
UNIT_S: Final = 600
OPTIONS: Final = ("--singledb", "--durable", "--ignore-encoding", "--ignore-digest")
# Tests that are not run, and why. A pattern begins with a slash, as for the test program.
LEFT_OUT: Final = {
    "EXEC fails if there are errors while queueing commands #2": "it stays in MULTI",
    "exec with write commands and state change": "it stays in MULTI",
    "/^(EXEC with (only|at least)|MULTI with )": "they stay in MULTI",
    "BLPOP when result key is created by SORT..STORE": "SORT does not exist, and a client waits",
    "BRPOPLPUSH with multiple blocked clients": "two connections send at once, in any order",
    "SCAN regression test for issue #4906": "50,000 writes, one after the other, take minutes",
}
# Tests that fail, by a part of the name, and why.
REASONS: Final = {
    "Very big payload in GET/SET|value encoding and backlink": "a value has at most 1 MiB",
    "PEXPIREAT with big integer": "a time is at most 1,000,000,000 seconds",
    "PEXPIRETIME returns absolute": "the store keeps how long a key lasts, not when it ends",
    "should lazy expire|stale keys|After 2.1 s": "a key ends up to a tenth of its time late",
    "Commands pipelining": "a connection that begins with a plain line speaks raftline's lines",
    "on plain nodes": "INFO has no used_memory",
    "Linked LMOVEs|Circular BRPOPLPUSH|affect WATCH": "a client that waits takes its element later",
    "Mix SUBSCRIBE and PSUBSCRIBE": "a message by name and the same by a pattern have no order",
    "Keyspace notifications": "events have other names, and are always on",
}
STARTS: Final = "### Starting test "
_RESULT: Final = re.compile(r"\[(ok|err|exception|ignore|skip)\]: (.*?)(?: \(\d+ ms\))?$")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
# Settings of encodings and of work in the background change no reply. A node has no such thing, so
# the proxy keeps what is set.
_SETTINGS: Final = re.compile(
    r".*(-ziplist-|-listpack-|compress-depth|max-intset|active-expire|appendonly|lazyfree|save$)"
)
_UNSEEN: Final = ("SET-ACTIVE-EXPIRE", "RELOAD", "QUICKLIST-PACKED-THRESHOLD")  # of DEBUG
_OF_CLIENT: Final = ("ID", "GETNAME", "SETNAME", "SETINFO", "INFO", "LIST", "NO-EVICT", "NO-TOUCH")


class Proxy:
    """A port before a node, for the test program."""

    def __init__(self, port: int) -> None:
        """Connect the program to the node at `port`."""
        self.absent: defaultdict[str, set[str]] = defaultdict(set)  # by test, what no node has
        self._node = port
        self._listener = socket.create_server(("localhost", 0))
        self.port = self._listener.getsockname()[1]
        self._test = ""
        self._settings: dict[str, str] = {}
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.create_connection(("localhost", self._node)) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            with suppress(OSError), client.makefile("rb") as requests:
                for data, words in commands_in(requests):
                    server.sendall(self.instead_of(words) or data)
                server.shutdown(socket.SHUT_WR)
            back.join()

    def instead_of(self, words: Sequence[str]) -> bytes:
        """Return what the node gets in place of a command, so that the reply fits; b"" for all that
        it gets as it is."""
        match [word.upper() for word in words[:2]], words[2:]:
            case ["DEBUG", "LOG"], [text]:
                self._test = text.removeprefix(STARTS).partition(" in tests/")[0]
                return framed("SELECT", "0")
            case ["FUNCTION", "FLUSH"], _:
                return framed("SELECT", "0")
            case ["DEBUG", sub], _ if sub in _UNSEEN:
                return framed("SELECT", "0")
            case ["MEMORY", "USAGE"], [key, *_]:
                return framed("EXISTS", key)
            case ["CONFIG", "SET"], [name, value] if _SETTINGS.match(name):
                self._settings[name] = value
                return framed("SELECT", "0")
            case ["CONFIG", "GET"], [name] if _SETTINGS.match(name):
                return framed("ECHO", f"{name} {{{self._settings.get(name, '0')}}}")
            case ["CONFIG", "SET"], [name, _]:
                self.absent[self._test].add(f"CONFIG SET {name}")
            case ["CLIENT", sub], _ if sub not in _OF_CLIENT:
                self.absent[self._test].add(f"CLIENT {sub}")
            case [name, *_], _ if name not in COMMANDS:
                self.absent[self._test].add(name)
        return b""


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def commands_in(requests: BinaryIO) -> Iterator[tuple[bytes, list[str]]]:
    """Yield each command with its words; a plain line has none."""
    while data := requests.readline():
        words = list[str]()
        with suppress(ValueError):
            for _ in range(int(data[1:]) if data.startswith(b"*") else 0):
                head = requests.readline()
                word = requests.read(int(head[1:]) + 2)
                data += head + word
                words.append(word[:-2].decode("latin1"))
        yield data, words


class Failed(NamedTuple):
    """A test that failed."""

    name: str
    text: str  # what happened
    reason: str = ""  # none: a finding


class UnitResult(NamedTuple):
    """The report of the test program on a unit."""

    passed: list[str]
    failed: list[Failed]
    left_out: list[str]  # by its tags, or by `LEFT_OUT`


def read_report(report: str, proxy: Proxy) -> UnitResult:
    """Return the results of a unit, each failure with its reason."""
    result = UnitResult([], [], [])
    lines = _COLOUR.sub("", report).splitlines()
    for line, text in zip(lines, [*lines[1:], ""], strict=True):
        found = _RESULT.match(line)
        if found is None:
            continue
        kind, name = found[1], found[2].partition(" in tests/")[0]
        match kind:
            case "ok":
                result.passed.append(name)
            case "err" | "exception":
                result.failed.append(Failed(name, text, _reason_of(name, proxy)))
            case _:
                result.left_out.append(name)
    return result


def _reason_of(name: str, proxy: Proxy) -> str:
    reasons = [reason for pattern, reason in REASONS.items() if re.search(pattern, name)]
    absent = " ".join(sorted(proxy.absent.get(name, ())))
    return reasons[0] if reasons else f"{absent}: not here" if absent else ""


def run_unit(checkout: Path, unit: str, proxy: Proxy, report: Path) -> UnitResult:
    """Run a unit of the checkout, and return what its program reports."""
    command = ["tclsh", "tests/test_helper.tcl", "--host", "localhost", "--port", str(proxy.port)]
    command += [*OPTIONS, "--baseport", str(next(free_ports))]  # for its own parts
    command += ["--clients", "1", "--single", f"unit/{unit}"]
    for pattern in LEFT_OUT:
        command += ["--skiptest", pattern]
    with report.open("w") as out:
        program = subprocess.Popen(
            command, cwd=checkout, stdout=out, stderr=out, start_new_session=True
        )
        with suppress(subprocess.TimeoutExpired):
            program.wait(UNIT_S)
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)  # also its clients, if one waits for ever
        program.wait()
    text = report.read_text(errors="replace")
    result = read_report(text, proxy)
    if "Execution time of different units" not in text:
        last = text.strip().rpartition("\n")[2]
        result.failed.append(Failed(f"the unit did not reach its end within {UNIT_S} s", last))
    return result


def run_suite(checkout: Path, units: Sequence[str], folder: Path) -> int:
    """Run units against a node, and print a line for each, and what fails; return the number of
    findings."""
    findings = 0
    print(f"{'unit':<14}{'passed':>8}{'failed':>8}{'findings':>10}{'left out':>10}", flush=True)
    with Cluster(folder, 1, *STEADY) as cluster:
        cluster.start()
        for unit in units:
            proxy = Proxy(cluster.leader().port)
            report = folder / f"{unit.replace('/', '-')}.txt"
            result = run_unit(checkout, unit, proxy, report)
            proxy.close()
            unknown = [failed for failed in result.failed if not failed.reason]
            counts = len(result.passed), len(result.failed), len(unknown), len(result.left_out)
            print(f"{unit:<14}{counts[0]:>8}{counts[1]:>8}{counts[2]:>10}{counts[3]:>10}")
            for failed in result.failed:
                print(
                    f"    {failed.name}: {failed.reason or 'FINDING: ' + failed.text}", flush=True
                )
            findings += len(unknown)
    return findings


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="redis-suite", description="Redis's own tests on a node.")
    parser.add_argument("checkout", type=Path, help="a checkout of Redis 7.0")
    parser.add_argument("units", nargs="*", default=UNITS, help="such as type/hash; all if none")
    options = parser.parse_args(arguments)
    if not (options.checkout / "tests" / "test_helper.tcl").is_file():
        parser.error(f"{options.checkout} is no checkout of Redis: it has no tests/test_helper.tcl")
    with tempfile.TemporaryDirectory(prefix="redis-suite-") as folder:
        return min(1, run_suite(options.checkout, options.units, Path(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
