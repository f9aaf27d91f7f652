"""The colours of the lab, the view, its saved pages and the questions: what is read has enough
contrast, also for readers who see no red or no green, and no sign is told by its colour alone."""

from __future__ import annotations

import colorsys
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[4]
VIEW = ROOT / "extensions" / "picture" / "view" / "static"
LAB = ROOT / "docs" / "learn" / "lab"
QUESTIONS = ROOT / "extensions" / "picture" / "harness" / "lab" / "questions.css"
PAGES = {
    "the view": (VIEW / "view.css",),
    "the lab": (VIEW / "view.css", LAB / "lab.css"),
    "the questions": (QUESTIONS,),
}
TEXT, GRAPHICS = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11
# The lines of boxes and tables, and the links of the stage, say nothing that is not written.
DECORATION = {"--line"}
GROUNDS = ("--paper", "--card")
TERMS = range(1, 361)

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB; and a projector without colour.
EYES = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "grey": ((0.2126, 0.7152, 0.0722),) * 3,
}

Colour = tuple[float, float, float]  # red, green and blue, each 0 to 1


class Rule(NamedTuple):
    """A rule of a style sheet: what it styles, and how."""

    selector: str
    style: dict[str, str]


def rules(css: str) -> Iterator[Rule]:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", css):
        pairs = (one.partition(":") for one in body.split(";") if ":" in one)
        yield Rule(selector.strip(), {name.strip(): value.strip() for name, _, value in pairs})


def palette(css: str, scheme: str) -> dict[str, str]:
    """Return the custom properties of a style sheet in a colour scheme."""
    dark = re.compile(r"@media[^{]*prefers-color-scheme: dark\)\s*\{((?:[^{}]*\{[^{}]*\})*)\s*\}")
    found = {}
    for part in [dark.sub("", css), *(dark.findall(css) if scheme == "dark" else [])]:
        for rule in rules(part):
            found.update({name: at for name, at in rule.style.items() if name.startswith("--")})
    return {name: at for name, at in found.items() if at.startswith("#")}


def hexed(text: str) -> Colour:
    digits = text[1:] if len(text) == 7 else "".join(2 * one for one in text[1:4])
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def seen_by(eyes: str, colour: Colour) -> Colour:
    """Return the linear colour that these eyes see."""
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour]
    red, green, blue = (
        min(1.0, max(0.0, sum(share * one for share, one in zip(row, linear, strict=True))))
        for row in EYES[eyes]
    )
    return red, green, blue


def contrast(eyes: str, one: Colour, other: Colour) -> float:
    """Return the ratio of WCAG."""
    bright = sorted(
        sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), seen_by(eyes, colour),
                                                strict=True))
        for colour in (one, other)
    )  # fmt: skip
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def tint(term: int, light: float, saturation: float) -> Colour:
    """Return `hsl(hueOf(term) …)`."""
    hue = evaluated(VIEW / "model.js", "hueOf", f"{list(TERMS)}.map(hueOf)")[term - 1]
    return colorsys.hls_to_rgb(hue / 360, light / 100, saturation / 100)


_EVALUATED: dict[tuple[Path, str], Any] = {}


