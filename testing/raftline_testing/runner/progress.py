"""`pytest --progress`: a progress line, and a line for each failed test."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

PARTS = 5  # lines if the output isn't a terminal


class Progress:
    """A replacement for the dots."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager
        self._terminal: Any = None
        self._session: pytest.Session | None = None
        self._began_s = time.monotonic()
        self._done = 0
        self._failed = 0
        self._printed = 0  # the part that the last line reported

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session
        self._terminal = self._plugins.getplugin("terminalreporter")
        self._plugins.unregister(name="terminaldistreporter")  # "bringing up nodes..."

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, None]:
        """Keep the category of a result, but show no letter for it."""
        outcome = yield
        category, _, word = outcome.get_result()
        outcome.force_result((category, "", word))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed += 1
            self._write(f"FAILED {report.nodeid}", is_kept=True)

    def pytest_runtest_logfinish(self) -> None:
        self._done += 1
        count = self._session.testscollected if self._session else 0
        part = PARTS * self._done // max(count, 1)
        if self._terminal.isatty or part > self._printed:
            self._printed = part
            seconds = time.monotonic() - self._began_s
            text = f"{self._done} of {count} tests, {self._failed} failed, {seconds:.0f} s"
            self._write(text, is_kept=not self._terminal.isatty)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self) -> Generator[None, Any, None]:
        yield
        if self._terminal.isatty:
            self._terminal.rewrite("", erase=True)

    def _write(self, text: str, *, is_kept: bool) -> None:
        if self._terminal.isatty:
            self._terminal.rewrite(text, erase=True)
        else:
            self._terminal.write(text)
        if is_kept:
            self._terminal.write("\n")
