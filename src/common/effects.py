"""The parts of this build whose effect on entries may be absent or other in another build, each
with a digest of how it applies them (docs/develop/what-entries-need.md).

A part is the kernel, or an extension with commands. The digest of an extension covers the sources
of its modules `command_rows` and `command_effects`, and of what they import beyond the kernel; that
of the kernel covers the sources of its commands. So nobody has to keep it: the same sources have
the same digest on every version of Python.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from typing import Final

from .extensions import EXTENSIONS, KERNEL, is_there

SEAMS: Final = ("command_effects", "command_rows")
DIGITS: Final = 12
# By part, digests of releases whose commands this build applies alike, all of them, each with the
# verbs that only this build has. A release belongs here only if the log of all commands gives the
# same replies and state on both (tests/core/state/test_kept_effects.py).
ALIKE: Final[dict[str, dict[str, tuple[str, ...]]]] = {}
_KERNEL: Final = ("state.commands", "state.commands.replicated_state")
_IMPORT: Final = re.compile(
    r"^[ \t]*from (\.+|raftline(?:\.|(?= )))([\w.]*) import (\([^)]*\)|.*)", re.MULTILINE
)
_NAME: Final = re.compile(r"#.*|(\w+)")
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
    return {part: digest for part, digest in frozen.items() if part == KERNEL or is_there(part)}


def derive_parts() -> dict[str, str]:
    """Return the digest of each part, from the sources."""
    found = {}
    for part in (KERNEL, *EXTENSIONS):
        if modules := modules_of(part):
            texts = sorted(
                sha256(effective(_source(each) or "").encode()).digest() for each in modules
            )
            found[part] = sha256(b"".join(texts)).hexdigest()[:DIGITS]
    return found


@cache
def modules_of(part: str) -> frozenset[str]:
    """Return the modules that apply the commands of a part, beyond those of the kernel."""
    if part == KERNEL:
        return closure(_KERNEL)
    return closure(f"{part}.{seam}" for seam in SEAMS) - modules_of(KERNEL)


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
    """Return the modules that a source names: a package only if a name in it is not a module."""
    here = [*module.split("."), *["__init__"] * _file(module).endswith("__init__.py")]
    for dots, path, names in _IMPORT.findall(source):
        above = [] if dots.startswith("raftline") else here[: -len(dots)]
        base = above + ([path] if path else [])
        named = [".".join([*base, name]) for name in _NAME.findall(names) if name]
        modules = [*filter(_file, named)]
        yield from modules if modules == named else [".".join(base), *modules]


@cache
def _source(module: str) -> str | None:
    """Return the text of a module of the package; None if there is no such module."""
    if not (file := _file(module)):
        return None
    with open(file, encoding="utf-8") as opened:
        return opened.read()


@cache
def _file(module: str) -> str:
    for root in importlib.import_module("raftline").__path__:
        path = os.path.join(root, *module.split("."))
        for file in (f"{path}.py", os.path.join(path, "__init__.py")):
            if module and os.path.isfile(file):
                return file
    return ""
