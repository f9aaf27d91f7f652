"""Coroutines in virtual time: the waits of a client's machine, and their ends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from .world import World

Then = Callable[[Any, BaseException | None], None]


class Cancelled(BaseException):
    """Thrown into a coroutine that is cancelled, as by asyncio."""


class Promise:
    """The end of a wait, which happens once: an answer, or an error."""

    def __init__(self) -> None:
        self.is_settled = False
        self.answer: Any = None
        self.error: BaseException | None = None
        self.then: Then | None = None

    def settle(self, answer: Any = None, error: BaseException | None = None) -> bool:
        """End the wait; return whether it was still open."""
        if self.is_settled:
            return False
        self.is_settled, self.answer, self.error = True, answer, error
        if self.then is not None:
            self.then(answer, error)
        return True

    def __await__(self) -> Generator[Promise, Any, Any]:
        if Task.current is None:  # the schedule is over: its coroutines are closed
            raise GeneratorExit
        return (yield self)


class Task:
    """A coroutine that runs until it waits, and resumes when its wait ends."""

    current: Task | None = None

    def __init__(self, coroutine: Coroutine[Promise, Any, Any], then: Then) -> None:
        self._coroutine = coroutine
        self._then = then
        self._waits: Promise | None = None
        self.is_over = False
        self._go_on(None, None)

    def _go_on(self, answer: Any, error: BaseException | None) -> None:
        if getattr(self._coroutine, "cr_running", False):  # it is being closed
            return
        before, Task.current = Task.current, self
        try:
            while True:
                self._waits = None
                if error is None:
                    promise = self._coroutine.send(answer)
                else:
                    promise = self._coroutine.throw(error)
                if not promise.is_settled:
                    self._waits = promise
                    promise.then = self._go_on
                    return
                answer, error = promise.answer, promise.error
        except StopIteration as end:
            answer, error = end.value, None
        except (Exception, Cancelled) as failure:
            answer, error = None, failure
        finally:
            Task.current = before
        self.is_over = True
        self._then(answer, error)

    def cancel(self) -> None:
        """End the wait of the coroutine with `Cancelled`."""
        promise, self._waits = self._waits, None
        if promise is not None:
            promise.then = None
            self._go_on(None, Cancelled())


async def shielded(coroutine: Coroutine[Promise, Any, Any]) -> Any:
    """Run a coroutine to its end, even if the awaiting coroutine is cancelled."""
    ended = Promise()

    def end(answer: Any, error: BaseException | None) -> None:
        ended.settle(answer, error)

    Task(coroutine, end)
    return await ended


def slept(world: World, delay_ms: int, tie: float) -> Promise:
    """Return a wait of this length."""
    promise = Promise()

    def end() -> None:
        promise.settle()

    world.beside(max(delay_ms, 1), tie, end)
    return promise
