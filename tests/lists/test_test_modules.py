"""No module imports a test module: what several of them need has a module of its own."""

from __future__ import annotations

import re

from tests.lists.trees import ROOT

FOLDERS = ("tests", "course", "testing", "bench", "integrations", "deploy")
# A statement that imports from one of these folders, or from beside it, with all of its lines.
IMPORT = re.compile(
    r"^[ \t]*(?:from|import) +(?:\.|(?:tests|course|testing|bench|integrations)\.)"
    r"[^\n(]*(?:\([^)]*\))?",
    re.M,
)


def imported_tests(source: str) -> list[str]:
    """Return the statements that import a test module, or a name of one."""
    return [found for found in IMPORT.findall(source) if re.search(r"\btest_", found)]


def test_no_module_imports_a_test_module() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    found = {path: imported_tests(path.read_text(encoding="utf-8")) for path in paths}
    assert {path.relative_to(ROOT): names for path, names in found.items() if names} == {}


def test_an_import_of_a_test_module_is_found() -> None:
    imports = "from tests.rim import (\n    scenes,\n    test_queue,\n)"
    assert imported_tests(f"from .scenes import A\n{imports}\nimport bench.run\n") == [imports]
    assert imported_tests("def run():\n    from .test_queue import Sink\n")
