"""The lines of a console as records of `logging`: as text or as JSON, with time, node and term.

They go through the logger `raftline`, so filters and handlers that a program adds there see them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from .console import is_warning

FORMATS = ("console", "text", "json")
LEVELS = ("debug", "info", "warning")
LOGGER = "raftline"


class Records(logging.Handler):
    """Spells lines; `spell` is called by one thread at a time."""

    def __init__(
        self,
        form: str,
        node: str,
        stamp: Callable[[], str],
        term: Callable[[], int | None],
    ) -> None:
        """Prepare; `form` is "text" or "json", `stamp` gives the time, `term` the node's term,
        None before there is one."""
        super().__init__()
        self._form = form
        self._node = node
        self._stamp = stamp
        self._term = term
        self._spelled: list[str] = []
        self._logger = logging.getLogger(LOGGER)
        self._logger.setLevel(logging.DEBUG)  # the console has its own level
        self._logger.propagate = False
        self._logger.addHandler(self)

    def spell(self, line: str) -> list[str]:
        """Return what to print for a line: nothing if a filter of the logger drops it."""
        level = logging.WARNING if is_warning(line) else logging.INFO
        facts = {"node": self._node, "term": self._term(), "stamp": self._stamp()}
        record = self._logger.makeRecord(LOGGER, level, "", 0, line, (), None, extra=facts)
        self._spelled = []
        self._logger.handle(record)
        return self._spelled

    def emit(self, record: logging.LogRecord) -> None:
        self._spelled.append(self._as_json(record) if self._form == "json" else self._text(record))

    def close(self) -> None:
        """Leave the logger."""
        self._logger.removeHandler(self)
        super().close()

    def _text(self, record: logging.LogRecord) -> str:
        term = "-" if self._fact(record, "term") is None else self._fact(record, "term")
        begin = f"{self._fact(record, 'stamp')} {record.levelname:<7}"
        return f"{begin} {self._fact(record, 'node')} term {term}: {record.getMessage()}"

    def _as_json(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": self._fact(record, "stamp"),
                "level": record.levelname.lower(),
                "node": self._fact(record, "node"),
                "term": self._fact(record, "term"),
                "message": record.getMessage(),
            }
        )

    def _fact(self, record: logging.LogRecord, name: str) -> object:
        return getattr(record, name, None)