def evaluated(module: Path, name: str, expression: str) -> Any:
    """Return the value of a JavaScript expression with a name of a module."""
    if (module, expression) not in _EVALUATED:
        node = shutil.which("node")
        if node is None:
            pytest.skip("there is no `node` here")
        program = f"import {{ {name} }} from {json.dumps(module.as_uri())};"
        program += f"console.log(JSON.stringify({expression}));"
        command = [node, "--input-type=module", "-e", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        _EVALUATED[module, expression] = json.loads(done.stdout)
    return _EVALUATED[module, expression]


def used(css: str, *properties: str) -> set[str]:
    """Return the custom properties that stand as these properties, with a text's own ground."""
    found = set()
    for rule in rules(css):
        for name, value in rule.style.items():
            if name in properties and "background" not in rule.style:
                found |= set(re.findall(r"var\((--[\w-]+)\)", value))
    return found - {"--scale", "--edge", "--tint"}


@pytest.mark.parametrize(("page", "scheme"), list(product(PAGES, ("light", "dark"))))
def test_text_and_signs_have_contrast_for_all_eyes(page: str, scheme: str) -> None:
    css = "\n".join(path.read_text(encoding="utf-8") for path in PAGES[page])
    colours = palette(css, scheme)
    grounds = [name for name in GROUNDS if name in colours]
    lines = (
        "stroke",
        "border-color",
        "border-left-color",
        "fill",
        "--tint",
        "border",
        "accent-color",
    )
    wanted = {name: GRAPHICS for name in used(css, *lines) - DECORATION}
    wanted |= dict.fromkeys(used(css, "color"), TEXT)
    wanted = {name: least for name, least in wanted.items() if name not in grounds}
    pale = [
        f"{name} {colours[name]} on {ground} for {eyes}: {ratio:.2f}"
        for name, least in wanted.items()
        for ground in grounds
        for eyes in EYES
        if (ratio := contrast(eyes, hexed(colours[name]), hexed(colours[ground]))) < least
    ]
    assert len(wanted) >= 2
    assert pale == []


@pytest.mark.parametrize(("page", "scheme"), list(product(PAGES, ("light", "dark"))))
def test_text_on_a_ground_of_its_own_has_contrast(page: str, scheme: str) -> None:
    """A pressed button, and a sign in a filled shape."""
    css = "\n".join(path.read_text(encoding="utf-8") for path in PAGES[page])
    colours = palette(css, scheme)
    pale = []
    for rule in rules(css):
        ground = re.search(r"var\((--[\w-]+)\)", rule.style.get("background", ""))
        text = re.search(r"var\((--[\w-]+)\)", rule.style.get("color", ""))
        if ground and text and ground[1] in colours:
            pale += [
                (rule.selector, eyes)
                for eyes in EYES
                if contrast(eyes, hexed(colours[text[1]]), hexed(colours[ground[1]])) < TEXT
            ]
    for rule in rules(css):
        filled = re.search(r"var\((--[\w-]+)\)", rule.style.get("--tint", ""))
        if filled:  # its sign is of paper
            pale += [
                (rule.selector, eyes)
                for eyes in EYES
                if contrast(eyes, hexed(colours["--paper"]), hexed(colours[filled[1]])) < GRAPHICS
            ]
    assert pale == []


@pytest.mark.parametrize("eyes", EYES)
def test_words_and_frames_of_an_entry_have_contrast_in_each_term(eyes: str) -> None:
    """The cells of the logs and the nodes of the stage are as pale in both schemes."""
    css = (VIEW / "view.css").read_text() + (LAB / "lab.css").read_text()
    entry = [rule.style for rule in rules(css) if rule.selector.endswith("td.entry")]
    (text,) = {style["color"] for style in entry if "color" in style}
    frames = [
        found[0]
        for rule in rules(css)
        for name in ("border", "border-color")
        if re.search(r"td\.(entry|committed)$", rule.selector)
        and (found := re.search(r"#\w+|var\(.*?\)", rule.style.get(name, "")))
    ]
    assert len(frames) == 2
    for term in TERMS:
        for ground in (tint(term, 78, 65), tint(term, 80, 70)):
            assert contrast(eyes, hexed(text), ground) >= TEXT, term
            for frame in frames:
                assert contrast(eyes, hexed(frame), ground) >= GRAPHICS, (term, frame)
    questions = QUESTIONS.read_text()
    for number, ground in re.findall(r"\.t(\d) \{ background: (#\w+)", questions):
        assert contrast(eyes, hexed("#16191d"), hexed(ground)) >= TEXT, number


def test_eight_terms_in_a_row_have_colours_apart() -> None:
    hues = evaluated(VIEW / "model.js", "hueOf", f"{list(TERMS)}.map(hueOf)")
    for place in range(len(hues) - 8):
        some = sorted(hues[place : place + 8])
        gaps = [
            (after - before) % 360 for before, after in zip(some, some[1:] + some[:1], strict=True)
        ]
        assert min(gaps) >= 45, place


LINES = {
    "asks": "RequestVote 1-0-0", "yes": "Count on me for term 1", "no": "Not this time, term 1",
    "entries": 'AppendEntries 1-0-0-[{"index": 1}] commit 0 round 1', "lacks": "GiveEntries 1",
    "beat": "AppendEntries 1-0-0-[] commit 0 round 1", "holds": "I am up to date term 1 index 1",
}  # fmt: skip


def test_each_arrow_of_the_view_ends_in_a_shape_of_its_meaning() -> None:
    looks = evaluated(
        VIEW / "diagram.js", "lookOf", f"{json.dumps(list(LINES.values()))}.map(lookOf)"
    )
    shapes = dict(zip(LINES, (shape for _, shape in looks), strict=True))
    assert len({shapes[one] for one in ("asks", "yes", "no", "entries")}) == 4
    assert (shapes["holds"], shapes["lacks"]) == (shapes["yes"], shapes["no"])
    colours = {colour for colour, _ in looks}
    assert len(colours) == len({tuple(one) for one in looks})  # a colour says no more than a shape


def test_each_message_of_the_stage_has_a_shape_of_its_kind() -> None:
    looks = evaluated(
        LAB / "glyphs.js", "lookOf", f"{json.dumps(list(LINES.values()))}.map(lookOf)"
    )
    assert len({tuple(one) for one in looks}) == len(LINES)
