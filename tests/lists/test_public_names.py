"""docs/use/python.md lists all public names: those of the packages, and of each class.

`python tests/lists/test_public_names.py` writes the list.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from raftline.clients.calls import transaction
from raftline.clients.requests.node_connection import ClientError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "use" / "python.md"
PART = re.compile(r"(?<=<!-- names -->\n)(?s:.*?)(?=<!-- end of names -->)")
INNER = {  # what the attributes of a transaction return
    "kv.txn().if_": "Conditions",
    "kv.txn().then": "Operations",
}


def table() -> str:
    """Return the list as it stands on the page."""
    lines = ["| name | public attributes |", "|---|---|"]
    lines += [
        f"| `{name}` | {', '.join(f'`{each}`' for each in members) or ''} |"
        for name, members in listed()
    ]
    return "".join(f"{line}\n" for line in lines)


def listed() -> Iterator[tuple[str, list[str]]]:
    """Yield each public name with the attributes of its instances."""
    for package in ("raftline", "raftline.aio"):
        module = importlib.import_module(package)
        for name in dir(module):
            yield f"{package}.{name}", members_of(getattr(module, name))
    for place, name in INNER.items():
        yield place, members_of(getattr(transaction, name))


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


def test_the_page_lists_all_public_names() -> None:
    found = PART.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[0] == table(), "run python tests/lists/test_public_names.py"


def test_threads_and_tasks_have_the_same_names() -> None:
    names = dict(listed())
    for each in ("KV", "Lock", "Election", "Lease", "Watch"):
        of_threads, of_tasks = names[f"raftline.{each}"], names[f"raftline.aio.{each}"]
        assert of_threads == of_tasks, each


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(PART.sub(lambda _: table(), text, count=1), encoding="utf-8")
