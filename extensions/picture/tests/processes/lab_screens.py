"""Photographs each screen of the lab, side by side in docs/pictures/lab-screens.webp.

`make -C docs lab-screens` does it.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator

import pytest

from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.lab_page import LabPage, browser_of_lab

PICTURE = ROOT / "docs/pictures/lab-screens.webp"
WIDE, PHONE = (1280, 720), (390, 844)
HEIGHT = {WIDE: 270, PHONE: 400}  # in the picture
LED = "before%20timeouts%20s1%20150%20s2%20400%20s3%20500;before%20network%2010%2010;at%2060"
FIRST_STEPS_MS = (215, 355, 600, 712, 900)


def ask_devtools(page: LabPage, command: str, **values: object) -> dict[str, str]:
    answer: dict[str, str] = page.browser.execute_cdp_cmd(command, values)
    return answer


def photograph(page: LabPage) -> str:
    """Return the page as a PNG image in base64."""
    return ask_devtools(page, "Page.captureScreenshot")["data"]


def first_steps(page: LabPage) -> Iterator[str]:
    page.open("")
    page.script("if (window.lab.now().isPlaying) document.getElementById('play').click()")
    page.settles()
    yield "at first"
    for at_ms in FIRST_STEPS_MS:
        page.open(f"first={at_ms}")
        yield f"the first minute, {at_ms} ms"


def stories(page: LabPage) -> Iterator[str]:
    for story, presses in (("figure-7", 6), ("crash", 9)):
        page.open(f"story={story}")
        for _ in range(presses):
            page.press("#notable")
        yield f"story {story}"
        page.click("#as-lanes")
        page.settles()
        yield f"story {story} as lanes"
        page.click("#as-stage")


def cards(page: LabPage) -> Iterator[str]:
    page.open(LED)
    page.orders("s1", "Write")
    for css, what in (
        ("#stage [data-node=s1]", "a node"),
        ("#stage .message", "a message"),
        ("#logs td.entry", "an entry"),
    ):
        page.click(css)
        yield f"the card of {what}"
        page.script("document.getElementById('card').hidePopover()")


def drawer(page: LabPage) -> Iterator[str]:
    page.open(LED)
    page.opens_drawer()
    yield "the drawer"
    page.click("#drawer-close")


def edited_log(page: LabPage) -> Iterator[str]:
    page.open(LED)
    page.orders("s3", "Crash")
    page.orders("s3", "Edit log")
    yield "the editor of a log"
    page.press("#editor [value=save]")
    yield "a run of an edited log"


def questions(page: LabPage) -> Iterator[str]:
    page.browser.get(page.address.replace("lab.html", "questions.html"))
    yield "the questions"


SCENES: tuple[Callable[[LabPage], Iterator[str]], ...] = (
    *(first_steps, stories, cards, drawer, edited_log),
    questions,  # another page, so the last one
)


def sheet(shots: dict[tuple[int, int], list[tuple[str, str]]]) -> str:
    """Return a page with all photographs, in rows."""
    parts = ["<style>body{margin:8px;width:1990px;background:#777;font:13px sans-serif}"]
    parts.append("div{display:flex;flex-wrap:wrap;gap:8px}figure{margin:0;color:#fff}</style>")
    for size, taken in shots.items():
        parts.append("<div>")
        for name, image in taken:
            picture = f"<img height={HEIGHT[size]} src='data:image/png;base64,{image}'>"
            parts.append(f"<figure>{picture}<figcaption>{name}</figcaption></figure>")
        parts.append("</div>")
    return "".join(parts)


def take() -> None:
    """Take all photographs, and write the picture."""
    shots: dict[tuple[int, int], list[tuple[str, str]]] = {WIDE: [], PHONE: []}
    with browser_of_lab() as (browser, address):
        page = LabPage(browser, address)
        for size, taken in shots.items():
            width, height = size
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
            ask_devtools(
                page, "Emulation.setDeviceMetricsOverride", **metrics, mobile=size == PHONE
            )
            for scheme in ("light", "dark"):
                features = [
                    {"name": "prefers-color-scheme", "value": scheme},
                    {"name": "prefers-reduced-motion", "value": "reduce"},
                ]
                ask_devtools(page, "Emulation.setEmulatedMedia", media="", features=features)
                page.load()
                for scene in SCENES:
                    taken += [(f"{name}, {scheme}", photograph(page)) for name in scene(page)]
        ask_devtools(page, "Emulation.clearDeviceMetricsOverride")
        browser.get("about:blank")
        page.script("document.write(arguments[0])", sheet(shots))
        whole = ask_devtools(
            page, "Page.captureScreenshot", format="webp", captureBeyondViewport=True
        )
        PICTURE.write_bytes(base64.b64decode(whole["data"]))


def main() -> int:
    try:
        take()
    except pytest.skip.Exception as missing:
        print(f"no picture was taken: {missing}", file=sys.stderr)
        return 1
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
