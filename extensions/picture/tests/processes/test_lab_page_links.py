"""Strokes on the map of links cut and mend them."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.picture.tests.processes.lab_page import LabPage

ActionChains: Any = pytest.importorskip("selenium.webdriver").ActionChains
THREE = "before%20timeouts%20s1%20150%20s2%20400%20s3%20500;at%2060"
Point = tuple[float, float]  # from the middle of the map, in pixels


def place_of(page: LabPage, node: str) -> Point:
    x, y = page.script(
        """const circle = [...document.querySelectorAll("#map .end")]
            .find((end) => end.textContent === arguments[0]).querySelector("circle");
        const [of, all] = [circle, document.getElementById("map")]
            .map((one) => one.getBoundingClientRect());
        return [of.x + of.width / 2 - all.x - all.width / 2,
            of.y + of.height / 2 - all.y - all.height / 2]""",
        node,
    )
    return x, y


def drag(page: LabPage, start: Point, end: Point) -> None:
    where = page.browser.find_element("id", "map")
    page.script("arguments[0].scrollIntoView({block: 'center'})", where)
    pointer = ActionChains(page.browser, duration=20)
    pointer.move_to_element_with_offset(where, *map(round, start)).click_and_hold()
    pointer.move_to_element_with_offset(where, *map(round, end)).release().perform()


def cuts(page: LabPage) -> list[list[str]]:
    """Return the cut links that the table shows, as soon as no act is under way."""
    page.ask(do="look")
    found: list[list[str]] = page.script(
        """return [...document.querySelectorAll("#links [aria-pressed=true]")]
            .map((button) => button.dataset.link.split(" "))"""
    )
    return found


def test_stroke_across_a_link_cuts_it_both_ways_and_mends_it(page: LabPage) -> None:
    page.open(THREE)
    page.opens_drawer()
    (x1, y1), (x2, y2) = place_of(page, "s1"), place_of(page, "s2")
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    across = (middle_x + 20, middle_y - 12), (middle_x - 4, middle_y + 3)
    drag(page, *across)
    assert cuts(page) == [["s1", "s2"], ["s2", "s1"]]
    drag(page, *across)
    assert cuts(page) == []


def test_stroke_between_nodes_cuts_that_way_and_mends_it(page: LabPage) -> None:
    """A stroke from a node to another cuts that way alone, and mends it."""
    page.open(THREE)
    page.opens_drawer()
    drag(page, place_of(page, "s3"), place_of(page, "s1"))
    assert cuts(page) == [["s3", "s1"]]
    drag(page, place_of(page, "s3"), place_of(page, "s1"))
    assert cuts(page) == []


def test_stroke_that_crosses_nothing_does_nothing(page: LabPage) -> None:
    page.open(THREE)
    page.opens_drawer()
    before = page.ask(do="look")["address"]
    drag(page, (-45, -45), (-40, -30))
    drag(page, place_of(page, "s1"), place_of(page, "s1"))
    assert page.ask(do="look")["address"] == before
