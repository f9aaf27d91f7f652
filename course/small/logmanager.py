"""The files of a server, and what its log means.

`NAME.log` has a line `index term command` for each entry; `NAME.vote` has term and vote. `Machine`
executes the committed commands: the same ones in the same order give each server the same pairs.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from lines import NUMBER_MAX, plain, read_integer
from raft import Effects, Entry, HardState, Log


class Unusable(ValueError):
    """A setting, a file or an entry that stops this server; the text says why."""


# --- the state machine (§2) -----------------------------------------------------------------------


class Machine:
    """Keys and values, all in their one form, and the replies to numbered requests."""

    def __init__(self) -> None:
        self._pairs: dict[str, str] = {}
        # By `client#number`, what was done and the reply: done once, answered each time (§8)
        self._replies: dict[str, tuple[str, str]] = {}

    def execute(self, command: str) -> str:
        """Execute a committed command; return the reply.

        Raises:
            Unusable: it is none of ours. A server that continued would differ from the others.
        """
        head, mark, rest = command.partition("@")
        if not mark or " " in head:
            return self._do(command)
        if head not in self._replies:
            self._replies[head] = (rest, self._do(rest))
        done, reply = self._replies[head]
        return reply if done == rest else f"Sorry, {head} was another command; nothing was executed"

    def read(self, command: str) -> str:
        """Return the reply to a `get` or a `show`, which changes nothing."""
        verb, _, key = command.partition(" ")
        if verb == "show":
            meant = sorted((plain(name), plain(value)) for name, value in self._pairs.items())
            pairs = {name: value for name, value in meant if name.startswith(plain(key))}
            return f"SHOW response: {json.dumps(pairs, ensure_ascii=False)}"
        if key in self._pairs:
            return f"GET response: {self._pairs[key]}"
        return f"GET response, no such key: {key}"

    def _do(self, command: str) -> str:
        verb, _, rest = command.partition(" ")
        key, _, value = rest.partition(" ")
        if verb == "set":
            self._pairs[key] = value
            return f"SET response: {key} set to {value}"
        if verb == "delete":
            if self._pairs.pop(key, None) is None:
                return f"DELETE response, no such key: {key}"
            return f"DELETE response: {key} deleted"
        if verb == "incr":
            return self._increase(key, int(value or 1))
        if verb == "get":
            return self.read(command)
        if command == "noop":
            return ""
        raise Unusable(f'the entry "{command[:60]}" is none that this server can execute')

    def _increase(self, key: str, by: int) -> str:
        held = read_integer(self._pairs.get(key, "0"))
        if held is None:
            return f"Sorry, the value of {key} is not a whole number, so nothing was added to it"
        if abs(held + by) > NUMBER_MAX:
            return f"Sorry, the value of {key} would go beyond 2^63-1; nothing was added to it"
        self._pairs[key] = str(held + by)
        return f"INCR response: {held + by}"


# --- the files (Figure 2, State, persistent) ------------------------------------------------------


_VOTE = re.compile(r"term ([0-9]+) vote (\S+)\n")
_ENTRY = re.compile(r"([0-9]+) ([0-9]+) (.+)")
_CUT = re.compile(r"# cut after ([0-9]+)")
_NOTE = re.compile(rb"^# [0-9]+ entr(?:y|ies) synced, crc32 ([0-9a-f]{8})\n", re.M)


class LogManager:
    """The two files of a server. All that `save` wrote survives `kill -9` and a power cut."""

    def __init__(self, folder: Path, name: str, members: Mapping[str, str]) -> None:
        self._folder = folder
        self._vote_path, self._log_path = folder / f"{name}.vote", folder / f"{name}.log"
        has_vote, has_log = self._vote_path.exists(), self._log_path.exists()
        if (has_vote and not has_log) or (has_log and not has_vote and self._log_path.read_bytes()):
            lost = self._log_path if has_vote else self._vote_path
            raise Unusable(f"{lost} is lost, and with it what this server promised. Restore it")
        addresses = " ".join(f"{member}={address}" for member, address in members.items())
        self._unwritten = f"0 0 base {addresses}\n"  # the first line of a log
        self.state, self.log = HardState(0, None), Log()
        self._file = self._log_path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before a start cuts it
        except BlockingIOError:
            raise Unusable(f"another server writes to {self._log_path}. Stop it first") from None
        if has_vote:
            self._load()
        else:
            self._save_state(self.state)

    def save(self, out: Effects) -> bool:
        """Write what the Effects ask for, and sync it; return whether the log has changed."""
        if out.save is not None:
            self._save_state(out.save)
        if out.cut_after is None and not out.append:
            return False
        cut = "" if out.cut_after is None else f"# cut after {out.cut_after}\n"
        entries = "".join(f"{one.index} {one.term} {one.command}\n" for one in out.append)
        lines = (self._unwritten + cut + entries).encode()
        noun = "entry" if len(out.append) == 1 else "entries"
        note = f"# {len(out.append)} {noun} synced, crc32 {zlib.crc32(lines):08x}\n"
        self._file.write(lines + note.encode())
        self._file.flush()
        os.fsync(self._file)
        self._unwritten = ""
        return True

    def _save_state(self, state: HardState) -> None:
        """Replace the file in one step, so that a crash leaves the old one or the new one."""
        new = self._vote_path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(f"term {state.term} vote {state.vote or '-'}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._vote_path)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _load(self) -> None:
        found = _VOTE.fullmatch(self._vote_path.read_text(encoding="utf-8"))
        if found is None:
            raise Unusable(f"{self._vote_path} is damaged: its form is: term TERM vote NAME")
        self.state = HardState(int(found[1]), None if found[2] == "-" else found[2])
        entries: list[Entry] = []
        whole, end = self._log_path.read_bytes(), 0
        for note in _NOTE.finditer(whole):
            lines, end = whole[end : note.start()], note.end()
            if zlib.crc32(lines) != int(note[1], 16):
                raise Unusable(f"{self._log_path} is damaged above: {note[0].decode().strip()}")
            for line in lines.decode().splitlines():
                self._load_line(line, entries)
        os.truncate(self._log_path, end)  # the rest was never acknowledged, and may be torn
        self._unwritten = "" if end else self._unwritten
        self.log = Log(entries)
        if self.log.last_term > self.state.term:
            raise Unusable(f"{self._vote_path} is older than {self._log_path}: a vote may be lost")

    def _load_line(self, line: str, entries: list[Entry]) -> None:
        if cut := _CUT.fullmatch(line):
            del entries[int(cut[1]) :]
        elif (found := _ENTRY.fullmatch(line)) and int(found[1]) == len(entries) + 1:
            entries.append(Entry(int(found[1]), int(found[2]), found[3]))
        elif not line.startswith("0 0 base"):
            raise Unusable(f"{self._log_path} has a line that does not fit: {line[:60]}")
