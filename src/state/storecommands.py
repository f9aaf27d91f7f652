"""The commands that need what a Store knows, from level 2 on. Deterministic and total.

At level 1 there is no Store: an entry with one of these verbs is no command there, as it is none
to an older build.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from raftline.state.prefixes import real
from raftline.state.store import Store

OF_STORE: dict[str, Callable[[Store, str], str | None]] = {}
_Function = Callable[[Store, str], str | None]


def _applies(verb: str) -> Callable[[_Function], _Function]:
    """Register the function that applies a command to a Store; it gets the operands.

    It returns the reply, or None where the operands are not those of the command's row.
    """

    def register(apply: _Function) -> _Function:
        OF_STORE[verb] = apply
        return apply

    return register


@_applies("stat")
def _stat(store: Store, key: str) -> str | None:
    if not key or " " in key:
        return None
    facts = store.facts(key)
    if facts is None:
        return f"STAT response, no such key: {key}"
    size = len(real(store[key]).encode("utf-8", "surrogateescape"))
    store.reworked += size
    told = {"index": facts.changed, "lease": facts.lease or None, "bytes": size}
    return f"STAT response: {json.dumps(told)}"


@_applies("clear")
def _clear(store: Store, prefix: str) -> str | None:
    """Delete all keys that begin with the prefix; like every walk over the keys it takes a
    fraction of a microsecond a key, which the whole node waits."""
    if not prefix or " " in prefix:
        return None
    found = sorted(key for key in store if key.startswith(prefix))
    if "\\" in prefix:  # half of an escaped character is no beginning of it
        beginning = real(prefix)
        found = [key for key in found if real(key).startswith(beginning)]
    for key in found:  # in one order on every node, whatever the order in which it holds them
        del store[key]
    return f"CLEAR response: {len(found)} key{'s' * (len(found) != 1)} deleted"
