"""The lines of a console as `logging` records, in text or JSON, with time, node and term.

They go through the logger `raftline`, so a program can add filters and handlers there.
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
    """A handler that formats lines. Only one thread at a time may call `lines_of`."""

    def __init__(
        self,
        form: str,
        node: str,
        stamp: Callable[[], str],
        term: Callable[[], int | None],
    ) -> None:
        """Attach to the logger. `form` is "text" or "json", `stamp` returns the time, and `term`
        the node's term, or None if there is none yet."""
        super().__init__()
        self._form = form
        self._node = node
        self._stamp = stamp
        self._term = term
        self._formatted: list[str] = []
        self._logger = logging.getLogger(LOGGER)
        self._logger.setLevel(logging.DEBUG)  # the console has its own level
        self._logger.propagate = False
        self._logger.addHandler(self)

    def lines_of(self, line: str) -> list[str]:
        """Return the lines to print for a line, which are none if a filter of the logger drops
        it."""
        level = logging.WARNING if is_warning(line) else logging.INFO
        facts = {"node": self._node, "term": self._term(), "stamp": self._stamp()}
        record = self._logger.makeRecord(LOGGER, level, "", 0, line, (), None, extra=facts)
        self._formatted = []
        self._logger.handle(record)
        return self._formatted

    def emit(self, record: logging.LogRecord) -> None:
        self._formatted.append(
            self._as_json(record) if self._form == "json" else self._text(record)
        )

    def close(self) -> None:
        """Detach from the logger."""
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
