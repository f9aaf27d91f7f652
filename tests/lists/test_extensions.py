"""The boundary of the kernel: the table of extensions in docs/develop/architecture.md."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from raftline.common.extensions import EXTENSIONS, LIBRARY
from raftline_testing.runner import tree_copy
from raftline_testing.runner.parts import there
from raftline_testing.runner.without import KERNEL_TESTS
from tests.lists.imports import PAGE, arrows, modules
from tests.lists.trees import ROOT, SOURCES


@functools.cache
def extensions() -> dict[str, list[str]]:
    """Return the modules or folders of each extension, as beginnings of module names."""
    row = re.compile(r"^\| (\w+) \| ((?:`extensions/\w+/` ?)+)\| .* \|$", re.M)
    table = PAGE.read_text(encoding="utf-8").partition("## Kernel and extensions")[2]
    return {
        name: [
            path.removesuffix(".py").replace("/", ".").removeprefix("extensions.")
            for path in re.findall(r"`([^`]+)`", paths)
        ]
        for name, paths in row.findall(table.partition("\n## ")[0])
    }


@functools.cache
def composing() -> set[str]:
    """Return the modules that put the kernel and the extensions together."""
    line = re.search(r"^These modules put .*: (.*)\.$", PAGE.read_text(encoding="utf-8"), re.M)
    assert line is not None
    return set(re.findall(r"`(\w+)`", line[1]))


def extension_of(module: str) -> str:
    """Return the extension of a module, "" if it is of the kernel."""
    return next(
        (
            name
            for name, paths in extensions().items()
            if any(
                module == path or (path[-1] == "." and module.startswith(path)) for path in paths
            )
        ),
        "",
    )


def test_the_table_names_modules_that_exist() -> None:
    for name, paths in extensions().items():
        assert [path for path in there(paths) if not _is_there(path)] == [], name
    assert there(composing()) <= modules().keys()


def _is_there(path: str) -> bool:
    return any(name == path or name.startswith(path) for name in modules())


@pytest.mark.parametrize("extension", extensions())
def test_the_kernel_imports_no_extension(extension: str) -> None:
    woven = {
        name
        for name, others in arrows().items()
        if not extension_of(name) and name not in composing()
        if any(extension_of(one) == extension for one in others)
    }
    assert woven == set()


@pytest.mark.parametrize("extension", sorted(extensions()))
def test_harness_and_tests_of_the_kernel_import_no_extension(extension: str) -> None:
    code = "|".join(path.removesuffix(".") for path in extensions()[extension])
    line = re.compile(
        rf"^\s*(from|import) +(raftline\.({code})|\.+{extension})\b",
        re.M,
    )
    woven = [
        path.relative_to(ROOT).as_posix()
        for folder in (*KERNEL_TESTS, "testing/raftline_testing")
        for path in (ROOT / folder).rglob("*.py")
        if line.search(path.read_text(encoding="utf-8"))
    ]
    assert woven == []


def test_tests_and_virtual_world_of_the_node_import_no_library() -> None:
    """The rest of the harness plays clients in processes, which `without` leaves out."""
    line = re.compile(rf"^\s*(from|import) +raftline(\.({'|'.join(LIBRARY)}|harness)\b|$)", re.M)
    woven = [
        path.relative_to(ROOT).as_posix()
        for folder in (*KERNEL_TESTS, "testing/raftline_testing/virtual")
        for path in (ROOT / folder).rglob("*.py")
        if line.search(path.read_text(encoding="utf-8"))
    ]
    assert woven == []


def test_each_list_of_folders_names_what_is_there() -> None:
    """The sources, the library and the extensions are named where nothing can look at the folders:
    in a build, in a stand-in, and where a folder may be missing."""
    named = re.search(r"^SOURCES = (\(.*\))", (ROOT / "setup.py").read_text("utf-8"), re.M)
    assert named is not None
    assert ast.literal_eval(named[1]) == tree_copy.SOURCES
    for stand_in in ("src/raftline", "deploy/editable/raftline"):
        text = (ROOT / stand_in / "__init__.py").read_text("utf-8")
        assert f"for folder in {tree_copy.SOURCES!r}]".replace("'", '"') in text
    left_out = {"tests", "harness", "bench", "__pycache__"}
    library = {path.stem for path in SOURCES[1].glob("*") if path.suffix != ".md"}
    assert library - left_out == there(LIBRARY)
    assert {path.parent.name for path in SOURCES[2].glob("*/__init__.py")} == there(EXTENSIONS)
