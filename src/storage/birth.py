"""The first start of a node: the trace that it leaves, the operator's claim, and a hand-written
log.

`--new` claims that no node of this name ever ran. The files may contradict that claim. The files of
a node that was born here and has promised nothing since do not: they are complete since its birth.

A hand-written log holds only `index term command` lines. This is the form of the course report that
this project grew from: indexes from 0 or from 1, no base line, no checksums. Blank lines, CRLF and
a missing last line end are tolerated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO

from ..raft.log import Log
from ..raft.membership import Membership
from ..wire.operands.operands import Limits
from ..wire.protocol import escape
from .disk import DamagedStorage, FilesRefused
from .folder import Folder, copied, opened
from .hard_state import HardStateFile, LogState, Mark, Promise
from .log_file import whole_file
from .log_lines import BOM, LINE_BYTES_MAX, looks_like_base, read_entry

_COMMAND = re.compile(r"(?:get|delete) ([^ ]+)|set ([^ ]+) (.*)")


def trace(node: str) -> str:
    """Return the name of the file that proves that a node was born here. It survives `rm s1.*`."""
    return f".{node}.born"


def format_trace(node: str) -> bytes:
    """Return the text of the trace, for a person who opens it."""
    return (
        f"{node} was born here. Where {node}.log and {node}.storage are gone, this file says that "
        "they were lost, so that the node catches up before it votes. To start over, remove "
        "it as well.\n"
    ).encode()


def brings_entries(log: str, *away: str) -> FilesRefused:
    """Return the refusal of a node that joins with a hand-written log: its terms may be higher than
    all terms of the cluster. `away` are the files to move."""
    return FilesRefused(
        f"{log} was written by hand, and a node that joins takes its entries from the cluster; "
        f"move {' and '.join(away)} away"
    )


def is_as_born(folder: Folder, name: str) -> bool:
    """Return whether a log has only a base line, as after an interrupted birth."""
    with opened(folder, name) as file:
        first = file.readline(LINE_BYTES_MAX)
    return len(first) == folder.size(name) and looks_like_base(first)


def have_begun(folder: Folder, names: Iterable[str]) -> list[str]:
    """Return which of these nodes have files in this folder that a newborn does not have. So their
    cluster has begun, even if none of them runs."""
    return [name for name in names if _has_begun(folder, name)]


def _has_begun(folder: Folder, node: str) -> bool:
    try:
        promise = HardStateFile(folder, node).load()
        if promise is not None:
            return promise.state not in (LogState.NEWBORN, LogState.ADOPTING)
        if folder.exists(trace(node)) or folder.exists(f"{node}.state_machine"):
            return True
        log = f"{node}.log"
        if not folder.exists(log) or folder.size(log) == 0:
            return False
        return not (is_as_born(folder, log) or is_hand_written(folder, log))
    except (DamagedStorage, FilesRefused):
        return True


def is_hand_written(folder: Folder, name: str) -> bool:
    """Return whether the log `name` has no base line at its beginning."""
    with opened(folder, name) as file:
        for raw in _lines(file):
            if raw.strip():
                return not looks_like_base(raw)
    return False


def adopt(folder: Folder, name: str, log: Log, storage: HardStateFile, members: Membership) -> str:
    """Rewrite a hand-written log with the entries `log` in our form, keep the original, and return
    a line that says so.

    A crash in between leaves NAME.storage in the state `adopting`, and the next start repeats this:
    the original is replaced as a whole, in the last step.
    """
    mark = Mark(log.last_index, log.last_term)
    storage.save(Promise(log.last_term, None, LogState.ADOPTING, mark))
    folder.replace(f"{name}.seed", copied(folder, name))
    folder.replace(name, whole_file(members, log))
    entries = (
        "1 hand-written entry"
        if log.last_index == 1
        else (f"{log.last_index:,} hand-written entries")
    )
    return f"[*] {name}: adopted {entries}, renumbered from 1"


class NotByHand(Exception):
    """A line of a log without a base line is not an entry: `what`. `means` says what to do."""

    def __init__(self, what: str, is_console: bool) -> None:
        super().__init__(what)
        self.what = what
        self.means = (
            "This is a line of a console, which was redirected to the file that is the node's "
            "log; redirect it to another file, and move this one away"
            if is_console
            else "The file has no base line, so it was taken for a log written by hand, which "
            "holds only `index term command` lines; correct the line, or move the file away"
        )


def read_by_hand(folder: Folder, name: str) -> Log:
    """Return the entries of a hand-written log.

    Raises:
        NotByHand: a line is not an entry.
    """
    log = Log()
    first: int | None = None
    with opened(folder, name) as file:
        for number, raw in enumerate(_lines(file), start=1):
            text = raw.removeprefix(BOM) if number == 1 else raw
            text = text.rstrip(b"\r\n")
            if not text.strip():
                continue
            if first is None:
                first = 0 if text.startswith(b"0 ") else 1
            try:
                index = first + log.last_index
                term, command = read_entry(text + b"\n", index, log.last_term)
                log.append(term, _as_entry(command))
            except ValueError as error:
                raise NotByHand(f"line {number}: {error}", text[:1] in (b"[", b"/")) from None
    return log


def _as_entry(command: str) -> str:
    """Return a command in its canonical form. A hand-written log has no escapes: a backslash is
    a backslash.

    Raises:
        ValueError: it is not a command, or is longer than a client's command may be. The other
            nodes might refuse it, and no later entry would ever be committed.
    """
    match = _COMMAND.fullmatch(command)
    if match is None:
        raise ValueError("not `get KEY`, `set KEY VALUE` or `delete KEY`")
    limits = Limits()
    for what, text, limit in (
        ("key", match[1] or match[2], limits.key_bytes),
        ("value", match[3] or "", limits.value_bytes),
    ):
        if (size := len(text.encode())) > limit:
            raise ValueError(f"the {what} has {size} bytes; the limit is {limit}")
    return escape(command, key=False)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(partial(file.readline, LINE_BYTES_MAX), b"")
