"""`raftline.aio`: `connect()` for asyncio; the page docs/use/python.md shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from .clients.asyncio.asker import AioAsker
from .clients.calls.pipeline import AioPipeline as Pipeline
from .clients.calls.value_codec import BINARY, TEXT
from .clients.kv.aio_kv import AioKV as KV
from .clients.kv.connecting import addresses_of
from .clients.locks.aio_lease import AioLease as Lease
from .clients.locks.aio_lock import AioElection as Election
from .clients.locks.aio_lock import AioHeld as Held
from .clients.locks.aio_lock import AioLock as Lock
from .clients.locks.aio_lock import AioSemaphore as Semaphore
from .clients.requests.client_login import credentials_of
from .clients.requests.client_tls import ClientTls, tls_of
from .clients.requests.conversation import name_of_client
from .clients.requests.health import SILENCE_S, silence_limit
from .clients.requests.pool import TIMEOUT_S, time_limit
from .clients.watches.aio_watch import AioWatch as Watch

__all__ = ["KV", "Election", "Held", "Lease", "Lock", "Pipeline", "Semaphore", "Watch", "connect"]


def __dir__() -> list[str]:
    return list(__all__)


@overload
def connect(
    at: str | None = None,
    *,
    timeout: float = TIMEOUT_S,
    name: str = "program",
    binary: Literal[False] = False,
    folder: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: ClientTls | None = None,
    silence: float = SILENCE_S,
) -> KV[str]: ...
@overload
def connect(
    at: str | None = None,
    *,
    timeout: float = TIMEOUT_S,
    name: str = "program",
    binary: Literal[True],
    folder: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: ClientTls | None = None,
    silence: float = SILENCE_S,
) -> KV[bytes]: ...
def connect(
    at: str | None = None,
    *,
    timeout: float = TIMEOUT_S,
    name: str = "program",
    binary: bool = False,
    folder: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    tls: ClientTls | None = None,
    silence: float = SILENCE_S,
) -> KV[str] | KV[bytes]:
    """Return the cluster's keys and values for asyncio, without sending a request yet.

    The options and the errors are the same as for `raftline.connect`.
    """
    asker = AioAsker(
        addresses_of(at, folder),
        name_of_client(name),
        time_limit(timeout),
        credentials_of(user, password),
        tls_of(tls),
        silence_limit(silence),
    )
    return KV(asker, BINARY) if binary else KV(asker, TEXT)
