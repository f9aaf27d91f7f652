"""`kv.pipeline()`: many requests in flight at once, for a thread or a task.

    with kv.pipeline() as batch:
        visits = batch.incr("visits")
        batch.set("seen", "now")
    visits.result()

Each request is like a request of `KV`, and takes effect once. A pipeline is not a transaction:
another client's requests may come in between, and a refused request does not undo the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, Generic, TypeVar

from raftline.common.errors import RaftlineError
from raftline.common.public import public

from .calls import Call, CallFactory
from .methods import P, Request, documented
from .transaction import Outcome, Transaction
from .value_codec import Codec, Data

Result = TypeVar("Result")
_NOT_SENT = "there is no result yet: the pipeline is sent at the end of its `with`"
_INTERRUPTED = "there is no result: the pipeline was interrupted, so the request may be done or not"


@public("raftline.api")
class Pending(Generic[Result]):
    """The result of one request of a pipeline, once the pipeline was sent."""

    def __init__(self, call: Call[Result]) -> None:
        self._call = call
        self._is_there = False
        self._is_interrupted = False  # Ctrl-C, or the task was cancelled
        self._result: Result | None = None
        self._error: Exception | None = None

    def __repr__(self) -> str:
        if self._is_there:
            state = "failed" if self._error else "done"
        else:
            state = "interrupted" if self._is_interrupted else "not sent"
        return f"<the result of a request, {state}>"

    def result(self) -> Result:
        """Return the result.

        Raises:
            RaftlineError, KeyError: the error of the request.
            RuntimeError: the pipeline was not sent or was interrupted.
        """
        if not self._is_there:
            raise RuntimeError(_INTERRUPTED if self._is_interrupted else _NOT_SENT)
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._result  # type: ignore[return-value]

    def _settle(self, answer: str | RaftlineError) -> None:
        self._is_there = True
        if isinstance(answer, RaftlineError):
            self._error = self._call.failure(answer)
            return
        try:
            self._result = self._call.read(answer)
        except (RaftlineError, KeyError) as error:
            self._error = error


def of_pipelines(request: Request[P, Result]) -> Callable[Concatenate[Any, P], Pending[Result]]:
    """Return the method that adds a request to a pipeline."""

    def method(self: Any, /, *operands: P.args, **options: P.kwargs) -> Pending[Result]:
        pending: Pending[Result] = self._add(request(self._calls, *operands, **options))
        return pending

    return documented(method, request, "Pending[{}]")


class BasePipeline(Generic[Data]):
    """The requests of a pipeline, each with its pending result."""

    def __init__(self, codec: Codec[Data], together: Callable[[Sequence[str]], Any]) -> None:
        """`together` sends commands and returns their answers; in asyncio it is a coroutine
        function."""
        self._codec = codec
        self._together = together
        self._calls = CallFactory(codec)
        self._requests: list[Pending[Any]] = []
        self._is_over = False

    def __repr__(self) -> str:
        state = "over" if self._is_over else "not sent yet"
        return f"<a pipeline of {len(self)} requests, {state}>"

    def __len__(self) -> int:
        return len(self._requests)

    def _add(self, call: Call[Result]) -> Pending[Result]:
        if self._is_over:
            raise RuntimeError("this pipeline is over; begin another one: with kv.pipeline()")
        pending = Pending(call)
        self._requests.append(pending)
        return pending

    def _commands(self) -> list[str]:
        """Return the commands to send, and close the pipeline to further requests."""
        self._is_over = True
        return [each._call.command for each in self._requests]

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            raise
        except BaseException:
            for request in self._requests:
                request._is_interrupted = True
            raise

    def _settle(self, answers: Sequence[str | RaftlineError]) -> None:
        """Set the results. Then raise the first error, if there is one."""
        for request, answer in zip(self._requests, answers, strict=True):
            request._settle(answer)
        for request in self._requests:
            if request._error is not None:
                raise request._error.with_traceback(None)

    get = of_pipelines(CallFactory[Data].get)
    set = of_pipelines(CallFactory[Data].set)
    setnx = of_pipelines(CallFactory[Data].setnx)
    cas = of_pipelines(CallFactory[Data].cas)
    incr = of_pipelines(CallFactory[Data].incr)
    append = of_pipelines(CallFactory[Data].append)
    delete = of_pipelines(CallFactory[Data].delete)
    pop = of_pipelines(CallFactory[Data].pop)
    stat = of_pipelines(CallFactory[Data].stat)
    read = of_pipelines(CallFactory[Data].read)
    exists = of_pipelines(CallFactory[Data].exists)
    ttl = of_pipelines(CallFactory[Data].ttl)
    expire = of_pipelines(CallFactory[Data].expire)
    persist = of_pipelines(CallFactory[Data].persist)
    clear = of_pipelines(CallFactory[Data].clear)

    def txn(self) -> Transaction[Data, Pending[Outcome[Data]]]:
        """Return a transaction to build; its `commit()` adds it to the pipeline."""
        return Transaction(self._codec, self._add)


def reads_of(
    keys: Iterable[Data], read: Callable[[Data], Pending[Result]]
) -> dict[Data, Pending[Result]]:
    """Add a read of each of these keys."""
    if isinstance(keys, str | bytes):
        raise TypeError(f"the keys are a list of keys, not one {type(keys).__name__}")
    return {key: read(key) for key in dict.fromkeys(keys)}


def values_of(reads: Mapping[Data, Pending[Data | None]]) -> dict[Data, Data]:
    """Return the values of the keys that exist."""
    pairs = ((key, pending.result()) for key, pending in reads.items())
    return {key: value for key, value in pairs if value is not None}


@public("raftline.api")
class Pipeline(BasePipeline[Data]):
    """Requests that are sent together at the end of a `with`; `kv.pipeline()` makes one.

    They are sent in order, and are carried out in order unless the leader changes meanwhile. A read
    need not see a write of the same pipeline. If requests fail, the end of the `with` raises the
    first error; each `Pending` has its own error. If the block raises, nothing is sent.
    """

    def __enter__(self) -> Pipeline[Data]:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        commands = self._commands()
        if error is None and commands:
            with self._sending():
                answers = self._together(commands)
            self._settle(answers)


@public("raftline.aio", "Pipeline")
class AioPipeline(BasePipeline[Data]):
    """Requests that are sent together at the end of an `async with`; see `Pipeline`."""

    async def __aenter__(self) -> AioPipeline[Data]:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        commands = self._commands()
        if error is None and commands:
            with self._sending():
                answers = await self._together(commands)
            self._settle(answers)
