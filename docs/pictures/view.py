"""Draws view.png, the README's picture of the view, from a real run: `make -C docs view-picture`.

`raftline up --view` starts three nodes; a browser writes values, kills the leader and starts it
again, and the page is photographed. It needs selenium and aiohttp (`make .venv/all-installed`), and
Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parents[1] / "src" / "cli.py"
PICTURE = HERE / "view.png"
SIZE = (1180, 860)
DEADLINE_S = 30.0
ZOOMS, SPAN_S = 2, 12.0  # sixteen seconds are in sight then
PORTS = ("--base-port", "31100", "--view", "31110")

Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str) -> Found:
    """Return what a look finds, as soon as it finds something."""
    end = time.monotonic() + DEADLINE_S
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {DEADLINE_S:.0f} s")
        time.sleep(0.05)
    return found


class Page:
    """The page as its reader sees it."""

    def __init__(self, browser: Any, address: str) -> None:
        self._browser = browser
        browser.set_window_size(*SIZE)
        browser.get(address)

    def run(self, script: str, *arguments: object) -> Any:
        return self._browser.execute_script(script, *arguments)

    def leader(self) -> str:
        """Return the node whose card says that it leads, or ""."""
        script = """const found = [...document.querySelectorAll('.node')]
            .find((card) => card.querySelector('.role').textContent.startsWith('leader'));
            return found ? found.getAttribute('aria-label') : ''"""
        return str(self.run(script))

    def another_leader(self, old: str) -> str:
        found = self.leader()
        return found if found != old else ""

    def follows(self, node: str, leader: str) -> bool:
        """Return whether a node has heard of a leader and has its log."""
        script = """const role = (node) =>
                document.querySelector(`[aria-label='${node}'] .role`).textContent;
            const log = (node) => [...document.querySelectorAll(`[data-node='${node}'] td.entry`)]
                .map((cell) => cell.firstChild.textContent).join();
            const [node, leader] = arguments;
            return role(node) === role(leader).replace('leader', 'follower')
                && log(node) === log(leader)"""
        return bool(self.run(script, node, leader))

    def press(self, node: str, order: str) -> None:
        script = """document.querySelector(
            `[data-node='${arguments[0]}'][data-order='${arguments[1]}']`).click()"""
        self.run(script, node, order)

    def type(self, node: str, line: str) -> None:
        """Type a line at a node, and wait for its answer."""
        script = """document.querySelector('#target').value = arguments[0];
            document.querySelector('#line').value = arguments[1];
            document.querySelector('#form button').click()"""
        answers = "return document.querySelectorAll('#answers li').length"
        before = self.run(answers)
        self.run(script, node, line)
        until(lambda: self.run(answers) > before, f"answer to {line}")

    def click(self, css: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", css)

    def photograph(self, path: Path) -> None:
        """Save the page as a picture, from its top to the end of the cards."""
        self.run("document.documentElement.style.overflow = 'hidden'")  # no bar at its side
        self._browser.execute_async_script("requestAnimationFrame(arguments[0])")
        width, height = self.run(
            """const cards = document.querySelector('#nodes').getBoundingClientRect();
            return [window.innerWidth, cards.bottom + 2]"""
        )
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        taken = self._browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        path.write_bytes(base64.b64decode(taken["data"]))


def play(page: Page) -> None:
    """Cause a few elections: each leader is killed after a write, and is started again."""
    leader = until(page.leader, "leader")
    end = time.monotonic() + SPAN_S
    number = 5
    while time.monotonic() < end:
        page.type(leader, f"set b {number}")
        number += 1
        page.press(leader, "Kill")
        new = until(partial(page.another_leader, leader), "new leader")
        page.type(new, "get b")
        page.press(leader, "Start")
        until(partial(page.follows, leader, new), f"follower {leader}")
        leader = new


def draw(address: str) -> None:
    """Play in the page at an address, and photograph it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        page = Page(browser, address)
        play(page)
        for _ in range(ZOOMS):
            page.click("#wider")
        page.photograph(PICTURE)
    finally:
        browser.quit()


def main() -> int:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print(
            "the picture needs a browser: apt-get install chromium chromium-driver", file=sys.stderr
        )
        return 1
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(PROGRAM), "up", "--dir", folder, *PORTS]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as cluster:
            try:
                assert cluster.stdout is not None
                draw(next(line.split()[-1] for line in cluster.stdout if "http://" in line))
            finally:
                cluster.terminate()
                cluster.communicate(timeout=DEADLINE_S)
    print(f"{PICTURE.relative_to(HERE.parents[1])}: {PICTURE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
