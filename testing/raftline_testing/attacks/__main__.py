"""All attacks at once, while users work: `make -C testing attacks MINUTES=60`.

Three nodes with users, a secret and TLS pass if no leader is lost, no user is refused, the median
of a user's set and of a get is below MEDIAN_S, and each node gives back its memory and takes no
more than it announced at its start, not counting the keys. The nodes and the users get the highest
priority on this machine and the attackers a lower one, as far as the account may set priorities.
A run of less than SHORT_S, as in `.ci/run`, judges neither time nor memory: all nodes must keep
running, and no user may read a wrong value. Exit codes: 0 they passed, 1 they failed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from .attackers import ATTACKS, wave
from .field import Field, Nodes, fill
from .users_at_work import UsersAtWork, WrongAnswer

MIB = 1 << 20
BACK_S = 60.0  # until the memory must be given back
# Memory that stays by design: replies of sessions and events (64 MiB), and the log up to a
# snapshot.
WIDE = 4  # bytes of a character in memory if the text is not ASCII
BACK_PART = 2  # of the most that a node may take
CHECK_S = 1.0
REPORT_S = 30.0
NICE = 10
MEDIAN_S = 0.05  # of a set and of a get of a user who does not attack
SHORT_S = 60.0  # in a shorter run a busy machine distorts the figures
FAR = 8  # times what a node may take: nothing more can be learned


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", choices=sorted(ATTACKS), action="append", help="repeatable")
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--in-turn", type=float, metavar="SECONDS", help="one after the other")
    options = parser.parse_args()
    names = options.only or list(ATTACKS)
    with tempfile.TemporaryDirectory() as folder, Nodes(Path(folder)) as nodes:
        campaign = Campaign(nodes, names)
        if options.in_turn:
            return campaign.run_in_turn(options.in_turn)
        problems = campaign.run(options.minutes * 60)
        if options.report:
            options.report.parent.mkdir(parents=True, exist_ok=True)
            options.report.write_text(json.dumps(campaign.facts(), indent=1))
    for problem in problems:
        print(f"[!] {problem}", flush=True)
    return 1 if problems else 0


class Campaign:
    """One run."""

    def __init__(self, nodes: Nodes, names: list[str]) -> None:
        self._nodes, self._names = nodes, names
        self._waves = {name: multiprocessing.Value("i", 0) for name in names}
        self._samples: list[list[int]] = []
        self._base: list[int] = []
        self._most = 0
        self._log = 0  # bytes of the longest log, as it is held in memory
        self._back_after_s = -1.0
        self._peaks: list[int] = []
        self._users: UsersAtWork | None = None

    def run_in_turn(self, seconds: float) -> int:
        """Carry out the attacks in turn, and print the result of each."""
        nodes = self._nodes
        nodes.begin()
        fill(nodes.field)
        users = UsersAtWork(nodes.field)
        users.begin()
        time.sleep(2 * CHECK_S)
        for name in self._names:
            before, terms = nodes.memory(), nodes.seen()
            for node in nodes.nodes:
                Path(f"/proc/{node.pid}/clear_refs").write_text("5")
            done = [work.done for work in users.works]
            for work in users.works:
                work.longest_s = 0.0
                work.times_s.clear()
                work.refused.clear()
            process = multiprocessing.Process(
                target=attack, args=(nodes.field, name, self._waves[name])
            )
            process.start()
            time.sleep(seconds)
            process.kill()
            process.join()
            peaks = nodes.peaks()
            time.sleep(2 * CHECK_S)
            rises = [peak - memory for peak, memory in zip(peaks, before, strict=True)]
            done = [work.done - was for work, was in zip(users.works, done, strict=True)]
            longest = max(work.longest_s for work in users.works if not work.holds)
            medians = [
                ms(work.median_s) for work in users.works if work.name in ("writer", "reader")
            ]
            is_same = "" if nodes.seen() == terms else f" {terms} {nodes.seen()}"
            refused = sum(len(work.refused) for work in users.works)
            print(
                f"{name:28} {self._waves[name].value:5} waves, +{mib(rises)} to {mib(peaks)}, now "
                f"{mib(nodes.memory())}, done {done}, medians {' '.join(medians)}, "
                f"longest {longest:.1f} s, {refused} refused"
                f"{is_same}",
                flush=True,
            )
        users.end()
        return 0

    def run(self, seconds: float) -> list[str]:
        """Attack for this long; return the expectations that did not hold."""
        nodes = self._nodes
        nodes.begin()
        empty = nodes.memory()
        fill(nodes.field)
        self._users = users = UsersAtWork(nodes.field)
        users.begin()
        time.sleep(2 * CHECK_S)
        self._base = nodes.memory()
        keys = [max(0, now - before) for now, before in zip(self._base, empty, strict=True)]
        self._most = nodes.said_most()
        print(f"empty {mib(empty)}, keys {mib(keys)}, at most {self._most // MIB} MiB", flush=True)
        before = nodes.seen()
        attackers = [
            multiprocessing.Process(target=attack, args=(nodes.field, name, self._waves[name]))
            for name in self._names
        ]
        for process in attackers:
            process.start()
        self._look_on(seconds)
        for process in attackers:
            process.kill()
        for process in attackers:
            process.join()
        self._peaks = nodes.peaks()
        if seconds >= SHORT_S:
            self._wait_until_back()
        users.end()
        self._report()
        problems = [f"{node.name} ended" for node in nodes.nodes if node not in nodes.running]
        if seconds < SHORT_S:
            refused = [each for work in users.works for each in work.refused]
            return problems + [each for each in refused if each.startswith(WrongAnswer.__name__)]
        after = nodes.seen()
        problems += [f"leader and term were {before}, and are {after}"] if before != after else []
        return problems + self._problems(keys, users)

    def _problems(self, keys: list[int], users: UsersAtWork) -> list[str]:
        """Return the problems with memory and users; `keys` are the bytes of the keys in each
        node."""
        problems, nodes = [], self._nodes
        for node, peak, of_keys in zip(nodes.nodes, self._peaks, keys, strict=True):
            if peak > self._most + of_keys + self._log:
                problems.append(f"{node.name} took {mib([peak])} MiB, {mib([of_keys])} of it keys")
        if self._back_after_s < 0:
            problems.append(f"{BACK_S:.0f} s later the nodes have {mib(nodes.memory())} MiB")
        for work in users.works:
            problems += [f"{work.name}: {each}" for each in work.refused[:10]]
            if not work.done:
                problems.append(f"{work.name}: nothing was done")
            if work.name in ("writer", "reader") and work.median_s > MEDIAN_S:
                problems.append(f"{work.name}: the median of a call is {ms(work.median_s)}")
        return problems

    def _look_on(self, seconds: float) -> None:
        begun_s = reported_s = time.monotonic()
        while (now_s := time.monotonic()) - begun_s < seconds:
            self._samples.append(self._nodes.memory())
            if max(self._samples[-1]) > FAR * self._most:
                return
            if now_s - reported_s >= REPORT_S:
                reported_s = now_s
                self._log = max(self._log, WIDE * self._nodes.log_bytes())
                print(f"{now_s - begun_s:6.0f} s: {self._line()}", flush=True)
            time.sleep(CHECK_S)

    def _line(self) -> str:
        done = {work.name: work.done for work in self._users.works} if self._users else {}
        refused = sum(len(work.refused) for work in self._users.works) if self._users else 0
        return (
            f"{mib(self._samples[-1])} MiB, peaks {mib(self._nodes.peaks())}, threads "
            f"{self._nodes.threads()}, {self._nodes.seen()}, {done}, {refused} refused"
        )

    def _wait_until_back(self) -> None:
        """Wait until each node has given back all except a part of its permitted memory."""
        begun_s = time.monotonic()
        allowed = [base + self._most // BACK_PART + self._log for base in self._base]
        while time.monotonic() - begun_s < BACK_S:
            now = self._nodes.memory()
            self._samples.append(now)
            if all(a <= b for a, b in zip(now, allowed, strict=True)):
                self._back_after_s = time.monotonic() - begun_s
                break
            time.sleep(CHECK_S)
        print(f"after the end: {mib(self._nodes.memory())} MiB", flush=True)

    def facts(self) -> dict[str, object]:
        users = self._users.works if self._users else []
        return {
            "waves": {name: count.value for name, count in self._waves.items()},
            "most": self._most, "base": self._base, "peaks": self._peaks,
            "back_after_s": self._back_after_s, "samples": self._samples,
            "users": {
                work.name: [work.done, work.median_s, work.longest_s, work.refused]
                for work in users
            },
        }  # fmt: skip

    def _report(self) -> None:
        print(f"log {mib([self._log])} MiB, peaks {mib(self._peaks)} MiB")
        print(f"back after {self._back_after_s:.0f} s")
        for name, count in self._waves.items():
            print(f"{name:28} {count.value:7} waves")
        for work in self._users.works if self._users else ():
            print(
                f"{work.name:12} {work.done:7} done, median {ms(work.median_s)}, "
                f"longest {work.longest_s:.1f} s, "
                f"{len(work.refused)} refused"
            )


def attack(field: Field, name: str, count: object) -> None:
    """Repeat one attack in this process, until the process is killed."""
    os.nice(NICE)
    while True:
        wave(field, ATTACKS[name])
        count.value += 1  # type: ignore[attr-defined]
        time.sleep(0.05)


def ms(time_s: float) -> str:
    return f"{1000 * time_s:.0f} ms"


def mib(sizes: list[int]) -> str:
    return " ".join(str(size // MIB) for size in sizes)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    sys.exit(main())
