"""The site of the pages: its reference is whole, and its checker finds what is broken."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline import aio, api, errors

SITE = Path(__file__).resolve().parents[2] / "docs" / "site"
CLASS = re.compile(
    r"^\.\. (py:module|py:currentmodule|auto\w+):: (\S+)\n((?:   :.*\n)*)", re.MULTILINE
)
ENTRY = re.compile(r"^\.\. (py:module|py:currentmodule|auto\w+):: (\S+)$", re.MULTILINE)
PAGE = '<html><body><h1 id="top">A page</h1>{}</body></html>'


def test_the_reference_lists_every_public_name_once() -> None:
    found: dict[str, list[str]] = {}
    module = ""
    for kind, name in ENTRY.findall((SITE / "reference.rst").read_text(encoding="utf-8")):
        if kind.startswith("py:"):
            module = name
        elif "." not in name:
            found.setdefault(module, []).append(name)
    in_both = set(raftline.__all__) & set(errors.__all__)
    assert sorted(found["raftline"]) == sorted(set(raftline.__all__) - {"aio", "api", "errors"})
    assert sorted(found["raftline.aio"]) == sorted(aio.__all__)
    assert sorted(found["raftline.api"]) == sorted(api.__all__)
    assert sorted(found["raftline.errors"]) == sorted(set(errors.__all__) - in_both)


def classes_of_the_reference() -> Iterator[tuple[type, set[str] | None]]:
    """Yield each class with the bases whose members it does not list; None if it lists those of no
    base."""
    module = ""
    for kind, name, options in CLASS.findall((SITE / "reference.rst").read_text(encoding="utf-8")):
        if kind.startswith("py:"):
            module = name
        elif kind == "autoclass" and ":members:" in options:
            part, _, last = name.rpartition(".")
            found = getattr(importlib.import_module(part or module), last)
            stops = re.search(r":inherited-members:(.*)", options)
            yield found, None if stops is None else set(stops[1].replace(",", " ").split())


CLASSES = list(classes_of_the_reference())


@pytest.mark.parametrize(("cls", "stops"), CLASSES)
def test_the_reference_lists_inherited_members(cls: type, stops: set[str] | None) -> None:
    """A base that a reader never sees has methods that the reader calls."""
    own = {name for name in vars(cls) if not name.startswith("_")}
    for base in cls.__mro__[1:]:
        if not base.__module__.startswith("raftline") or base.__name__ in (stops or ()):
            break
        names = {name for name, what in vars(base).items() if name[0] != "_" and what.__doc__}
        assert stops is not None or names <= own, f"{cls.__name__} lacks {names - own}"


@pytest.mark.parametrize(("cls", "stops"), CLASSES)
def test_methods_return_what_a_caller_gets(cls: type, stops: set[str] | None) -> None:
    """Sphinx reads the annotations, `help` the signature."""
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        if name[0] == "_" or not inspect.isfunction(method):
            continue
        signature = inspect.signature(method).return_annotation
        try:
            hint = typing.get_type_hints(method).get("return", signature)
        except NameError:
            hint = signature  # as Sphinx does
        assert not re.search(r"Call\[|Claiming|Steps|Generator", f"{signature} {hint}"), method


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="sub/two.html#top">two</a> <a href="#top">up</a> <img src="a%20b.svg">', ""),
        ('<a href="https://example.org/">elsewhere</a>', ""),
        ('<a href="three.html">three</a>', "index.html: three.html: no such file"),
        ('<a href="sub/two.html#end">two</a>', "index.html: sub/two.html#end: no such place"),
        ('<a href="sub/two.html#seed%201;at%2060">a run of the lab</a>', ""),
        ('<img src="no.svg">', "index.html: no.svg: no such file"),
        ('<script src="//example.org/a.js"></script>', "index.html loads //example.org/a.js"),
    ],
)
def test_checker_finds_broken_links_and_foreign_resources(
    tmp_path: Path, body: str, problem: str
) -> None:
    """The checker finds broken links, and resources that are loaded from elsewhere."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "two.html").write_text(PAGE.format('<a href="../index.html">one</a>'))
    (tmp_path / "a b.svg").write_text("<svg/>")
    (tmp_path / "index.html").write_text(PAGE.format(body))
    command = [sys.executable, str(SITE / "check.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.strip() == problem
    assert done.returncode == (1 if problem else 0)


def test_checker_finds_a_page_that_a_copy_replaced(tmp_path: Path) -> None:
    """A search leads to the headings of the page that was there."""
    titles = {"A page": [[0, None]], "Its end": [[0, "end"]]}
    search = json.dumps({"docnames": ["learn/lab"], "alltitles": titles})
    (tmp_path / "searchindex.js").write_text(f"Search.setIndex({search})")
    page = tmp_path / "learn" / "lab.html"
    page.parent.mkdir()
    command = [sys.executable, str(SITE / "check.py"), str(tmp_path)]
    for text, problem in (
        (PAGE.format('<h2 id="end">Its end</h2>'), ""),
        (PAGE.format(""), "searchindex.js: learn/lab.html#end: no such place"),
    ):
        page.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr.strip() == problem
