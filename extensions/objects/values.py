"""One replicated value, a counter, and the program's own state machine."""

from __future__ import annotations

from collections.abc import Callable
from operator import eq, ge, gt, index, le, lt
from typing import Any

from raftline.clients.connections.node_connection import Refused
from raftline.common.public import public
from raftline.common.text import NUMBER_MAX
from raftline.wire.done_reply import is_done
from raftline.wire.protocol import escape, unescape
from raftline.wire.strict_json import checked, read_json

from .base import ReplicatedObject, WrongKind, line_value


@public("raftline")
class Replicated(ReplicatedObject):
    """One value, None until it is set. In the log it is `set NAME JSON`."""

    kind = "value"

    def get(self) -> Any:
        """Return the value, or None."""
        return self._value(None)

    def set(self, value: object) -> None:
        """Set the value."""
        self._request(f"set {self._key} {line_value(value)}")

    @property
    def value(self) -> Any:
        """The value; an assignment sets it."""
        return self.get()

    @value.setter
    def value(self, value: object) -> None:
        self.set(value)

    def compare_and_set(self, old: object, new: object) -> bool:
        """Set the value to `new` if it is `old`, in one step; return whether it was. None means not
        set."""
        replacement = line_value(new)
        expected = checked(old)
        text = self._text()
        if (None if text is None else self._understood(text)) != expected:
            return False
        if text is None:
            return is_done(self._request(f"setnx {self._key} {replacement}"))
        # Compared as text, so that a value typed by hand in another form is also equal.
        current = escape(text, key=True)
        return is_done(self._request(f"cas {self._key} {current} {replacement}"))

    def update(self, change: Callable[[Any], object]) -> Any:
        """Set the value to `change(value)`, and return it; retry if another write came in
        between."""
        while True:
            old = self.get()
            new = checked(change(checked(old)))
            if self.compare_and_set(old, new):
                return new


def _comparison(how: Callable[[Any, Any], bool]) -> Callable[[Any, object], bool]:
    """Return a method that compares a counter with another counter or a number."""

    def compares(self: ReplicatedCounter, other: object) -> bool:
        if isinstance(other, ReplicatedCounter):
            return how(self.get(), other.get())
        return how(self.get(), other) if isinstance(other, int | float) else NotImplemented

    return compares


@public("raftline")
class ReplicatedCounter(ReplicatedObject):
    """A whole number within ±(2^63-1), 0 until it is changed. In the log it is `incr NAME N`.

    It compares as that number, is false at 0, and can be used as an index.
    """

    kind = "counter"

    def get(self) -> int:
        """Return the number."""
        number = self._value(0)
        if not isinstance(number, int):
            raise WrongKind(f"{self.name} holds no counter but something else")
        return number

    def add(self, number: int = 1) -> int:
        """Add a number, in one step, and return the sum.

        Raises:
            OverflowError: the sum would be beyond 2^63-1.
        """
        try:
            reply = self._request(f"incr {self._key} {self._whole(number)}")
        except Refused as refusal:
            if refusal.code == "out-of-range":
                raise OverflowError(str(refusal)) from None
            if refusal.code == "no-number":
                raise WrongKind(str(refusal)) from None
            raise
        return int(reply.partition(": ")[2])

    def reset(self, number: int = 0) -> None:
        """Set the number. Raises OverflowError beyond 2^63-1."""
        self._request(f"set {self._key} {self._whole(number)}")

    @property
    def value(self) -> int:
        """The number; an assignment resets it."""
        return self.get()

    @value.setter
    def value(self, number: int) -> None:
        self.reset(number)

    def __int__(self) -> int:
        return self.get()

    __index__ = __int__

    def __bool__(self) -> bool:
        return self.get() != 0

    __eq__, __lt__, __le__ = _comparison(eq), _comparison(lt), _comparison(le)
    __gt__, __ge__ = _comparison(gt), _comparison(ge)
    __hash__ = None  # type: ignore[assignment]  # it compares as a number, and changes

    def _whole(self, number: object) -> int:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise TypeError(f"a counter takes whole numbers, not {type(number).__name__}")
        whole = index(number)  # only once: another counter would ask the cluster for it
        if abs(whole) > NUMBER_MAX:
            raise OverflowError(f"{self.name} can't go beyond 2^63-1; nothing was done")
        return whole

    def __iadd__(self, number: int) -> ReplicatedCounter:
        self.add(number)
        return self

    def __isub__(self, number: int) -> ReplicatedCounter:
        self.add(-number)
        return self


@public("raftline")
class ReplicatedMachine(ReplicatedObject):
    """The program's own state machine, with which every node was started."""

    kind = "machine"

    def apply(self, command: object) -> Any:
        """Carry out one command, once, on every node; return its result.

        Raises:
            Refused: `apply` refused the command; the message comes from `apply`.
        """
        reply = self._request(f"machine {self._key} {line_value(command)}")
        return read_json(unescape(reply.partition(": ")[2]))

    def state(self) -> Any:
        """Return the whole state as returned by `snapshot`; None before the first command."""
        return self._value(None)
