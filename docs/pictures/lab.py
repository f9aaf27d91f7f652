"""Draws lab.png, the README's picture of the lab: `make -C docs lab-picture`.

A browser opens a run of the lab page, in which the leader crashes, and photographs the election
after it. It needs selenium (`make .venv/all-installed`), Debian's chromium and chromium-driver,
and CPython for WebAssembly (`make -C docs lab`). The same run gives the same picture.
"""

from __future__ import annotations

import base64
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from raftline_course import learn

PICTURE = Path(__file__).resolve().parent / "lab.png"
SIZE = (1280, 720)
LOADED_S = 120
RUN = (
    "nodes%20s1%20s2%20s3%20s4%20s5;before%20timeouts%20s1%20150%20s2%20180%20s3%20400%20s4%20400"
    "%20s5%20400;before%20network%2010%2010;300ms%20s1%20%3C-%20client4@set%20b%205;"
    "400ms%20s1%20%3C-%20client4@set%20door%20open;412ms%20crash%20s1"
)
AT_MS, SCALE = 626, 0.72  # votes for s2 are on their way then
READY = "document.body.dataset.ready === 'yes'"


def draw(browser: Any, address: str) -> None:
    """Open the run at an address, and photograph the page."""
    from selenium.webdriver.support.ui import WebDriverWait

    width, height = SIZE
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.set_script_timeout(LOADED_S)
    browser.get(f"{address}#{RUN}")
    WebDriverWait(browser, LOADED_S).until(lambda page: page.execute_script(f"return {READY}"))
    browser.execute_async_script(
        """const [at_ms, done] = arguments, slider = document.getElementById("when");
        slider.max = at_ms;
        slider.value = at_ms;
        slider.dispatchEvent(new Event("change"));
        const wait = () => (window.lab.now().isStill ? done() : setTimeout(wait, 50));
        wait();""",
        AT_MS,
    )
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": SCALE}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
    PICTURE.write_bytes(base64.b64decode(taken["data"]))


def main() -> int:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print(
            "the picture needs a browser: apt-get install chromium chromium-driver", file=sys.stderr
        )
        return 1
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    with learn.server(0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            draw(browser, f"http://localhost:{serving.server_port}{learn.PAGE}")
        finally:
            browser.quit()
            serving.shutdown()
    print(f"{PICTURE.relative_to(learn.ROOT)}: {PICTURE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
