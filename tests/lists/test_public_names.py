"""public_names.txt lists all public names, and docs/use/python.md the options of `connect` with
their defaults.

`python -m tests.lists.test_public_names` writes both lists.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pydoc
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import raftline.aio
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.kv.connecting import OPTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "use" / "python.md"
NAMES = Path(__file__).with_name("public_names.txt")
CHOICES = re.compile(r"(?<=<!-- options -->\n)(?s:.*?)(?=<!-- end of options -->)")
PACKAGES = ("raftline", "raftline.api", "raftline.errors", "raftline.aio")


def as_made(text: str) -> str:
    """Return the page with the options as the code has them."""
    return CHOICES.sub(lambda _: options(), text, count=1)


def names_made() -> str:
    """Return each public name with its attributes, one name a line."""
    names = dict(listed())
    lines = [
        " ".join([f"{name}:", *members]) if members else name
        for name, members in names.items()
        if not repeats_threads(name, names)
    ]
    again = [name.rpartition(".")[2] for name in names if repeats_threads(name, names)]
    lines.append(" ".join(["the same in raftline.aio:", *again]))
    return "".join(f"{line}\n" for line in lines)


def repeats_threads(name: str, names: Mapping[str, list[str]]) -> bool:
    """Whether a class of asyncio has the attributes of its namesake for threads; the list says that
    in one line."""
    last = name.removeprefix("raftline.aio.")
    own = names[name]
    return last != name and own in (
        names.get(f"raftline.{last}"),
        names.get(f"raftline.api.{last}"),
    )


def options() -> str:
    """Return the table of the options of `connect` as it stands on the page."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for name, row in OPTIONS.items():
        default = f"${row.variable}" if row.variable else f"{row.default!r}"
        default = default.replace("None", "the nearest folder").strip("'")
        lines.append(f"| `{name}` | {default} | {row.sentence} |")
    return "".join(f"{line}\n" for line in lines)


def listed() -> Iterator[tuple[str, list[str]]]:
    """Yield each public name with the attributes of its instances."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in dir(module):
            thing = getattr(module, name)
            if not inspect.isclass(thing) or thing.__module__ == package:  # an error has one row
                yield f"{package}.{name}", members_of(thing)


def members_of(thing: object) -> list[str]:
    """Return the public attributes of a class; of an error those that ClientError has not."""
    if not inspect.isclass(thing):
        return []
    bases = [ClientError] if thing is not ClientError else []
    known = {name for base in (OSError, *bases) for name in dir(base)}
    known = known if issubclass(thing, Exception) else set()
    fields = dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()
    names = {*dir(thing), *(each.name for each in fields)} - known
    return sorted(name for name in names if not name.startswith("_"))


def test_public_names_and_options_are_those_that_are_listed() -> None:
    text, advice = PAGE.read_text(encoding="utf-8"), "run python -m tests.lists.test_public_names"
    assert as_made(text) == text, advice
    assert NAMES.read_text(encoding="utf-8") == names_made(), advice


def test_the_package_has_few_names() -> None:
    assert len(raftline.__all__) <= 25


@pytest.mark.parametrize("package", PACKAGES)
def test_a_class_is_called_as_a_program_imports_it(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing):
            home = "raftline" if name in raftline.__all__ and package != "raftline.aio" else package
            assert (thing.__module__, thing.__qualname__) == (home, name)
            assert f"class {name} in module {home}" in help_of(thing)


def help_of(thing: object) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


def test_help_shows_each_option_with_its_default() -> None:
    for connect in (raftline.connect, raftline.aio.connect):
        text = help_of(connect)
        for name, row in OPTIONS.items():
            assert re.search(rf"\b{name}: [^=]* = {re.escape(repr(row.default))}", text), name
            assert f"{name}: {row.sentence}" in text


@pytest.mark.parametrize("connect", [raftline.connect, raftline.aio.connect])
@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"binary": True}, TypeError, "no option 'binary': use kv.binary"),
        ({"time": 1}, TypeError, "no option 'time': the options are timeout, name, "),
        ({"user": 5}, TypeError, "user is a str, not int"),
        ({"folder": 5}, TypeError, "folder is a path, not of type int"),
        ({"folder": "x"}, ValueError, "at and folder both name the nodes"),
        ({"timeout": 0}, ValueError, "a timeout of 0 s is invalid"),
        ({"silence": 0.5}, ValueError, "a silence of 0.5 s"),
        ({"name": "two words"}, ValueError, "not a valid client name"),
    ],
)
def test_a_wrong_option_is_refused(
    connect: Callable[..., object], options: dict[str, object], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        connect("localhost:1", **options)


def test_threads_and_tasks_have_the_same_names() -> None:
    names = dict(listed())
    for each in ("KV", "Lock", "Election", "Lease", "Watch"):
        home = "raftline" if each == "KV" else "raftline.api"
        of_threads, of_tasks = names[f"{home}.{each}"], names[f"raftline.aio.{each}"]
        assert of_threads == of_tasks, each


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(as_made(text), encoding="utf-8")
    NAMES.write_text(names_made(), encoding="utf-8")
