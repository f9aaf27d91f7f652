"""Look for amplification: a few bytes that make a node keep or compute very much.

`make -C testing amplification [MINUTES=60] [SEED=3]`. Each example is a command of a table of the
product, so a new command is covered by itself: with words that name large values, many times, as
one command, one after the other, or as one transaction. A real node serves it, and its memory, its
processor time and its reply are measured. Exit codes: 0 no fault, 1 a fault, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftline.wire.commands.command_table import COMMANDS, IN_TRANSACTIONS
from raftline.wire.protocol import escape

from ..extensions import joined
from ..nodes.cluster import Cluster, NodeProcess

# Why these bounds: one request may have 8 MiB of replies (ANSWER_BYTES), which are there as values,
# as a text of up to four bytes a character, and encoded; an entry of a megabyte, each of whose
# bytes is written as four, is there as a line, parsed, and in the log. The bytes that were sent are
# kept some times over. What may be kept between two requests has its own bounds.
KEPT_BYTES: Final = 96 << 20
KEPT_PER_BYTE: Final = 30
# An entry with a megabyte of escapes takes 0.15 s, and an `EXEC` copies 64 MiB at most. A reply of
# a megabyte takes some milliseconds. Each byte that is sent is parsed.
COMPUTED_S: Final = 0.8
COMPUTED_PER_REQUEST_S: Final = 0.25
COMPUTED_PER_BYTE_S: Final = 20e-6
COMPUTED_PER_REPLIED_S: Final = 60e-9
TOOK: Final = "it took"
TRIES: Final = 3
SENT_BYTES: Final = 48 << 10
VALUE: Final = 1_000_000
PATIENCE_S: Final = 60.0
# These end what the others measure by: the node's members, its users, its values.
LEFT_OUT: Final = frozenset(
    [
        "add",
        "remove",
        "replace",
        "promote",
        "demote",
        "update",
        "transfer",
        "clear",
        "FLUSHALL",
        "FLUSHDB",
    ]
)
VALUES: Final = {
    "big": b"x" * VALUE, "nul": b"\0" * VALUE, "wide": "é".encode() * (VALUE // 2),
    "digits": b"7" * VALUE,
}  # fmt: skip
WORDS: Final = (
    *VALUES, "k", "*", "?" * 500 + "*x", "[^a]" * 250, "__keyspace@0__:*", "__keyspace@0__:" * 60,
    "0", "1", "-1", "5", "1000000", "x", "x" * 800, "EX", "PX", "GET", "NX", "MATCH", "COUNT",
    "100000", "INFO", "LIST", "REPLACE", "then", ";", "=", "if", "read", "log", "after", "lease-1",
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """Bytes to send, and the number of requests in them."""

    name: str
    data: bytes
    requests: int


@dataclass(frozen=True)
class Cost:
    """The cost of an example for the node."""

    kept: int
    computed_s: float
    replied: int

    def excess(self, example: Example) -> str:
        """Return which bound it exceeds, or ""."""
        sent = len(example.data)
        kept_max = KEPT_BYTES + KEPT_PER_BYTE * sent
        computed_max_s = (
            COMPUTED_S
            + COMPUTED_PER_REQUEST_S * example.requests
            + COMPUTED_PER_BYTE_S * sent
            + COMPUTED_PER_REPLIED_S * self.replied
        )
        if self.kept > kept_max:
            return f"it kept {self.kept >> 20} MiB for {sent} bytes; {kept_max >> 20} are right"
        if self.computed_s > computed_max_s:
            return f"{TOOK} {self.computed_s:.2f} s for {sent} bytes; {computed_max_s:.2f} is right"
        return ""


def tables() -> list[tuple[Iterable[str], Callable[[str, random.Random], Example]]]:
    """Return the commands of each door, and of lines, each with what makes an example of one."""
    doors = [(module.COMMANDS, module.example_of) for module in joined("amplification")]
    return [*doors, (COMMANDS, _of_lines)]


def examples(chance: random.Random) -> Iterator[Example]:
    """Yield examples of each table: every command once, then every command again."""
    while True:
        rows = [(name, of) for names, of in tables() for name in names if name not in LEFT_OUT]
        chance.shuffle(rows)
        for name, example_of in rows:
            yield example_of(name, chance)


def _of_lines(verb: str, chance: random.Random) -> Example:
    words = chance.choices(WORDS, k=chance.randrange(4))
    words = [" ".join([word] * chance.choice((1, 1, 1, 30))) for word in words]
    line = " ".join([verb, *words])
    if verb in IN_TRANSACTIONS and chance.random() < 0.7:
        count = min(128, SENT_BYTES // (len(line) + 3) + 1)
        return Example(f"txn {verb}", f"txn {' ; '.join([line] * count)}\n".encode(), 1)
    return Example(verb, f"{line}\n".encode() * 5, 5)


class Measured:
    """A node, with its values prepared, and what examples cost it."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._sizes: dict[str, bytes] = {}  # of the values that doors prepare, as `stat` shows them
        self._prepare()

    def excess_of(self, example: Example) -> str:
        """Return which bound an example exceeds, or "". On a busy machine a thread that waits for a
        processor may be charged for it, so too much time counts if it is taken every time."""
        for _ in range(TRIES):
            excess = self.cost_of(example).excess(example)
            if not excess or not excess.startswith(TOOK):
                break
        return excess

    def cost_of(self, example: Example) -> Cost:
        """Send an example, and wait until it was served, and its connection has ended."""
        self._prepare()
        before_s, before = self._computed_s(), self._memory("VmRSS")
        self._process("clear_refs").write_text("5")  # VmHWM begins again
        replied = self._exchange(example.data)
        kept = max(0, self._memory("VmHWM") - before)
        return Cost(kept, self._computed_s() - before_s, replied)

    def _prepare(self) -> None:
        """Set the values that the last example changed or removed."""
        with self._connected() as there, there.makefile("rb") as replies:
            for key, value in VALUES.items():
                there.sendall(f"stat {key}\n".encode())
                if b'"bytes": %d}' % len(value) not in replies.readline():
                    there.sendall(f"set {key} {escape(value.decode(), key=False)}\n".encode())
                    replies.readline()
        prepared = {
            key: of for each in joined("amplification") for key, of in each.PREPARED.items()
        }
        sizes = self._sizes_of(prepared)
        for key in prepared:
            if not self._sizes or sizes[key] != self._sizes[key]:
                self._exchange(b"".join(prepared[key]))
        self._sizes = self._sizes or self._sizes_of(prepared)

    def _sizes_of(self, keys: Iterable[str]) -> dict[str, bytes]:
        with self._connected() as there, there.makefile("rb") as replies:
            there.sendall("".join([f"stat {key}\n" for key in keys]).encode())
            return {key: replies.readline().rpartition(b'"bytes"')[2] for key in keys}

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("localhost", self._node.port), PATIENCE_S) as there:
            yield there

    def _exchange(self, data: bytes) -> int:
        """Return the number of bytes of the replies."""
        replied = 0
        with self._connected() as there, contextlib.suppress(ConnectionError):
            there.sendall(data)
            there.shutdown(socket.SHUT_WR)
            while piece := there.recv(1 << 20):
                replied += len(piece)
        return replied

    def _process(self, file: str) -> Path:
        return Path(f"/proc/{self._node.pid}/{file}")

    def _computed_s(self) -> float:
        fields = self._process("stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, what: str) -> int:
        found = re.search(rf"{what}:\s+(\d+)", self._process("status").read_text())
        return int(found[1]) << 10 if found else 0


def carried_out(node: NodeProcess, seconds: float, begin: int) -> int:
    """Look for a fault for this long; return the exit code."""
    end_s, count, measured = time.monotonic() + seconds, 0, Measured(node)
    print(f"{seconds:.0f} s, SEED={begin}", flush=True)
    for example in examples(random.Random(begin)):
        excess = measured.excess_of(example)
        count += 1
        if excess:
            shown = example.data[:400].decode("utf-8", "replace")
            print(f"{example.name}: {excess}; SEED={begin}, example {count}: {shown!r}", flush=True)
            return 1
        if time.monotonic() >= end_s:
            break
    print(f"{count:,} examples, no fault", flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), 1, "--pace", "fast") as cluster,
    ):
        (node,) = cluster.start("--new").nodes
        return carried_out(node, options.minutes * 60, options.seed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
