"""`raftline.connect()` and `raftline.KV`, for the threads of a program; the page docs/use/python.md
shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftline.common.extensions import is_there

from .clients.calls.value_codec import TEXT
from .clients.kv.connecting import ConnectOptions, Nodes, settings_of, with_options
from .clients.requests.pool import Clients

if TYPE_CHECKING or is_there("recipes"):
    from raftline.recipes.recipe_kv import RecipeKV as KV
else:
    from .clients.kv.kv import KV
if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["KV", "connect"]


@with_options
def connect(at: Nodes | None = None, **options: Unpack[ConnectOptions]) -> KV[str]:
    """Return the cluster's keys and values as a mapping, without sending a request yet.

    `at` names some of its nodes: a text such as `"h1:10000,h2:10000"`, a list of texts, or a URL,
    `"raftline://user@h1:10000,h2/?tls-ca=ca.pem"`. Without it the nodes come from $RAFTLINE, a text
    or a URL whose options an argument replaces, or otherwise from the `server-configuration.txt` in
    `folder` or in the nearest folder that has one.
    Keys and values are str; `kv.binary` is the same client with bytes.

    Raises:
        ValueError, TypeError: an option is invalid.
        Unreachable: no node is named anywhere.
    """
    settings = settings_of(at, options)
    clients = Clients(
        *map(str, settings.addresses),
        name=settings.name,
        timeout=settings.timeout_s,
        access=settings.access,
        silence=settings.silence_s,
    )
    return KV(clients, TEXT)
