"""Runs of the simulator for check.py, and the facts in their reports. `PrintedReport` is pure."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from raftline.common.config import FAST

LAB = Path(__file__).resolve().parent
SOURCE = LAB.parents[2] / "src"
STALLED_S_MAX = 1.0
ELECTION_S = FAST.election_timeout_ms / 1000
_KILLED_AND_NEXT = (
    r"(?=([0-9]{4}) leads\|\1 was killed\|no leader is known\|(?!\1)([0-9]{4}) leads)"
)


class PrintedReport:
    """The contents of one report."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines()

    def count(self, name: str) -> int:
        """Return the number after a line of the report, -1 if there is no such line."""
        match = re.search(rf"^{re.escape(name)}.*: ([0-9]+)$", self.text, re.MULTILINE)
        return int(match[1]) if match else -1

    @property
    def leaders(self) -> list[str]:
        return re.findall("'([^']*)'", self.lines[1] if len(self.lines) > 1 else "")

    @property
    def failures(self) -> list[int]:
        names = (
            "Servers that crashed",
            "Total unanswered get()",
            "Total unanswered put()",
            "Total get() failure",
            "Total put() failures",
            "Total get() with wrong",
        )
        return [self.count(name) for name in names]

    @property
    def stalled_s(self) -> float:
        """How long the simulator itself was stalled."""
        match = re.search("simulator itself from working for ([0-9.]+) s", self.text)
        return float(match[1]) if match else 0.0

    @property
    def story(self) -> list[tuple[float, str]]:
        """The events and their times, from the end of the report."""
        events = (re.fullmatch(r" *([0-9.]+) s  (.+)", line) for line in self.lines)
        return [(float(each[1]), each[2]) for each in events if each]

    @property
    def successions(self) -> list[tuple[str, str]]:
        """Each leader that was killed while it led, with the next leader, after a time without
        one."""
        lines = [
            text
            for _, text in self.story
            if text.endswith((" leads", " was killed")) or text == "no leader is known"
        ]
        return re.findall(_KILLED_AND_NEXT, "|".join(lines))

    @property
    def silences_s(self) -> list[float]:
        """How long no quorum had heard from a leader that was not killed when another took over."""
        return [float(each) for each in re.findall("after ([0-9.]+) s in which no", self.text)]

    @property
    def only_silence_elected(self) -> bool:
        """Whether each leader that was not killed had been silent for as long as followers wait.
        Then this machine blocked the nodes, and no node took over without a reason."""
        return self.stalled_s > 0 or all(silent >= ELECTION_S for silent in self.silences_s)

    @property
    def lateness_s(self) -> list[float]:
        """How long after its trigger point, or after a leader was known, each leader was killed."""
        kills = [at for at, text in self.story if text.endswith(" was killed")]
        led = [at for at, text in self.story if text.endswith(" leads")]
        return [
            kill - max(trigger, *(at for at in led if at <= kill))
            for kill, trigger in zip(kills, (8.0, 16.0), strict=False)
        ]


class Run(PrintedReport):
    """One run of the simulator as a person would start it, and its output.

    If the machine is too busy, the first run is repeated: the simulator itself was stalled, or
    another leader was elected though none had been killed. Such a run says little about the
    cluster. There is no time to repeat all runs.
    """

    repeats_left = 1

    def __init__(self, command: list[str], name: str, folder: Path) -> None:
        self._carry_out(command, name, folder)
        quiet = " cut off from " not in self.text
        if Run.repeats_left and (self.stalled_s > STALLED_S_MAX or (quiet and self.silences_s)):
            Run.repeats_left -= 1
            print("--  this machine was too busy for its servers; once more", flush=True)
            self._carry_out(command, name, folder)
        if self.stalled_s > STALLED_S_MAX:
            print(
                f"--  this machine stood still for {self.stalled_s} s: what fails now, fails"
                " perhaps because of that; try again when it has less to do",
                flush=True,
            )

    def _carry_out(self, command: list[str], name: str, folder: Path) -> None:
        output = folder / f"{name}.txt"
        history, self.page = folder / f"{name}.jsonl", folder / f"{name}.html"
        print(f"--  {name}: {' '.join(command)} {name}.json", flush=True)
        with output.open("w") as file:
            ended = subprocess.run(
                [
                    sys.executable,
                    *command,
                    str(LAB / f"{name}.json"),
                    "--history",
                    str(history),
                    "--html",
                    str(self.page),
                ],
                cwd=SOURCE,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        self.status, self.said = ended.returncode, ended.stderr
        super().__init__(output.read_text())
        self.history = [json.loads(line) for line in history.read_text().splitlines()]
