"""raftline with one of the twenty-four bugs, as a hand-in: test cases for the grader itself.

The hand-in is a copy of src/ under the name `faulty`, and an adapter. The core is run like any
other. A start that goes through files shows bugs of files: the disk's content is written to a
folder in memory, the power is cut within the next write, and the core starts with the data that the
faulty program reads back. The replies of the state machine show its bugs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import raftline_testing.files
from labs.bugs.play import SOURCES, copy_with_bug

FILES = Path(str(raftline_testing.files.__file__)).parent
PARTS = ("common", "raft", "state", "storage", "wire")

# The milestone of each bug.
MILESTONE_OF = {
    1: 2, 2: 3, 3: 5, 4: 6, 5: 4, 6: 7, 7: 3, 8: 6, 9: 4, 10: 8, 11: 1, 12: 9, 13: 9, 14: 8,
    15: 6, 16: 5, 17: 10, 18: 2, 19: 9, 20: 8, 21: 8, 22: 8, 23: 4, 24: 6,
}  # fmt: skip
OF_FILES = (10, 14, 21)

ADAPTER = '''
import dataclasses
from faulty.raft import change, effects, inputs, log, membership, messages, state
from faulty.raft.node import node_from_disk

MODULES = (change, effects, inputs, log, membership, messages)
THROUGH_FILES = @FILES@


def own(value):
    """Return a value of raftline's types as one of this copy's."""
    if isinstance(value, dict):
        return value
    names = getattr(value, "_fields", None)
    if names is None and dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    if names is not None:
        name = type(value).__name__
        made = next(getattr(module, name) for module in MODULES if hasattr(module, name))
        return made(**{one: own(getattr(value, one)) for one in names})
    if isinstance(value, (list, tuple)):
        return type(value)(own(one) for one in value)
    return value


class Node:
    def __init__(self, start, now_ms):
        held = log.Log(start.log.base_index, start.log.base_term)
        for entry in start.log.entries(start.log.base_index + 1, start.log.last_index):
            held.append(entry.term, entry.command)
        hard_state = effects.HardState(start.term, start.vote)
        options = {
            field.name: getattr(start.options, field.name)
            for field in dataclasses.fields(start.options)
        }
        if THROUGH_FILES and not held.base_index and not start.lost:
            hard_state, held = through_files(start, hard_state, held)
        self._core = node_from_disk(
            start.name, own(start.members), held, hard_state, state.Options(**options),
            start.pick_timeout_ms, now_ms, recovering=start.lost, incarnation=now_ms + 1,
            snapshot=own(start.snapshot),
        )

    def step(self, taken, now_ms):
        try:
            out = self._core.step(own(taken), now_ms)
        except messages.PeerError:
            return effects.Effects()
        done = [one.index for one in [out.install, *out.apply[-1:]] if one is not None]
        if done:  # the world applies at once, and a hand-in is sent no `Applied`
            out.reads += self._core.step(inputs.Applied(done[-1]), now_ms).reads
        return out

    wake_at_ms = property(lambda self: self._core.wake_at_ms)
    term = property(lambda self: self._core.view.term)
    vote = property(lambda self: self._core.view.vote)
    role = property(lambda self: self._core.view.role)
    leader = property(lambda self: self._core.view.leader)
    commit_index = property(lambda self: self._core.view.commit_index)


def through_files(start, hard_state, held):
    """Write all of it, lose the power within the next write, and read it back."""
    import random
    from faulty.logmanager import LogManager
    from faulty.faulty_folder import MemoryFolder

    class Misfortune(random.Random):
        def random(self):
            return 0.0

        def randrange(self, *_):
            return 0

        def choice(self, seq):
            return seq[0]

    addresses = dict(start.members.addresses)
    manager = LogManager(start.name, MemoryFolder(), addresses)
    folder = manager._folder
    manager.recover()
    entries = held.entries(1, held.last_index)
    manager.persist([effects.Effects(recovered=True, save=hard_state)])
    if entries:
        manager.persist([effects.Effects(append=entries)])
    name = start.name + ".log"
    folder = folder.crash(Misfortune()) if entries else folder.kill()
    if entries:
        torn = f"{held.last_index + 1} {held.last_term} set torn 57"
        folder.put(name, folder.content(name) + torn.encode()[:-1])
    found = LogManager(start.name, folder, addresses).recover()
    return found.hard_state, found.log
'''
MACHINE = """
from faulty.logmanager import LogManager
from faulty.raft.log import Entry
from faulty.faulty_folder import MemoryFolder


class Machine:
    def __init__(self):
        self._manager = LogManager("s1", MemoryFolder(), {"s1": "localhost:1"})
        self._manager.recover()
        self._index = 0

    def execute(self, command):
        self._index += 1
        return self._manager.apply([Entry(self._index, 1, command)])[0]
"""


def hand_in(number: int) -> dict[str, str]:
    """Return the files of a hand-in that is raftline with this bug; 0: without one."""
    with tempfile.TemporaryDirectory() as folder:
        sources = copy_with_bug(number, Path(folder)) if number else SOURCES
        paths = [path for part in PARTS for path in (sources / part).rglob("*.py")]
        files = {
            f"faulty/{path.relative_to(sources).as_posix()}": path.read_text(encoding="utf-8")
            for path in [*paths, sources / "logmanager.py"]
        }
    for name in ("faulty_folder.py", "memory_file.py"):
        files[f"faulty/{name}"] = (FILES / name).read_text(encoding="utf-8")
    for name, text in files.items():
        files[name] = text.replace("raftline.", "faulty.")
    files["raft.py"] = ADAPTER.replace("@FILES@", str(number in OF_FILES))
    files["machine.py"] = MACHINE
    return files
