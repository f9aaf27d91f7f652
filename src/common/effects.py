"""The parts of this build whose effect on entries may be absent or other in another build, each
with a digest of how it applies them (docs/develop/what-entries-need.md).

A part is an extension with commands. Its digest covers the sources of its modules `command_rows`
and `command_effects`, and of what they import, so nobody has to keep it: the same sources have the
same digest on every version of Python. The kernel has no part: the level of the log stands for it
(common/build_level.py).
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from typing import Final

from .extensions import EXTENSIONS, is_there

SEAMS: Final = ("command_effects", "command_rows")
DIGITS: Final = 12
# Digests of earlier builds by part, whose commands this build applies alike, all of them. Only a
# test that plays their log proves that (docs/develop/add-a-command.md).
ALIKE: Final[dict[str, tuple[str, ...]]] = {}
_KERNEL: Final = (
    "state.commands.replicated_state",
    "state.commands.lease_commands",
    "state.commands.transaction_commands",
    "state.commands.user_commands",
    "wire.commands.command_table",
)
_IMPORT: Final = re.compile(
    r"^[ \t]*from (\.+|raftline(?:\.|(?= )))([\w.]*) import (?:\(|(.*))", re.MULTILINE
)
# A blank line, a comment on its own line, and a docstring, which has no effect.
_SILENT: Final = re.compile(
    r'^[ \t]*(?:#[^\n]*)?\n|(?:\A|(?<=:\n))([ \t]*)r?"""(?:[^\\]|\\.)*?"""[ \t]*\n',
    re.MULTILINE | re.DOTALL,
)


@cache
def own_parts() -> dict[str, str]:
    """Return the digest of each part of this build, as a wheel has it, or from the sources."""
    try:
        frozen = importlib.import_module("raftline.common.frozen").PARTS
    except (ImportError, AttributeError):
        return derive_parts()
    return {part: digest for part, digest in frozen.items() if is_there(part)}


def derive_parts() -> dict[str, str]:
    """Return the digest of each part, from the sources."""
    kernel = closure(_KERNEL)
    found = {}
    for extension in EXTENSIONS:
        own = closure(f"{extension}.{seam}" for seam in SEAMS) - kernel
        if own:
            texts = sorted(sha256(effective(_source(each) or "").encode()).digest() for each in own)
            found[extension] = sha256(b"".join(texts)).hexdigest()[:DIGITS]
    return found


@cache
def applies() -> frozenset[str]:
    """Return what this build applies, as `PART=DIGEST`, also as those of earlier builds."""
    own = own_parts()
    earlier = {f"{part}={each}" for part in own for each in ALIKE.get(part, ())}
    return frozenset(f"{part}={digest}" for part, digest in own.items()) | earlier


def effective(source: str) -> str:
    """Return a source without what has no effect: blank lines, docstrings, lines of comments."""
    return _SILENT.sub(lambda match: f"{match[1]}...\n" if match[1] is not None else "", source)


def closure(roots: Iterable[str]) -> frozenset[str]:
    """Return the modules of the package that these import, also indirectly, with them."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        source = None if module in found else _source(module)
        if source is not None:
            found.add(module)
            waiting += _imported(module, source)
    return frozenset(found)


def _imported(module: str, source: str) -> Iterator[str]:
    for dots, path, names in _IMPORT.findall(source):
        above = [] if dots.startswith("raftline") else module.split(".")[: -len(dots)]
        base = above + ([path] if path else [])
        yield ".".join(base)
        for name in (names or "").partition("#")[0].split(","):
            yield ".".join([*base, name.split(" as ")[0].strip()])


@cache
def _source(module: str) -> str | None:
    """Return the text of a module of the package; None if there is no such module."""
    for root in importlib.import_module("raftline").__path__:
        path = os.path.join(root, *module.split("."))
        for file in (f"{path}.py", os.path.join(path, "__init__.py")):
            if module and os.path.isfile(file):
                with open(file, encoding="utf-8") as opened:
                    return opened.read()
    return None
