"""Test modules: their tests have short names, and no module imports one.

Code that several of them need has a module of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import pytest

from tests.lists.trees import ROOT

FOLDERS = ("tests", "library", "extensions", "course", "testing", "bench", "integrations", "deploy")
NAME_CHARACTERS_MAX = 60
# A statement that imports from one of these folders, or from beside it, with all of its lines.
IMPORT = re.compile(
    r"^[ \t]*(?:from|import) +(?:\.|(?:tests|course|testing|bench|integrations)\.)"
    r"[^\n(]*(?:\([^)]*\))?",
    re.M,
)


def long_names(source: str) -> list[str]:
    """Return the names of tests that are too long: the case belongs in the docstring."""
    names: list[str] = re.findall(r"^[ \t]*(?:async +)?def +(test_\w+)", source, re.M)
    return [name for name in names if len(name) > NAME_CHARACTERS_MAX]


def imported_tests(source: str) -> list[str]:
    """Return the statements that import a test module, or a name of one."""
    return [found for found in IMPORT.findall(source) if re.search(r"\btest_", found)]


def endless_waits(source: str) -> list[str]:
    """Return the conditions of loops of tests that do nothing but wait until one holds: where it
    never does, the test stands still until it is ended from outside, and says nothing."""
    loops = [each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.While)]
    return [ast.unparse(loop.test) for loop in loops if all(map(_waits, loop.body))]


def _waits(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    call = value.value if isinstance(value, ast.Await) else value
    method = call.func if isinstance(call, ast.Call) else None
    return isinstance(method, ast.Attribute) and method.attr in ("wait", "join", "sleep")


def found_by(names_in: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return what a look at each module finds, by the module's path."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    found = {path: names_in(path.read_text(encoding="utf-8")) for path in paths}
    return {str(path.relative_to(ROOT)): names for path, names in found.items() if names}


def test_no_module_imports_a_test_module() -> None:
    assert found_by(imported_tests) == {}


def test_module_that_tests_share_is_that_of_this_folder(pytestconfig: pytest.Config) -> None:
    """`tests` is a namespace with parts in `course` and `testing`, too, which may have a module of
    the same name: the first folder of the path has it."""
    shared = re.compile(r"^from (tests(?:\.\w+)+) import", re.M)
    modules = {name for names in found_by(shared.findall).values() for name in names}
    assert "tests.core.typed" in modules
    for name in modules:
        path = f"{name.replace('.', '/')}.py"
        found = [
            each / path for each in pytestconfig.getini("pythonpath") if (each / path).exists()
        ]
        assert not found or found[0] == ROOT / path, name


def test_no_name_of_a_test_exceeds_60_characters() -> None:
    assert found_by(long_names) == {}


def test_no_test_waits_without_an_end() -> None:
    """`eventually` and `aio_eventually` wait for what they are told to, and then say that it has
    not come. The scheduler of interleavings counts its steps."""
    found = found_by(endless_waits)
    assert {path for path in found if "/test_" in path and "tests/interleave/" not in path} == {
        "testing/tests/test_tasks.py"  # which tests that scheduler
    }


def test_an_endless_wait_is_found() -> None:
    loops = "while not a:\n    event.wait(0.1)\nwhile b:\n    await asyncio.sleep(0)\n"
    assert endless_waits(loops + "while c:\n    step()\n") == ["not a", "b"]


def test_long_name_of_a_test_is_found() -> None:
    """This holds in a class and for a coroutine, too; a name of exactly that length is allowed."""
    fits = "test_".ljust(NAME_CHARACTERS_MAX, "x")
    source = f"def {fits}():\n    pass\n\n\nclass TestIt:\n    async def {fits}x(self): ...\n"
    assert long_names(source) == [f"{fits}x"]


def test_an_import_of_a_test_module_is_found() -> None:
    imports = "from tests.rim import (\n    scenes,\n    test_queue,\n)"
    assert imported_tests(f"from .scenes import A\n{imports}\nimport bench.run\n") == [imports]
    assert imported_tests("def run():\n    from .test_queue import Sink\n")
