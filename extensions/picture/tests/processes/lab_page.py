"""The lab page in a browser, for tests: `extensions/picture/tests/processes/conftest.py` opens it.

The tests are skipped where there is no chromium, no selenium, or no CPython for WebAssembly, which
`make -C docs lab` fetches.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raftline.picture.harness.lab.sources import ROOT
from raftline_testing.nodes.processes import eventually

LOADED_S = 60.0
SCRIPT_S = 180  # of a script; CPython loads in a tenth of it, unless others work as well
PLACES = """const done = arguments[0], seen = [];
    const look = () => {
        const one = document.querySelector("#stage .message");
        if (one) seen.push([one.dataset.message, one.getAttribute("transform")]);
        if (seen.length < 6) requestAnimationFrame(look); else done(seen);
    };
    requestAnimationFrame(look);"""


class LabPage:
    """The page as its reader sees it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def load(self, run: str = "") -> LabPage:
        """Load the page, with CPython and the sources, at a run."""
        self.browser.get(f"{self.address}#{run}" if run else self.address)
        is_ready = "return document.body.dataset.ready === 'yes'"
        eventually(lambda: self.script(is_ready), "the page is ready", LOADED_S)
        return self

    def open(self, run: str = "") -> LabPage:
        """Open a run in the loaded page."""
        text = "const done = arguments[1]; window.lab.open(arguments[0]).then(done)"
        self.browser.execute_async_script(text, run)
        self.settles()
        return self

    def script(self, text: str, *values: object) -> Any:
        return self.browser.execute_script(text, *values)

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request to the lab in the browser; return the facts."""
        text = "const done = arguments[1]; window.lab.ask(arguments[0]).then(done)"
        facts: dict[str, Any] = self.browser.execute_async_script(text, request)
        return facts

    def click(self, css: str) -> None:
        """Click on a thing of the page, which may be a part of the stage."""
        click = "new MouseEvent('click', {bubbles: true, cancelable: true})"
        self.script(f"document.querySelector(arguments[0]).dispatchEvent({click})", css)

    def press(self, css: str) -> None:
        """Click, and wait until the page has done what it means."""
        self.click(css)
        self.settles()

    def settles(self) -> None:
        """Wait until nothing moves, and no request is under way."""
        eventually(lambda: self.script("return window.lab.now().isStill"), "the page is still")

    def orders(self, node: str, order: str) -> None:
        """Do an act of a node's card."""
        self.click(f"#stage [data-node={node}]")
        self.press(f"#card [data-order='{order}']")

    def shows_node(self, node: str, words: str) -> None:
        """Wait until the stage says this of a node."""
        self.waits_for(f"#stage [data-node={node}]", words)

    def message_moves(self) -> bool:
        """Whether the first message of the stage is at other places in the next frames."""
        seen = self.browser.execute_async_script(PLACES)
        return len({place for message, place in seen if message == seen[0][0]}) > 2

    def opens_drawer(self) -> None:
        self.script(
            "if (document.getElementById('drawer').hidden)"
            " document.getElementById('drawer-open').click()"
        )

    def text(self, css: str) -> str:
        """Return a thing's text; a part of the stage has a label."""
        words = "one?.innerText ?? one?.getAttribute('aria-label') ?? one?.textContent ?? ''"
        return str(
            self.script(f"const one = document.querySelector(arguments[0]); return {words}", css)
        )

    def waits_for(self, css: str, words: str) -> None:
        eventually(lambda: words in self.text(css), f"{words!r} in {css}")

    def waits_gone(self, css: str) -> None:
        hidden = "return document.querySelector(arguments[0]).hidden"
        eventually(lambda: self.script(hidden, css), f"{css} is gone")

    def type(self, node: str, line: str) -> None:
        self.opens_drawer()
        self.script("document.getElementById('target').value = arguments[0]", node)
        self.browser.find_element("id", "line").send_keys(line + "\n")
        self.settles()


TAB, ENTER, DOWN = "\ue004", "\ue006", "\ue015"  # keys of WebDriver
FOCUS = "const one = document.activeElement; return one.id || one.dataset.choice || ''"


def answers_a_story_by_keys(page: LabPage, tap: Callable[[str], None]) -> None:
    """Choose the story after the open one, go through it, answer it, and open the next."""

    def tab_to(name: str) -> None:
        for _ in range(80):
            if page.script(FOCUS) == name:
                return
            tap(TAB)
        raise AssertionError(f"Tab does not reach {name}")

    tab_to("stories")
    tap(DOWN)
    page.waits_for("#tale h2", "The leader crashes")
    page.settles()
    tab_to("back")
    stops: list[str] = []
    while "The story ends here" not in page.text("#told") and len(stops) < 60:
        tap("n")
        page.settles()
        stops.append(page.text("#panel"))
    assert len(set(stops)) > 15
    tab_to("s1")
    tap(ENTER)
    page.waits_for("#tale .verdict", "Not s1.")
    tab_to("s2")
    tap(ENTER)
    page.waits_for("#tale .verdict", "Yes: the world says s2. s1 came back in term 1")
    tab_to("next-story")
    tap(ENTER)
    page.waits_for("#tale h2", "Figure 7")
    page.settles()


def clone_without_cpython(folder: Path) -> None:
    """Put links to the page and its sources into a folder, but no CPython."""
    learn = ROOT / "docs/learn"
    (folder / "docs/learn/lab").mkdir(parents=True)
    for name in ("src", "library", "extensions", "testing", "course"):
        (folder / name).symlink_to(ROOT / name)
    for path in [*learn.glob("*.html"), *(learn / "lab").glob("*.*")]:
        (folder / path.relative_to(ROOT)).symlink_to(path)


@contextmanager
def lab_address(root: Path = ROOT) -> Iterator[str]:
    """Serve the lab page of a clone; yield its address."""
    learn = pytest.importorskip("raftline_course.learn", reason="the page is the course's")
    if not (ROOT / "docs/learn/lab/pyodide").is_dir():
        pytest.skip("`make -C docs lab` was not run")
    with learn.server(0, root) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{serving.server_port}{learn.PAGE}"
        finally:
            serving.shutdown()


@contextmanager
def browser_of_lab(*options: str, root: Path = ROOT) -> Iterator[tuple[Any, str]]:
    """Yield a browser with these options, and the address of the lab page of a clone, served."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the test needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("there is no chromium with its driver (apt)")
    settings = webdriver.ChromeOptions()
    settings.binary_location = chromium
    usual = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    for option in (*usual, *options):
        settings.add_argument(option)
    settings.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with lab_address(root) as address:
        browser = webdriver.Chrome(settings, webdriver.ChromeService(driver))
        browser.set_window_size(1280, 860)
        browser.set_script_timeout(SCRIPT_S)
        try:
            yield browser, address
        finally:
            browser.quit()
