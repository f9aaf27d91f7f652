"""Start the lab in a fresh Python: `sources.py` packs this file next to the packages.

It imports nothing of raftline, since a bug of the course must be in the sources before they are
imported.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

HOME = Path(__file__).resolve().parent
BUGS = 24  # of course/labs/bugs
PACKAGES = ("raftline", "raftline_testing", "labs")


class Booted:
    """The sources that are imported now, and their answers to the page."""

    def __init__(self, home: Path = HOME, own_core: str = "") -> None:
        """`own_core` is the module that runs a reader's own core."""
        self._home, self._own_core = home, own_core
        self._bug = -1
        self._has_own_core = False
        self._answer: Callable[[str], str]
        self._boot(0)

    def answer(self, text: str) -> str:
        """Answer a request of the page; a run with another bug needs other sources."""
        request = json.loads(text)
        if request["do"] == "core":
            return self._use_core(str(request["source"]))
        if request["do"] == "open" and not self._has_own_core:
            bug = bug_in(str(request["address"]))
            if bug > BUGS:
                self._boot(0)
                return self._answer(json.dumps({"do": "refuse", "why": f"there is no bug {bug}"}))
            self._boot(bug)
        return self._answer(text)

    def _use_core(self, source: str) -> str:
        """Make the nodes run this file in place of raftline's core, or again that one for ""."""
        self._bug, self._has_own_core = -1, bool(source.strip())
        self._boot(0)
        if self._has_own_core:
            own_core = importlib.import_module(self._own_core)
            self._answer = own_core.page_of(source).answer
        return self._answer(json.dumps({"do": "open", "address": ""}))

    def _boot(self, bug: int) -> None:
        """Import the sources, with a bug of the course unless it is 0."""
        if bug == self._bug:
            return
        packages = {*PACKAGES, self._own_core.partition(".")[0]}
        for name in list(sys.modules):
            if name.partition(".")[0] in packages:
                del sys.modules[name]
        sys.path[:] = [path for path in sys.path if not path.startswith(str(self._home))]
        sys.path.insert(0, str(self._home))
        if bug:
            sys.path.insert(0, str(_with_bug(bug, self._home)))
        importlib.invalidate_caches()
        page = importlib.import_module("raftline.picture.harness.lab.page")
        self._answer, self._bug = page.Page().answer, bug


def bug_in(address: str) -> int:
    """Return the number of the bug in an address, or 0."""
    match = re.search(r"(?:^|[;&])bug(?:%20| |=)(\d{1,4})(?:[;&]|$)", address)
    return int(match[1]) if match else 0


def _with_bug(bug: int, home: Path) -> Path:
    """Return a folder with a copy of the package that has this bug. Compiled modules are copied as
    well, except the modules that the bug changes."""
    folder = home / f"bug-{bug:02}"
    if not folder.exists():
        shutil.copytree(home / "raftline", folder / "raftline")
        sys.path.insert(0, str(home / "bugs"))
        patching = importlib.import_module("patching")
        patching.apply_patch(home / "bugs" / f"bug-{bug:02}.patch", folder / "raftline")
        for path in (folder / "raftline").rglob("*.py"):
            if path.read_bytes() != (home / path.relative_to(folder)).read_bytes():
                Path(cache_from_source(str(path))).unlink(missing_ok=True)
    return folder
