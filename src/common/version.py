"""The version of this build: 0.1.0.dev1041+g3fa94c1d2, and 0.1.0 at the tag v0.1.0.

A wheel or an sdist contains it in `common/frozen.py`, which setup.py writes. A clone reads its
commit from the files of git, without running git.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re

RELEASE = "0.1.0"  # the next release; defined only here
HASH_DIGITS = 9


def of_clone(root: str) -> str:
    """Return the version of a clone, without its commit if that is unknown."""
    commit = ""
    with contextlib.suppress(OSError, UnicodeError):
        commit = _commit(root)
    is_hash = re.fullmatch(r"[0-9a-f]{40,64}", commit) is not None
    return f"{RELEASE}.dev0" + (f"+g{commit[:HASH_DIGITS]}" if is_hash else "")


def of_install(version: str) -> str:
    """Return the version that pip shows, if an editable install of this commit has one: it counts
    the commits, which only git can."""
    from importlib import metadata  # imported late, since only `--version` needs it

    try:
        installed = metadata.version("raftline")
    except metadata.PackageNotFoundError:
        return version
    commits = [one.partition("+")[2].partition(".")[0] for one in (version, installed)]
    return installed if commits[0] and commits[0] == commits[1] else version


def _commit(root: str) -> str:
    """Return the commit of HEAD (gitrepository-layout(5)).

    Raises:
        OSError, UnicodeError: a file can't be read.
    """
    own = os.path.join(root, ".git")
    if os.path.isfile(own):  # a linked work tree: the file contains its folder
        own = os.path.join(root, _text(own).removeprefix("gitdir: "))
    name = _text(own, "HEAD")
    if not name.startswith("ref: "):
        return name
    name = name.removeprefix("ref: ")
    shared = own
    if os.path.isfile(os.path.join(own, "commondir")):
        shared = os.path.join(own, _text(own, "commondir"))
    with contextlib.suppress(FileNotFoundError):
        return _text(shared, name)
    packed = (line.split(" ") for line in _text(shared, "packed-refs").splitlines())
    return next((words[0] for words in packed if words[1:] == [name]), "")


def _text(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read().strip()


def _version() -> str:
    try:
        return str(importlib.import_module("raftline.common.frozen").VERSION)
    except ImportError:
        here = os.path.dirname(os.path.abspath(__file__))
        return of_clone(os.path.dirname(os.path.dirname(here)))


VERSION = _version()
