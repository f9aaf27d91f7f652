"""The pictures of the README and the tutorial: the same lines always give the same picture."""

from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("matplotlib", reason="the pictures are drawn by matplotlib")
pytestmark = pytest.mark.slow
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def make() -> Iterator[ModuleType]:
    name = "picture_of_a_failover"
    spec = importlib.util.spec_from_file_location(name, PICTURES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def lines() -> list[str]:
    return (PICTURES / "failover.txt").read_text(encoding="utf-8").splitlines()


def words(picture: str) -> list[str]:
    """Return the texts of a picture. Places of them may differ with the version of matplotlib."""
    return [text.text or "" for text in ET.fromstring(picture).iter(f"{SVG}text")]


def test_the_picture_is_drawn_from_the_lines_next_to_it(make: ModuleType) -> None:
    picture = (PICTURES / "failover.svg").read_text(encoding="utf-8")
    assert words(make.draw(lines())) == words(picture), "make -C docs pictures draws it anew"
    write = (PICTURES / "write.svg").read_text(encoding="utf-8")
    assert words(make.draw(make.before_the_kill(lines()))) == words(write), "make -C docs pictures"


def test_the_same_lines_give_the_same_bytes(make: ModuleType) -> None:
    assert make.draw(lines()) == make.draw(lines())


def test_the_pages_show_pictures_for_light_and_dark() -> None:
    root, shown = PICTURES.parents[1], set[str]()
    for page in (root / "README.md", root / "docs" / "tutorial.md"):
        image = r'<img src="(?:docs/)?pictures/([a-z]+\.svg)"[^>]* alt="[^"]+"'
        names = re.findall(image, page.read_text(encoding="utf-8"))
        assert names, page
        shown |= set(names)
    assert shown == {path.name for path in PICTURES.glob("*.svg")}
    for name in shown:
        assert "prefers-color-scheme:dark" in (PICTURES / name).read_text(encoding="utf-8")


def test_the_picture_of_the_write_ends_before_the_kill(make: ModuleType) -> None:
    shown = words(make.draw(make.before_the_kill(lines())))
    assert "SET response: b set to 5" in shown
    assert "kill -9" not in shown
    assert "I am Leader" not in shown


def test_each_message_that_arrived_is_an_arrow_with_its_words(make: ModuleType) -> None:
    from matplotlib.patches import FancyArrowPatch  # pyright: ignore[reportMissingImports]

    figure, title = make.figure_of(lines())
    arrows = [note.arrow_patch for note in figure.axes[0].texts if hasattr(note, "arrow_patch")]
    assert all(isinstance(arrow, FancyArrowPatch) for arrow in arrows)
    assert len(arrows) == len([line for line in lines() if "[*] Received from" in line])
    shown = set(words(make.draw(lines())))
    assert {"set b 5", "SET response: b set to 5", "kill -9", "I am Leader"} <= shown
    assert "GET response: 5" in shown
    assert f"<title>{title}</title>" in make.draw(lines())


def test_no_event_is_drawn_above_its_cause(make: ModuleType) -> None:
    order, end = make.placed(make.events_in(make.with_replies(lines())))
    heights = [event.y for event in order]
    assert heights == sorted(heights)
    assert heights[-1] < end
    for event in order:
        if event.is_send:
            assert event.y < event.other.y


def test_arrival_read_before_its_sending_is_drawn_after_it(make: ModuleType) -> None:
    """Three threads read three consoles, so the lines of two nodes may be in the wrong order."""
    text = [
        "1.0 s2 [*] Received from s1 : TimeoutNow 1",
        "1.1 s1 Sending message to s2: TimeoutNow 1",
    ]
    first, second = make.placed(make.events_in(make.with_replies(text)))[0]
    assert (first.is_send, second.is_send) == (True, False)
