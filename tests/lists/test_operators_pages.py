"""Each block of an operator's page is run by a test, or marked as what it is.

The line before it is a comment: `on: HOSTS` and `on real hosts: HOSTS` are steps of the page for
three hosts, `run: FILE` names the test that reads the block from its page and runs it. A block that
is typed is an `output` or a `file`. A `sketch` is not run, and says why. A reader of the page sees
none of these.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raftline_testing.runner.parts import is_missing

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs" / "operate").glob("*.md"),
        ROOT / "docs" / "repair.md",
        *(ROOT / "deploy").rglob("*.md"),
    ]
)
# What stands before a fence, the language, and the block.
BLOCK = re.compile(r"([^\n]*)\n[ ]*```([^\n]*)\n(.*?)\n[ ]*```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (on|on real hosts|run|output|file|sketch)(?:: (.+))? -->")
STEPS = {"docs/operate/three-hosts.md": "extensions/tools/harness/hosts/three_hosts_page.py"}
UNREAD = re.compile(r"^(?:    |\t)\S|^ *(?:```|~~~)", re.MULTILINE)  # no such block
TYPED = ("sh", "python")


def unmarked(page: str, text: str) -> list[str]:
    """Return what is wrong with the blocks of a page."""
    found = [
        f"{page}: {wrong}: {block.partition(chr(10))[0]}"
        for before, language, block in BLOCK.findall(text)
        if (wrong := _wrong(page, before, language))
    ]
    rest = BLOCK.sub("", text)
    return found + [f"{page}: not fenced: {line.group()}" for line in UNREAD.finditer(rest)]


def _wrong(page: str, before: str, language: str) -> str:
    mark = MARK.fullmatch(before)
    if mark is None:
        return "no mark"
    kind, detail = mark[1], mark[2] or ""
    if language in TYPED and kind in ("output", "file"):
        return f"{language} is typed, and is no {kind}"
    if kind == "sketch" and not detail:
        return "a sketch has a reason"
    runner = {"on": STEPS.get(page), "on real hosts": STEPS.get(page), "run": detail}
    return "" if kind not in runner else _not_run(runner[kind] or "", Path(page).name)


def _not_run(test: str, name: str) -> str:
    """Return why a test runs no block of a page."""
    if is_missing(test):
        return ""
    if not test or not (ROOT / test).is_file():
        return f"there is no test {test}".rstrip()
    return "" if name in (ROOT / test).read_text(encoding="utf-8") else f"{test} lacks {name}"


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_each_block_of_an_operators_page_is_run_or_marked(page: str) -> None:
    assert unmarked(page, (ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Type:\n\n```sh\nraftline get a\n```\n", "no mark"),
        ("<!-- output -->\n```sh\nraftline get a\n```\n", "sh is typed, and is no output"),
        ("<!-- sketch -->\n```sh\nraftline get a\n```\n", "a sketch has a reason"),
        ("<!-- on: s1 -->\n```sh\nraftline get a\n```\n", "there is no test"),
        ("<!-- run: tests/none.py -->\n```sh\nls\n```\n", "there is no test tests/none.py"),
        (
            "<!-- run: tests/transcripts/conftest.py -->\n```sh\nls\n```\n",
            "tests/transcripts/conftest.py lacks page.md",
        ),
        ("Type:\n\n    raftline get a\n", "not fenced"),
        ("Type:\n\n~~~\nraftline get a\n~~~ end\n", "not fenced"),
    ],
)
def test_a_block_without_a_mark_is_found(text: str, wrong: str) -> None:
    found, *_ = unmarked("docs/page.md", text)
    assert found.startswith(f"docs/page.md: {wrong}: ")
