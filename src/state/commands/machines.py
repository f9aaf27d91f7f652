"""A program's state machines: `machine NAME JSON` (docs/use/objects.md).

Between two commands, a machine's state is the JSON text under the key NAME, like an object's state.
It is in every snapshot, and `get NAME` shows it. The program's instance only computes. It is
restored from the text unless its last command wrote that text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...common.errors import RaftlineError
from ...common.public import public
from ...raft.log import SafetyError
from ...wire.operands.operands import Limits
from ...wire.protocol import escape, shown, unescape
from ...wire.refusal import JSON_TOO_LONG, NO_MACHINE, REJECTED
from ...wire.strict_json import DEPTH_MAX, Json, checked, format_json, read_json
from ..store import Store

REASON_MAX = 400  # characters of the reason when `apply` refuses
_METHODS = ("apply", "snapshot", "restore")
_OF_THIS_NODE_ALONE = (OSError, MemoryError, RecursionError)


@public("raftline")
class StateMachine(Protocol):
    """A program's state machine. Every node of the cluster needs it under the same name.

    `apply` must be deterministic: it uses no clock, no random numbers, no file, and nothing that
    differs between nodes. Commands, results and states are JSON. A state has at most 1 MiB as text.
    """

    def apply(self, command: Json) -> Json:
        """Execute one command and return its result. Raise Rejected to refuse it."""

    def snapshot(self) -> Json:
        """Return the whole state."""

    def restore(self, state: Json) -> None:
        """Restore a state that `snapshot` returned."""


@public("raftline.errors")
class Rejected(RaftlineError):
    """Raised by `apply` to refuse a command. The state stays as it was."""


class UnknownMachine(SafetyError):
    """An entry is for a state machine that this node does not have, so the node would diverge."""


class Machines:
    """The state machines that this node has, by name."""

    def __init__(self, machines: Mapping[str, StateMachine] | None = None) -> None:
        if not isinstance(machines, Mapping | None):
            raise TypeError(f"machines is a dict of name to machine, not of type {_type(machines)}")
        self._machines = {escape(name, key=True): each for name, each in (machines or {}).items()}
        for name, machine in self._machines.items():
            if isinstance(machine, type):
                raise TypeError(f'"{name}" is the class {machine.__name__}: pass an instance of it')
            absent = [each for each in _METHODS if not callable(getattr(machine, each, None))]
            if absent:
                raise TypeError(
                    f'"{name}" is not a state machine: {_type(machine)} has no {absent[0]}()'
                )
        self._initial = {
            name: format_json(checked(machine.snapshot()))
            for name, machine in self._machines.items()
        }
        # By name: the text with the instance's state, or None if it must be restored.
        self._left: dict[str, str | None] = {**self._initial}

    def why_not(self, name: str) -> str:
        """Return the refusal of a command for the machine `name`, or "" if this node has it."""
        return "" if name in self._machines else NO_MACHINE(shown(name))

    def execute(self, store: Store, operands: str) -> str:
        """Execute `NAME JSON` and return the reply.

        Raises:
            UnknownMachine: this node has no such machine, so it must stop.
            SafetyError: the error may be this node's alone, so it must stop.
        """
        name, _, text = operands.partition(" ")
        machine = self._machines.get(name)
        if machine is None:
            raise UnknownMachine(
                f'an entry is for the state machine "{shown(name)}", which this node does not '
                "have; it would hold another state than the others. Start it from the program "
                "that registers it"
            )
        try:
            before = unescape(store[name]) if name in store else self._initial[name]
            if self._left[name] != before:
                machine.restore(read_json(before))
                self._left[name] = before
            result = format_json(checked(machine.apply(read_json(unescape(text), DEPTH_MAX))))
            after = format_json(checked(machine.snapshot()))
        except BaseException as problem:
            if not isinstance(problem, Exception) or isinstance(problem, _OF_THIS_NODE_ALONE):
                raise SafetyError(
                    f'the state machine "{shown(name)}" ended in {type(problem).__name__} '
                    f"({problem}), which need not have happened to it on the other nodes"
                ) from problem
            self._left[name] = None  # it is restored before its next command
            # Python's own error texts differ between versions. The text of Rejected is the
            # program's.
            why = str(problem) if isinstance(problem, Rejected) else type(problem).__name__
            return REJECTED(shown(name), escape(why, key=False)[:REASON_MAX])
        return self._keep(store, name, after, result)

    def _keep(self, store: Store, name: str, after: str, result: str) -> str:
        size, limit = len(after.encode("utf-8")), Limits().value_bytes
        if size > limit:
            self._left[name] = None
            return JSON_TOO_LONG(f"the state of {shown(name)}", size, limit)
        self._left[name] = after
        store.keep(name, escape(after, key=False))
        return f"MACHINE response: {escape(result, key=False)}"


def _type(value: object) -> str:
    return type(value).__name__
