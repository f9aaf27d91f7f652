"""`raftline check perf`: put a load on a running cluster, and report whether it handled the
load."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from raftline.clients.asyncio.asker import AioAsker
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.kv.aio_kv import AioKV
from raftline.clients.terminal.streams import say
from raftline.common.address import Address
from raftline.common.arguments import as_seconds
from raftline.common.config import ConfigError

from ..asking import asking
from ..asking_options import add_asking_options, add_quiet
from ..status.status import ask_all

if TYPE_CHECKING:
    from raftline.common.arguments import Commands


class Load(NamedTuple):
    """A rate of writes, and the tasks that make them."""

    writes: int  # a second
    tasks: int  # concurrent tasks


LOADS: Final = {
    "s": Load(150, 50),
    "m": Load(1_000, 200),
    "l": Load(4_000, 500),  # this program uses most of a core for it
}
VALUE = "x" * 256
SHARE_LEAST = 0.9  # of the requested writes
SLOWEST_S, DEVIATION_S = 0.5, 0.1
EXIT_FAILED = 1


class Measured(NamedTuple):
    """The result of a load."""

    load: Load
    seconds: float
    waits_s: Sequence[float]  # of acknowledged writes, each from its scheduled time
    problems: Sequence[str]

    @property
    def verdicts(self) -> list[tuple[bool, str]]:
        """Each criterion: whether it is met, and the figure."""
        rate, waits = len(self.waits_s) / self.seconds, self.waits_s or [float("inf")]
        slowest, deviation = max(waits), statistics.pstdev(waits) if self.waits_s else float("inf")
        return [
            (
                rate >= SHARE_LEAST * self.load.writes,
                f"{rate:,.0f} writes a second; {self.load.writes:,} were requested",
            ),
            (
                slowest <= SLOWEST_S,
                f"the slowest write took {slowest:.3f} s; {SLOWEST_S} s is good",
            ),
            (
                deviation <= DEVIATION_S,
                f"the standard deviation is {deviation:.3f} s; {DEVIATION_S} s is good",
            ),
            (not self.problems, self._failures),
        ]

    @property
    def _failures(self) -> str:
        if not self.problems:
            return "no write failed"
        return f"{len(self.problems):,} writes failed; the first one: {self.problems[0]}"

    @property
    def is_good(self) -> bool:
        return all(good for good, _ in self.verdicts)


@asking
def _ask_perf(
    options: argparse.Namespace, nodes: Mapping[str, Address], access: ClientAccess
) -> int:
    """Put a cluster under a load for some seconds, with keys under a prefix, and delete the keys.
    Print the verdict and return the exit code. It is 0 if the cluster handled the load, 1 if it did
    not, or else the client's exit code.

    Raises:
        ConfigError: there are keys with the prefix already.
    """
    asker = AioAsker([*nodes.values()], "raftline", options.timeout, access)
    load = LOADS[options.load]
    measured = asyncio.run(_measure(asker, load, options.seconds, options.prefix))
    if options.json:
        say(as_json(measured))
    else:
        for good, text in measured.verdicts:
            say(f"[{'*' if good else '!'}] {text}")
        for node in ask_all(nodes, access, options.timeout):
            if (node.answer or {}).get("python_optimized") is False:
                say(
                    f"[*] the Python of {node.name} is not optimized, and takes a third more time "
                    "(docs/operate/service.md#python)"
                )
    return 0 if measured.is_good else EXIT_FAILED


def as_json(measured: Measured) -> str:
    """Return the figures as one JSON object in one line."""
    waits = sorted(measured.waits_s)
    shares = {"p50_s": 0.5, "p99_s": 0.99, "slowest_s": 1.0}
    quantiles = {name: waits[min(int(share * len(waits)), len(waits) - 1)] if waits else None
                 for name, share in shares.items()}  # fmt: skip
    rate = round(len(waits) / measured.seconds, 1)
    return json.dumps(
        {"ok": measured.is_good, "verb": "check perf", "writes_per_s": rate,
         "wanted_per_s": measured.load.writes, **quantiles, "failed": len(measured.problems)}
    )  # fmt: skip


async def _measure(asker: AioAsker, load: Load, seconds: float, prefix: str) -> Measured:
    waits_s: list[float] = []
    problems: list[str] = []
    async with AioKV(asker, TEXT) as kv:
        async for key in kv.keys(prefix):
            raise ConfigError(
                f"--prefix {prefix}: there is {key}, which would be deleted at the end"
            )
        await kv.set(f"{prefix}0", VALUE)  # raises if the cluster takes no writes at all
        begin_s = time.monotonic()
        due = iter(range(int(load.writes * seconds)))

        async def write() -> None:
            for number in due:
                due_s = begin_s + number / load.writes
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if time.monotonic() > begin_s + seconds:
                    return
                try:
                    await kv.set(f"{prefix}{number % 1000}", VALUE)
                    waits_s.append(time.monotonic() - due_s)
                except ClientError as failure:
                    problems.append(str(failure))

        try:
            await asyncio.gather(*(write() for _ in range(load.tasks)))
            ended_s = time.monotonic() - begin_s
        finally:
            with contextlib.suppress(ClientError):
                await kv.clear(prefix)
    return Measured(load, max(seconds, ended_s), waits_s, problems)


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    check = commands.add_parser(
        "check",
        help="test whether a running cluster bears a load, or whether its members agree: raftline "
        "check perf, check replicas",
        description="Check a running cluster.",
    )
    actions = check.add_subparsers(metavar="WHAT", required=True)
    perf = actions.add_parser(
        "perf",
        help="a minute of writes, and a verdict",
        description="Write values of 256 bytes at a given rate, under a prefix that is cleared "
        "afterwards, and report whether the cluster bore it. Exit code 0: it did; 1: it did not; "
        "3: no leader; 5: refused or unreachable; 6: login; 8: TLS.",
    )
    rates = "150, 1,000 or 4,000 writes a second (s)"
    perf.add_argument("--load", choices=("s", "m", "l"), default="s", help=rates)
    perf.add_argument(
        "--for", dest="seconds", type=as_seconds, default=60.0, metavar="SECONDS", help="(60)"
    )
    prefix = "raftline-check-perf/"
    perf.add_argument("--prefix", default=prefix, metavar="PREFIX", help=f"of its keys ({prefix})")
    perf.add_argument("--json", action="store_true", help="for programs")
    add_asking_options(perf, 10.0)
    add_quiet(perf, _perf)
    replicas = actions.add_parser(
        "replicas",
        help="whether all members hold the same state, and the first key that differs",
        description="Let all members sum their states after one entry, compare the sums, and show "
        "the first key that differs. Exit code 0: all are equal; 1: some differ; 3: no leader; 5: "
        "refused, or a member was not compared; 6: login; 8: TLS.",
    )
    replicas.add_argument("--json", action="store_true", help="for programs")
    add_asking_options(replicas, 30.0)
    add_quiet(replicas, _replicas)


def _replicas(options: argparse.Namespace) -> int:
    from .replicas import carry_out_check

    return carry_out_check(options)


def _perf(options: argparse.Namespace) -> int:
    if not options.prefix:
        raise ConfigError("--prefix: is empty, and would mean all keys; choose another one")
    return _ask_perf(options)
