"""The page of questions in Chromium, opened as a file: keys turn its pages and show its answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.axe import SCHEMES, needs_axe, violations, with_axe

webdriver = pytest.importorskip("selenium.webdriver", reason="the test needs selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no chromium with its driver (apt: chromium-driver)"
)
PAGE = (ROOT / "docs" / "learn" / "questions.html").as_uri()
RIGHT, LEFT, SPACE = "\ue014", "\ue012", " "  # keys of WebDriver


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    found = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    found.set_window_size(1280, 860)
    yield found
    found.quit()


def press(browser: Any, key: str) -> None:
    browser.find_element("css selector", "body").send_keys(key)


def seen(browser: Any, css: str) -> list[str]:
    """Return the texts that the reader sees."""
    found = browser.find_elements("css selector", css)
    return [one.text for one in found if one.is_displayed()]


def test_keys_turn_the_pages_and_show_the_answer(browser: Any) -> None:
    browser.get(PAGE)
    assert seen(browser, ".count") == ["1 of 20"]
    assert seen(browser, "blockquote, .then") == []
    press(browser, RIGHT)
    assert seen(browser, ".count") == ["2 of 20"]
    press(browser, SPACE)
    assert "so I lead" in seen(browser, "blockquote")[0]
    assert "leader, term 1" in seen(browser, ".then")[0]
    press(browser, SPACE)
    assert seen(browser, "blockquote, .then") == []
    press(browser, LEFT)
    press(browser, LEFT)
    assert seen(browser, ".count") == ["1 of 20"]  # there is none before it
    assert browser.current_url.endswith("#majority-of-disks")


def test_address_of_a_question_opens_it(browser: Any) -> None:
    browser.get("about:blank")
    browser.get(f"{PAGE}#prevote")
    assert seen(browser, ".count") == ["17 of 20"]
    is_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert browser.execute_script(is_wide) is False


@needs_axe
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_in_the_questions(browser: Any, scheme: str) -> None:
    browser.get("about:blank")
    browser.get(PAGE)
    with_axe(browser, scheme)
    for _ in range(20):
        assert violations(browser) == []
        press(browser, SPACE)
        assert violations(browser) == []
        press(browser, RIGHT)
    with_axe(browser, "")
