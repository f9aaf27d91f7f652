"""Play a lab's transcript against the first `raftline` on the path.

Two kinds, distinguished by their first act. Most play a cluster of cores, by the rules of
`raftline_testing/transcripts/player.py`, but without its invariants: they would stop at the first
wrong step, and a student has to see its consequences. `> files s1` plays one node's files:

    > files s1                    a node in an empty folder starts
    > append 3 2 set b 30         one entry, made durable
    > save 7 s2                   term and vote, made durable
    > apply                       everything appended since is committed: executed, and answered
    > cat s1.log
    > restart                     the process is killed, and starts again from its files
    > power cut                   the same, and what was not synced is gone
    > torn 9 3 1 set b 57         the power goes within an entry: 9 bytes of it are on the disk
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random
from typing import Any

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.transcripts.player import Player


class Unchecked:
    """A replacement for the invariants, which lets everything happen."""

    acknowledged_index = 0

    def hears(self, *_: object) -> bool:
        return True

    def replied(self, *_: object) -> int:
        return 0

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


class Misfortune(Random):
    """The source of chance for a power cut: all unsynced data is lost, including the last
    rename."""

    def random(self) -> float:
        return 0.0

    def randrange(self, *_: object) -> int:  # type: ignore[override]
        return 0

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[0]


class FilesStage:
    """One node's LogManager over a folder in memory."""

    def __init__(self) -> None:
        self._folder = MemoryFolder()
        self._unapplied: list[Entry] = []

    def play(self, act: str) -> list[str]:
        """Do one act and return its events."""
        verb, _, rest = act.partition(" ")
        match verb:
            case "files":
                self._name = rest
                return self._boot()
            case "append":
                index, term, command = rest.split(" ", 2)
                entry = Entry(int(index), int(term), command)
                self._manager.persist([Effects(append=[entry])])
                self._unapplied.append(entry)
                return [f"{self._name} is told: on disk up to entry {index}"]
            case "save":
                term, vote = rest.split()
                self._manager.persist([Effects(save=HardState(int(term), vote))])
                return [f"{self._name} is told: on disk, term {term} vote {vote}"]
            case "apply":
                entries, self._unapplied = self._unapplied, []
                replies = self._manager.apply(entries)
                return [f"{e.index}: {reply}" for e, reply in zip(entries, replies, strict=True)]
            case "cat":
                # The name comes first, or a log line that begins with # would look like a remark.
                lines = self._folder.content(rest).decode().splitlines()
                return [f"{rest}: {line}" for line in lines]
            case "restart":
                self._folder = self._folder.kill()
                return self._boot()
            case "power":
                self._folder = self._folder.crash(Misfortune())
                return self._boot()
            case "torn":
                bytes_written, _, line = rest.partition(" ")
                return self._tear(int(bytes_written), line)
        raise ValueError(f"no such act: {act}")

    def _tear(self, bytes_written: int, line: str) -> list[str]:
        log = f"{self._name}.log"
        self._folder = self._folder.kill()
        torn = self._folder.content(log) + line.encode()[:bytes_written]
        self._folder.put(log, torn)
        return self._boot()

    def _boot(self) -> list[str]:
        self._manager = LogManager(self._name, self._folder, {self._name: "localhost:10000"})
        recovered = self._manager.recover()
        log = recovered.log
        self._unapplied = log.entries(1, log.last_index)
        term, vote = recovered.hard_state[:2]
        return [
            *recovered.notes,
            f"{self._name}: term {term} vote {vote}, log ends at {log.last_index}",
        ]


def perform(transcript: str) -> str:
    """Return the transcript with the actual events after each act, up to a crash if any."""
    acts = [line for line in transcript.splitlines() if line.startswith("> ")]
    player: FilesStage | Player
    if acts[0].startswith("> files"):
        player = FilesStage()
    else:
        player = Player()
        player.cluster.invariants = Unchecked()  # type: ignore[assignment]
    lines: list[str] = []
    for line in transcript.splitlines():
        if line.startswith("> "):
            lines.append(line)
            try:
                lines += player.play(line[2:])
            except Exception as error:
                lines.append(f"!! {type(error).__name__}: {error}")
                break
        elif not line or line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(perform(sys.stdin.read()))
