"""The lab page where it can't run: a sentence says why, and the questions are offered."""

from __future__ import annotations

from pathlib import Path

from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.lab_page import LabPage, browser_of_lab, clone_without_cpython
from raftline_testing.nodes.processes import eventually


def plays_the_first_story(page: LabPage) -> None:
    """The recorded run needs no CPython; an act says that it does."""
    for _ in range(12):
        page.press("#notable")
    page.shows_node("s1", "leader, term 1")
    page.orders("s1", "Crash")
    page.waits_for("#told", "acts work in a moment")


def offers_the_questions(page: LabPage) -> None:
    page.click("#without a")
    eventually(lambda: "questions.html" in page.browser.current_url, "the questions")
    page.waits_for("h1", "Twenty questions")


def test_browser_without_webassembly_is_offered_the_questions() -> None:
    with browser_of_lab("--force-prefers-reduced-motion") as (browser, address):
        page = LabPage(browser, address)
        without = {"source": "delete window.WebAssembly"}
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", without)
        browser.get(address)
        page.waits_for("#link", "The lab does not start: this browser has no WebAssembly.")
        plays_the_first_story(page)
        offers_the_questions(page)


def test_page_without_cpython_or_network_says_what_to_do(tmp_path: Path) -> None:
    """A page without a copy of CPython and without a network says what to do."""
    clone_without_cpython(tmp_path)
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"
    with browser_of_lab(offline, root=tmp_path) as (browser, address):
        page = LabPage(browser, address)
        browser.get(address)
        page.waits_for("#link", "CPython for WebAssembly is not beside the page")
        assert "make -C docs lab" in page.text("#link")
        assert "cdn.jsdelivr.net does not answer" in page.text("#link")
        offers_the_questions(page)


def test_page_opened_as_a_file_offers_the_questions() -> None:
    with browser_of_lab() as (browser, _):
        page = LabPage(browser, "")
        browser.get((ROOT / "docs/learn/lab.html").as_uri())
        page.waits_for(
            "#link", "Opened as a file it can't: run python3 src/cli.py learn in a clone."
        )
        assert page.script("return document.querySelector('main').checkVisibility()") is False
        offers_the_questions(page)
