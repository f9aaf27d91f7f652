"""`kv.pipeline()` for asyncio: `async with kv.pipeline() as batch`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

from raftline.common.errors import RaftlineError
from raftline.kv.codec import Codec, Data
from raftline.kv.pipeline import BasePipeline

Together = Callable[[Sequence[str]], Awaitable[Sequence[str | RaftlineError]]]


class AioPipeline(BasePipeline[Data]):
    """Requests that are sent together at the end of an `async with`, as by `raftline.Pipeline`."""

    def __init__(self, codec: Codec[Data], together: Together) -> None:
        super().__init__(codec)
        self._together = together

    async def __aenter__(self) -> AioPipeline[Data]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        commands = self._commands()
        if error is None and commands:
            self._settle(await self._together(commands))
