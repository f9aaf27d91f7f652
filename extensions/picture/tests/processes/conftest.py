"""The lab page, loaded once for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftline.picture.tests.processes.lab_page import LabPage, browser_of_lab


@pytest.fixture(scope="session")
def page() -> Iterator[LabPage]:
    with browser_of_lab() as (browser, address):
        yield LabPage(browser, address).load()
        assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []
