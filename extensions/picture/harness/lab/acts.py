"""The acts of a person in the lab. Most are those of a transcript.

Before the start: timeouts, log, entry, state, leases, batch, clock, newborn, as in
transcripts/player.py, and `network 5 15`: the shortest and longest time of a message's way.

    crash s1, power s1              the process is killed; the power fails
    restart s1, pause s1, resume s1
    lose log s1, lose storage s1, lose all s1
    slow disk s1 40, hold disk s1, release disk s1
    cut s1, cut s1 -> s2, cut s1 s2 | s3, mend s1 s2, heal
    deliver 12, drop 12, double 12, hold 12        a message in flight, by its number
    s1 <- client4@set b 5, s1 <- s2@RequestVote 7-0-0
    s1 hands over, s1 hands over to s2
    snapshot s1, join s4
    edit s1 "1 1 noop\\n"           the log file of a stopped node, as a JSON string; the lab
                                  writes its checksum, and its end into NAME.storage
    damage s1 "1 1 no"              the same file as it is, without a checksum
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from zlib import crc32

from raftline.storage.disk import BuildRefused, FilesRefused, StorageError
from raftline.storage.folder import Folder
from raftline.storage.hard_state import HardStateFile, Mark
from raftline.storage.log_lines import CUT_PREFIX, checksum_line, looks_like_base
from raftline.storage.start_plan import read_plan
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.transcripts.player import Player
from raftline_testing.virtual.script import ScriptedHost

from .cluster import LabCluster
from .live_picture import LivePicture

ADVICE = "Edit its log again, or lose it: both are on the card of {}"
FORGED = "from now on, only the rules that no forger can break are checked"
SLOWEST_MS = 10_000
LOG_MAX = 100_000  # characters of an edited log
LINE_MAX = 2000  # characters of a typed line
SETTINGS = (
    "timeouts", "log", "entry", "state", "leases", "batch", "clock", "newborn", "network",
)  # fmt: skip

_N, _M = r"(?P<node>s[1-9])", r"(?P<message>\d{1,9})"
_SIDE = r"s[1-9](?: s[1-9])*"
_ACTS = tuple(
    (re.compile(pattern), needs)
    for pattern, needs in (
        (rf"(?:crash|power|pause|snapshot|hold disk|release disk) {_N}", "up"),
        (rf"slow disk {_N} \d{{1,5}}", "up"),
        (rf"(?:lose log|lose storage|lose all|restart) {_N}", "known"),
        (rf"resume {_N}", "paused"),
        (rf"cut (?P<sides>{_SIDE}(?: -> (?:{_SIDE}|all)| \| {_SIDE})?)", "known"),
        (r"mend (?P<sides>s[1-9] s[1-9])", "known"),
        (r"heal", ""),
        (rf"(?:deliver|drop|double|hold) {_M}", "in flight"),
        (rf"{_N} <- [A-Za-z][\w#-]{{0,40}}@.+", "up"),
        (rf"{_N} hands over(?: to s[1-9])?", "up"),
        (r"join (?P<new>s[1-9])", "new"),
        (rf"(?:edit|damage) {_N} \".*\"", "down"),
    )
)


class ActRefused(Exception):
    """An act that can't be done now; the sentence says why."""


