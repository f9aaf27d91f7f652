"""The core as a library: the public names of `raftline.raft`, and the files that it needs."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import raftline.raft

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src"
PAGE = ROOT / "docs" / "use" / "core.md"
PARTS = ("__init__.py", "common/__init__.py", "common/address.py", "common/extensions.py",
         "common/text.py", "raft", "wire/__init__.py", "wire/peer_lines.py")  # fmt: skip
MODULES = """
import sys
import raftline.raft
assert all(getattr(raftline.raft, name) for name in raftline.raft.__all__)
print(*sorted(name for name in sys.modules if name.partition(".")[0] == "raftline"))
print(*sorted({"asyncio", "socket", "threading", "random", "ssl"} & {*sys.modules}))
"""


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def python(program: str, folder: Path) -> str:
    """Return what a program prints that finds raftline in this folder, and no installed package."""
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs("processes")
def test_importing_the_core_loads_no_module_of_it_or_the_store() -> None:
    loaded = python("import raftline.raft; print(*sys.modules)", SOURCE).split()
    ours = {name for name in loaded if name.startswith("raftline")}
    assert ours == {"raftline", "raftline.__init__", "raftline.raft"}


@pytest.mark.needs("processes")
def test_first_program_of_the_page_needs_the_core_alone(tmp_path: Path) -> None:
    """It runs with nothing but `PARTS` on its path."""
    for part in PARTS:
        goal = tmp_path / "raftline" / part
        goal.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (SOURCE / part).is_dir() else shutil.copy)(SOURCE / part, goal)
    program = page().partition("```python\n")[2].partition("```")[0]
    saved, applied, ours, effectful = python(program + MODULES, tmp_path).splitlines()
    assert saved == (
        "HardState(term=1, vote='s1', lease_ms=0) [Entry(index=1, term=1, command='noop')]"
    )
    assert applied == "[Entry(index=2, term=1, command='Hello')]"
    names = {name.removeprefix("raftline.") for name in ours.split()} - {"raftline"}
    inner = {part.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for part in PARTS}
    assert {name for name in names if not name.startswith("raft.")} == inner - {"__init__"}
    assert effectful == ""


def test_page_explains_each_field_and_each_input() -> None:
    inputs, effects = page().partition("## Inputs")[2].split("\n## ")[:2]
    fields = {field.name for field in dataclasses.fields(raftline.raft.Effects)}
    assert {name for name in fields if f"`{name}`" not in effects} == set()
    kinds = {kind.__name__ for kind in typing.get_args(raftline.raft.Input)}
    assert {name for name in kinds if not re.search(rf"`{name}\b", inputs)} == set()


def test_type_checkers_and_programs_see_the_same_names() -> None:
    text = (SOURCE / "raft" / "__init__.py").read_text("utf-8")
    typed = re.findall(r"^    from \.(\S+) import (\w+) as \2$", text, re.M)
    others = re.findall(r"^    ([\w, ]+) = [_\w., ]+$", text, re.M)
    renamed = {name for names in others for name in names.split(", ")}
    homes = raftline.raft._HOMES
    assert {(f"raft.{module}", name) for module, name in typed} == {
        home for name, home in homes.items() if name not in renamed
    }
    assert renamed == {"is_one_line", "read_membership", "read_message", "format_message"}
    assert raftline.raft.__all__ == sorted(homes) == dir(raftline.raft)
    assert all(getattr(raftline.raft, name) for name in homes)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"'raftline\.raft' has no attribute 'Rawnode'"):
        raftline.raft.Rawnode  # type: ignore[attr-defined]  # noqa: B018
