"""Find entries that take a long time to apply, so that other work of the node need not wait. Pure.

Nodes need not agree on this: an entry has the same effect wherever it is applied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..raft.log import Entry
from ..wire.commands.command_table import COMMANDS, Work
from ..wire.limits import LONG_TURNS
from ..wire.operands.operands import Kind
from .commands.key_commands import MEASURES, TRIALS
from .commands.lease_commands import ENDINGS
from .lease_table import EXPIRED
from .store import LONG_KEYS, Store

# Some 20 ms of work. The slowest command on values is `append` to bytes that are all escaped.
LONG_CHARACTERS: Final = 64 << 10
TOGETHER_CHARACTERS: Final = 1 << 20  # of short entries at a time; their replies wait, too

_WORK: Final = {verb: row.work for verb, row in COMMANDS.items() if row.work is not Work.SHORT}
_SHORT: Final = tuple([f"{verb} " for verb in ("set", "delete") if verb not in _WORK])
_CLEARS: Final = re.compile(" clear ")  # in a transaction
_SCANS: Final = re.compile(" clear | has keys| has none")  # these sort the keys first
_PARTS: Final = [  # of transactions
    verb
    for verb, work in _WORK.items()
    if work is Work.MEASURED
    and Kind.PREFIX in COMMANDS[verb].operands.kinds
    and COMMANDS[verb].is_operation
]
_MEASURED: Final = re.compile(rf" ((?:{'|'.join(_PARTS)}) [^ ]+)") if _PARTS else None
_MAY_BE_LONG: Final = re.compile(rf"(?:[^ @]*@)?({'|'.join([*_WORK, EXPIRED])}) ")


def count_short(store: Store, entries: Sequence[Entry]) -> int:
    """Return how many leading entries are short, judged by the current pairs.

    After LONG_CHARACTERS, the count ends before an entry that may read a value: earlier entries may
    have made that value long. After TOGETHER_CHARACTERS, it always ends.
    """
    characters = count = 0
    for entry in entries:
        command = entry[2]
        if not command.startswith(_SHORT):  # most entries do
            match = _MAY_BE_LONG.match(command)
            if match is not None and (
                characters > LONG_CHARACTERS or _is_long(store, match[1], command)
            ):
                break
        count += 1
        characters += len(command)
        if characters > TOGETHER_CHARACTERS:
            break
    return count


def is_long(store: Store, commands: Sequence[str], part: int = 1) -> bool:
    """Return whether one of the commands takes a long time, or more than a `part` of it, judged by
    slightly older or newer pairs."""
    for command in commands:
        if not command.startswith(_SHORT):
            match = _MAY_BE_LONG.match(command)
            if match is not None and _is_long(store, match[1], command, part):
                return True
    return False


def is_quick(store: Store, commands: Sequence[str]) -> bool:
    """Return whether no command takes more than a small part of a long time, judged likewise."""
    return not is_long(store, commands, LONG_TURNS)


def needs_trial(store: Store, command: str, grown: int = 0) -> bool:
    """Return whether a command without a sender may be too much for one entry, judged likewise.
    Requests under way may have made each value longer by so many characters."""
    trial = TRIALS.get(command.partition(" ")[0])
    return trial is not None and trial.is_needed(store, command, grown)


def growth_of(command: str) -> int:
    """Return how many characters longer a command without a sender may make a value, at most."""
    trial = TRIALS.get(command.partition(" ")[0])
    return len(command) + (0 if trial is None else trial.growth(command))


def _is_long(store: Store, verb: str, command: str, part: int = 1) -> bool:
    work = _WORK.get(verb, Work.BY_KEYS)
    keys, characters = LONG_KEYS // part, LONG_CHARACTERS // part
    if work is Work.OF_PROGRAM or (work is Work.BY_VALUE and len(command) > characters):
        return True
    if verb == "txn" and len(store) > keys and _CLEARS.search(command):
        return True
    if verb == "txn" and store.unsorted > keys and _SCANS.search(command):
        return True
    if verb == "txn" and _MEASURED is not None:
        for part_of_it in set(_MEASURED.findall(command)):
            if MEASURES[part_of_it.partition(" ")[0]](store, part_of_it) > keys:
                return True
    if work is Work.BY_VALUE:
        return _characters(store, command) > characters
    if work is Work.MEASURED:
        return MEASURES[verb](store, command) > keys
    return (len(store) if verb == "clear" else _leased(store, command)) > keys


def _characters(store: Store, command: str) -> int:
    """Return the total length of the values whose keys are among the words, counting repeats."""
    count = 0
    for word in command.split(" "):
        count += len(store.held.get(word, ""))
    return count


def _leased(store: Store, command: str) -> int:
    """Return the total number of keys under the leases among the words, and of those that change
    with them."""
    count = 0
    for word in command.split(" "):
        keys = store.leased.get(word, ())
        count += len(keys)
        if 0 < count <= LONG_KEYS:
            own = tuple(keys)  # another thread may change them
            count += sum([ending.measure(store, own) for ending in ENDINGS])
    return count