class LabPlayer(Player):
    """Acts on the cluster of the lab."""

    cluster: LabCluster

    def __init__(self, cluster: LabCluster, picture: LivePicture) -> None:
        super().__init__(picture, cluster)

    def set_up(self, settings: tuple[str, ...], names: tuple[str, ...]) -> None:
        """Make and start the servers.

        Raises:
            ActRefused: a setting makes no sense.
        """
        for setting in settings:
            if setting.split(" ")[0] not in SETTINGS:
                raise ActRefused(f"before the start there is no {setting!r}")
            try:
                self.play(setting)
            except (AssertionError, IndexError, KeyError, ValueError) as error:
                raise ActRefused(f"{setting!r} does not work before the start: {error}") from error
        self.play(f"start {' '.join(names)}")
        if self.cluster.clocks and self.cluster.options.lease:
            self.cluster.invariants.is_forged = True  # a lease relies on the clocks

    def do(self, act: str) -> None:
        """Do one act.

        Raises:
            ActRefused: it can't be done; nothing happened.
        """
        self._check(act)
        self.play(act)

    def _check(self, act: str) -> None:
        if len(act) > (LOG_MAX if act.startswith(("edit ", "damage ")) else LINE_MAX):
            raise ActRefused("this is too long")
        for pattern, needs in _ACTS:
            if match := pattern.fullmatch(act):
                self._check_parts(match.groupdict(), needs)
                return
        raise ActRefused(f"there is no act {act!r}")

    def _check_parts(self, parts: dict[str, str | None], needs: str) -> None:
        cluster = self.cluster
        for name in re.findall(r"s\d", f"{parts.get('node')} {parts.get('sides')}"):
            if name not in cluster.hosts:
                raise ActRefused(f"there is no node {name}")
        number = parts.get("message")
        if number is not None and int(number) not in cluster.network.flights:
            raise ActRefused(f"message {number} is not in flight")
        if (new := parts.get("new")) is not None and new in cluster.hosts:
            raise ActRefused(f"{new} is there already")
        if node := parts.get("node"):
            self._check_state(cluster.hosts[node], needs)

    def _check_state(self, host: ScriptedHost, needs: str) -> None:
        if needs in ("up", "paused") and host.node is None:
            raise ActRefused(f"{host.name} is down")
        if needs == "paused" and not host.paused:
            raise ActRefused(f"{host.name} is not paused")
        if needs == "down" and host.node is not None:
            raise ActRefused(f"{host.name} runs: crash it before you edit its log")

    # --- acts that a transcript lacks ---------------------------------------------------------

    def _line(self, to: str, sender: str, text: str) -> None:
        if sender in self.cluster.hosts:
            self.cluster.invariants.is_forged = True
            self.cluster.receive(sender, to, text)
        else:
            self.cluster.request(to, sender, text)

    def play(self, act: str) -> list[str]:
        words = act.split(" ")
        verb = "slow disk" if act.startswith("slow disk ") else words[0]
        if verb == "hold" and words[1] != "disk":
            verb = "hold message"
        own = self._own_acts().get(verb)
        if own is None:
            return super().play(act)
        own(words[1:] if verb != "slow disk" else words[2:])
        return []

    def _own_acts(self) -> dict[str, Callable[[list[str]], object]]:
        network, hosts = self.cluster.network, self.cluster.hosts
        return {
            "network": self._set_network,
            "power": lambda words: self._power(words[0]),
            "pause": lambda words: hosts[words[0]].pause(),
            "resume": lambda words: hosts[words[0]].resume(),
            "slow disk": self._slow_disk,
            "mend": lambda words: network.mend_between(*words),
            "deliver": lambda words: self.cluster.receive(*network.take_one(int(words[0]))),
            "drop": lambda words: self._lose_message(int(words[0])),
            "double": lambda words: network.double(int(words[0])),
            "hold message": lambda words: network.hold(int(words[0])),
            "edit": lambda words: self._edit(words[0], " ".join(words[1:])),
            "damage": lambda words: self._write(words[0], _text_in(" ".join(words[1:]))),
        }

    def _set_network(self, words: list[str]) -> None:
        shortest_ms, longest_ms = map(int, words)
        if not 0 <= shortest_ms <= longest_ms <= SLOWEST_MS:
            raise ValueError("two times in milliseconds, the shorter one first")
        self.cluster.network.delay_ms = (shortest_ms, longest_ms)

    def _power(self, name: str) -> None:
        self.cluster.hosts[name].stop(power_cut=True)
        self.cluster.deliver(to=name, drop=True)

    def _slow_disk(self, words: list[str]) -> None:
        host, slow_ms = self.cluster.hosts[words[0]], int(words[1])
        host.slow_ms = (lambda: slow_ms) if slow_ms else None

    def _lose_message(self, number: int) -> None:
        self.cluster.lose(self.cluster.network.take_one(number), "way")

    def _edit(self, name: str, formatted: str) -> None:
        """Write the log file of a stopped node, with its checksum."""
        folder, file = self.cluster.hosts[name].disk.folder, f"{name}.log"
        sealed = _with_checksum(_text_in(formatted), folder.contents().get(file, b""))
        self._write(name, sealed)
        _keep_up(HardStateFile(self.cluster.hosts[name].disk.folder, name), sealed)
        self.cluster.world.tell("start", f"{file} is edited, with a new checksum: {FORGED}")

    def _write(self, name: str, log: bytes) -> None:
        """Write the log file of a stopped node. Its promises are in a person's hands now."""
        disk = self.cluster.hosts[name].disk
        disk.folder = MemoryFolder({**disk.folder.contents(), f"{name}.log": log})
        disk._promised, disk.whole, disk._was_robbed = (0, 0), False, True
        self.cluster.invariants.is_forged = True
        self.cluster.invariants.lost_a_log()

    def _restart(self, words: list[str], *, never_ran: bool = False) -> None:
        try:
            super()._restart(words, never_ran=never_ran)
        except StorageError as error:
            name = words[0]
            why = _why_refused(self.cluster.hosts[name].disk.folder, name) or str(error)
            self.cluster.world.tell("start", f"{name} does not start: {why}. {ADVICE.format(name)}")


def _why_refused(folder: Folder, name: str) -> str:
    """Return what is wrong with the files of a node that does not start, without the advice, which
    names commands that the page lacks."""
    try:
        problems = read_plan(folder, name).problems
    except BuildRefused:
        return f"{name}.log is of another build of raftline"
    except FilesRefused:
        return ""
    return next((one.subject for one in problems if one.refusal is not None), "")


def _text_in(formatted: str) -> bytes:
    """Return the bytes of a log that is written as a JSON string.

    Raises:
        ActRefused: it is none.
    """
    try:
        return str(json.loads(formatted)).encode("utf-8", "surrogatepass")
    except ValueError as error:
        raise ActRefused(f"the log is not a JSON string: {error}") from error


def _with_checksum(text: bytes, before: bytes) -> bytes:
    """Return an edited log as one batch with its checksum. It has the base line of the log before
    if it has none."""
    lines = [
        line + b"\n"
        for line in text.splitlines()
        if line.strip() and (not line.startswith(b"#") or line.startswith(CUT_PREFIX))
    ]
    if not lines or not looks_like_base(lines[0]):
        lines[:0] = [line for line in before.splitlines(keepends=True)[:1] if looks_like_base(line)]
    body = b"".join(lines)
    entries = sum(not (looks_like_base(line) or line.startswith(b"#")) for line in lines)
    return body + checksum_line(entries, crc32(body)) * bool(entries)


def _keep_up(storage: HardStateFile, log: bytes) -> None:
    """Make the term and the synced end in NAME.storage fit an edited log. A log that became shorter
    has lost entries, and the recovery is to find that."""
    ends = [line.split(b" ")[:2] for line in log.splitlines() if not line.startswith(b"#")]
    promise = storage.load()
    if promise is None or not ends or not all(word.isdigit() for word in ends[-1]):
        return
    index, term = map(int, ends[-1])
    if index >= promise.mark.index:
        promise = promise._replace(mark=Mark(index, term))
    if term > promise.term:
        promise = promise._replace(term=term, vote=None)
    storage.save(promise)
