"""A reader's own `raft.py` in the lab page: the core of each node, in the page's own Python.

The browser is the sandbox there. Each start of a server loads the file again, so that no server
remembers data that is not on its disk.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from types import ModuleType
from typing import Any

from raftline.picture.harness.lab.laws import LabInvariants
from raftline.picture.harness.lab.page import Page
from raftline_course.grading.isolation.hand_in_core import Core, in_one_line
from raftline_course.grading.isolation.remote import begin
from raftline_course.grading.isolation.servers import HandInError
from raftline_course.grading.lab_run import graded
from raftline_course.grading.rules import CoreInvariants
from raftline_testing.lab_address import GRADED

FILE = "raft.py"


class OwnCoreInvariants(LabInvariants, CoreInvariants):
    """The invariants of a core whose inside is hidden, milder once a reader has forged
    something."""


class OwnCores:
    """The servers of one run: the part of a `HandInRun` that the remote core needs."""

    def __init__(self, source: str) -> None:
        self._source = source

    def begin(self, name: str) -> OwnCore:
        """Return a new core for this server."""
        return OwnCore(self._source)


class OwnCore:
    """The core of one start of one server."""

    def __init__(self, source: str) -> None:
        self._module = ModuleType("raft")
        self._source = source
        self._core = Core()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            HandInError: the file raised an error, or gave an invalid answer.
        """
        try:
            if "start" in question:
                sys.modules["raft"] = self._module
                exec(compile(self._source, FILE, "exec"), self._module.__dict__)
            asked = json.loads(json.dumps(question))
            answer: dict[str, Any] = json.loads(json.dumps(self._core.answer(asked)))
        except Exception as error:
            raise HandInError(in_one_line(error)) from None
        return answer


def page_of(source: str) -> Page:
    """Return a page whose nodes run this file."""
    servers: Any = OwnCores(source)
    page = Page(partial(begin, servers), OwnCoreInvariants)  # type: ignore[arg-type]
    page.fixed_runs[GRADED] = partial(graded, servers)
    return page
