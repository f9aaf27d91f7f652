"""The rules about imports: the packages of architecture.md, no circle, and what is pure.

A package is a folder of src/, or a module next to them. The table of the page says which packages
each may import from; a new module of a package needs no line anywhere. Imports for types alone
count.
"""

from __future__ import annotations

import ast
import collections
import functools
import graphlib
import re
import sys

import pytest

from raftline.common.extensions import EXTENSIONS, LIBRARY
from raftline_testing.runner.parts import MISSING, is_missing, there
from tests.lists.imports import PAGE, arrows, imported, is_ours, modules
from tests.lists.trees import ROOT, name_of, sources, tree_of, within

FOLDER_MODULES_MAX = 15
# The files of the first folder are run beside those of the second (labs/solutions/model.py).
BESIDE = {ROOT / "course/labs/solutions/write-raft": ROOT / "course/small"}
SCRIPTS = {"cli", "client", "server", "simulator"}  # that people start by their path
NO_PACKAGES = {"__init__", "__main__", "raftline"}  # `import raftline` and `python -m raftline`
FACES = {"raft.__init__"}  # public names of a package, some of a package below it, loaded when used
# Without these there is no command for certificates, no picture, and no completion in a shell.
# mypy_extensions and typing_extensions are imported for types alone.
OPTIONAL = {
    ("aio", "typing_extensions"), ("threads", "typing_extensions"),
    ("common.mypyc_compat", "mypy_extensions"),
    ("access.authority", "cryptography"), ("tools.completion", "argcomplete"),
    ("picture.view.page_server", "aiohttp"),
}  # fmt: skip
# Files, sockets, threads, clocks, chance, the process: not in a package that the page calls pure,
# nor in these modules.
PURE = {
    "command_effects", "command_rows", "object_kinds", "object_operations", "recipe_keys",
    "recipe_operands",
}  # fmt: skip
IMPURE = {
    "_thread", "argparse", "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "io",
    "locale", "logging", "multiprocessing", "os", "pathlib", "platform", "queue", "random",
    "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver",
    "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip


def package_of(module: str) -> str:
    """Return the package that a module belongs to: the first folder or module of its row."""
    for package, members in packages().items():
        if any(f"{module}.".startswith(f"{member}.") for member in members):
            return package
    return module.partition(".")[0]


@functools.cache
def packages() -> dict[str, list[str]]:
    """Return the folders and modules of each row."""
    return {name: found for name, found, _, _ in _rows()}


@functools.cache
def table() -> dict[str, tuple[str, list[str]]]:
    """Return each package's subject on the page, and the packages that it may import from."""
    return {name: (subject, others.split()) for name, _, subject, others in _rows()}


def _rows() -> list[tuple[str, list[str], str, str]]:
    """Return the rows of what is there: a name, its folders and modules, and the other cells."""
    row = re.compile(
        r"^\| ((?:`(?:src|library|extensions)/[\w/]+(?:/|\.py)`(?:, )?)+) \| (.*) \| (.*) \|$", re.M
    )
    rows = []
    for members, subject, others in row.findall(PAGE.read_text(encoding="utf-8")):
        found = re.findall(r"(?:src|library|extensions)/([\w/]+)", members)
        named = [_dotted(path) for path in found if not is_missing(path)]
        rows += [(_dotted(found[0]), named, subject, others)] if named else []
    return rows


def _dotted(path: str) -> str:
    return path.removesuffix("/").replace("/", ".")


def test_the_page_names_each_package_and_no_other() -> None:
    named = {member.partition(".")[0] for members in packages().values() for member in members}
    assert named == {name.partition(".")[0] for name in modules()} - NO_PACKAGES


def test_a_package_imports_only_from_those_of_its_row() -> None:
    """It imports from each of them, too: a reader relies on the table."""
    found: dict[str, set[str]] = {package: set() for package in table()}
    for name, others in arrows().items():
        if package_of(name) in found and name not in FACES:
            found[package_of(name)] |= {package_of(one) for one in others} - {package_of(name)}
    named = {package: set(others) for package, (_, others) in table().items()}
    if MISSING:  # it may import from what is missing, or from less
        assert {one for one, others in found.items() if there(others) - named[one]} == set()
    else:
        assert found == named


def test_packages_import_up_the_table() -> None:
    """So no two packages need each other, and the page can be read from the top."""
    above: list[str] = []
    for package, (_, others) in table().items():
        assert there(others) <= set(above), f"{package} imports from a row below it"
        above.append(package)


def test_the_store_imports_nothing_of_the_course() -> None:
    """One module finds the course by its name, when one of its commands is called."""
    named = [path for path in sources() if "raftline_course" in path.read_text("utf-8")]
    names = {name_of(path) for path in named if "raftline_course" in ast.unparse(tree_of(path))}
    assert names == there({"tools.course"})


def test_the_harness_imports_nothing_of_the_course() -> None:
    """The course passes in what the harness needs of it. Packing its files is not an import."""
    module = re.compile(r"\braftline_course\b(?!/)")
    sources = {path: path.read_text("utf-8") for path in (ROOT / "testing").rglob("*.py")}
    assert [path for path, source in sources.items() if module.search(source)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    order = graphlib.TopologicalSorter({name: found - {name} for name, found in arrows().items()})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def test_pure_package_has_no_io_clock_or_chance() -> None:
    """A pure package has no input, no output, no clock and no random numbers."""
    pure = {package for package, (subject, _) in table().items() if re.search(r"\bpure\b", subject)}
    assert pure >= {"raft", "wire", "state"}
    against = [
        f"{name} imports {one}"
        for name, tree in modules().items()
        if package_of(name) in pure or name.rpartition(".")[2] in PURE
        for one in imported(tree, name)
        if one.partition(".")[0] in IMPURE
    ]
    assert against == []


def test_rights_are_asked_at_the_door_and_where_entries_apply() -> None:
    """One function answers whether an identity may run a command."""
    asking = {
        name
        for name, tree in modules().items()
        if "raftline.wire.commands.authorization.denial_reason" in imported(tree, name)
    }
    assert asking == {"access.login", "state.commands.replicated_state"}


def test_protocols_of_a_connection_know_no_tls() -> None:
    """`Host` has it for the connection and the listener."""
    knowing = {
        name
        for name, others in arrows().items()
        if name.startswith("net.protocol.") and others & {"access.tls", "access.tls_socket"}
    }
    assert knowing == {"net.protocol.host"}


def test_the_page_names_each_large_folder() -> None:
    counts = collections.Counter(
        within(path).rpartition("/")[0] or "." for path in sources() if path.name != "__init__.py"
    )
    (sentence,) = re.findall(r"^No folder holds more than .*", PAGE.read_text("utf-8"), re.M)
    large = {folder for folder, count in counts.items() if count > FOLDER_MODULES_MAX}
    assert there(re.findall(r"`([\w/]+)`", sentence)) == large


def test_only_the_standard_library_and_ours_are_imported() -> None:
    known = {*sys.stdlib_module_names, "raftline"}
    foreign = {
        (name, one.partition(".")[0])
        for name, tree in modules().items()
        for one in imported(tree, name)
        if one.partition(".")[0] not in known
    }
    assert foreign == {each for each in OPTIONAL if not is_missing(each[0])}


def test_modules_import_each_other_by_relative_names() -> None:
    """So an editor resolves them in a clone, where no folder is called raftline. An extension is
    another folder than what it imports, and a script that is started by its path has no package, so
    these use absolute names."""
    absolute = {
        name
        for name, tree in modules().items()
        if any(
            _home(one.removeprefix("raftline.")) == _home(name)
            for one in imported(tree)
            if is_ours(one)
        )
    }
    assert absolute == {*SCRIPTS, "raftline.__init__"}


def _home(name: str) -> str:
    """Return the extension of a module, or the folder of sources that has it."""
    first = name.partition(".")[0]
    if first in EXTENSIONS:
        return first
    return "library" if first in LIBRARY else "src"


@pytest.mark.parametrize(
    "folder", ["tests", "testing", "bench", "course", "library/tests", "extensions"]
)
def test_no_bare_name_of_our_modules_is_imported_from_outside(folder: str) -> None:
    """Otherwise, a module of that name elsewhere could take its place."""
    ours = {
        name.partition(".")[0] for name in modules() if _home(name) != name.partition(".")[0]
    } - NO_PACKAGES
    bare = ours - sys.stdlib_module_names
    line = re.compile(rf"^\s*(from|import(.*,)?) +({'|'.join(bare)})\b", re.M)  # else not parsed
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")}
    against = [
        f"{path.relative_to(ROOT)} imports {one}"
        for path, source in sources.items()
        if line.search(source)
        for one in imported(ast.parse(source))
        if one.partition(".")[0] in bare
        and not (BESIDE.get(path.parent, path.parent) / f"{one.partition('.')[0]}.py").exists()
    ]
    assert against == []
