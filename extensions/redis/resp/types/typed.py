r"""The form of hashes, lists, sets, sorted sets and streams, each as one value. Pure.

    \shash name=Ada age=36
    \slist first second\sjob
    \sset red green
    \szset 1=Ada 2.5=Bob
    \sstream 7-1 7-0:job=a 7-1:job=b

A space of a value is written as a space, so no text of a client is written with `\s` at its
beginning (wire/key_stat.py). The rest after the type, its body, has a space before each element,
and an element has none: so it is found, counted, added and removed by searches in one text, without
reading the others. The elements are written like keys, and a field of a hash and a member of a
sorted set have no `=`.
"""

from __future__ import annotations

from typing import Final

from raftline.wire.key_stat import TYPED
from raftline.wire.protocol import escape, real

STRING: Final = "string"
HASH, LIST, SET, SORTED_SET, STREAM = "hash", "list", "set", "zset", "stream"
# An element of a typed value costs a search or a copy by C code: this part of a text that is made.
PART: Final = 16


def type_in(text: str) -> str:
    """Return the type of a value, as the store writes it."""
    return text[len(TYPED) :].partition(" ")[0] if text.startswith(TYPED) else STRING


def body_of(text: str) -> str:
    """Return the elements of a typed value, each after a space."""
    place = text.find(" ")
    return text[place:] if place >= 0 else ""


def typed(kind: str, body: str) -> str:
    """Return the value with these elements."""
    return f"{TYPED}{kind}{body}"


def items_in(body: str) -> list[str]:
    """Return the elements, as they are written."""
    return body[1:].split(" ") if body else []


def body_with(items: list[str]) -> str:
    """Return the body with these elements."""
    return " ".join(["", *items])


def formatted(text: str) -> str:
    """Return an element as a body writes it."""
    return escape(text, key=True)


def name_of(text: str) -> str:
    """Return a field, or a member of a sorted set, as a body writes it."""
    word = escape(text, key=True)
    return word.replace("=", r"\x3d") if "=" in word else word


def meant(items: list[str]) -> list[str]:
    """Return what these elements mean."""
    return [real(item) if "\\" in item else item for item in items]
