"""Make the handout of this lab for students: `python3 course/labs/write-raft/handout.py TARGET`.

It has the sheet, the skeleton, the transcripts and the grader with the world that it needs. The
rules of raftline's own core would be answers: of those modules it has only the outline, in which
each function raises an error. It doesn't include the model solution, keys, bugs and history.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LAB = "course/labs/write-raft"
WHOLE = (
    "LICENSE", "course/labs/appendix-reports.md",
    f"{LAB}/README.md", f"{LAB}/hints.md", f"{LAB}/grade.py",
    f"{LAB}/skeleton", f"{LAB}/transcripts",
)  # fmt: skip
FOLDERS = ("extensions/picture/view",)  # the picture's page is next to its modules
# The types and tools for students; they write the rest of src/raft.
GIVEN = (
    "__init__", "change", "effects", "identity", "inputs", "log", "membership",
    "messages", "node_view", "progress", "roles",
)  # fmt: skip
# The world needs these, and so does the picture of a failed run.
KEPT_FUNCTIONS = ("compaction_index", "held_by_followers", "lease_until_ms")
LEFT_OUT = {"log": "accepts"}  # §5.4.1 is a rule, too
PROGRAMS = ("raftline_course.grading.grade", "raftline_course.grading.isolation.worker")
KEPT_BACK = ("course/raftline_course/grading/selftests/bugs.py",)
FIRST_PAGE = f"""# Lab 7: write Raft

The sheet is [{LAB}/README.md]({LAB}/README.md). Begin in this folder.
You need Python 3.10 or newer, and nothing else.
"""


class Outline(ast.NodeTransformer):
    """The reduction of each function to its name and its parameters. Properties stay, so that the
    state remains visible."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        decorators = {one.id for one in node.decorator_list if isinstance(one, ast.Name)}
        if "property" not in decorators and node.name not in KEPT_FUNCTIONS:
            node.body = ast.parse('raise NotImplementedError("a rule for you to write")').body
        return node


def outline(source: str) -> str:
    """Return a module without the bodies of its functions."""
    return (
        "# The outline of a module of raftline: its rules are yours to write.\n"
        + ast.unparse(Outline().visit(ast.parse(source))).replace("\n\n\n", "\n\n")
        + "\n"
    )


def without(source: str, name: str) -> str:
    """Return a module without one of its functions."""
    found = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    lines = source.splitlines(keepends=True)
    return "".join(lines[: found.lineno - 1] + lines[found.end_lineno :])


def modules() -> list[Path]:
    """Return the files of all modules that the grader or the picture loads."""
    code = (
        "import sys, importlib\n"
        f"sys.path[:0] = {[str(ROOT / name) for name in ('src', 'testing', 'course')]!r}\n"
        f"for name in {PROGRAMS!r}: importlib.import_module(name)\n"
        "print('\\n'.join(str(m.__file__) for m in list(sys.modules.values())"
        " if getattr(m, '__file__', None)))"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"RAFTLINE_PURE": "1"},
    )
    found = {Path(line).resolve() for line in listed.stdout.splitlines()}
    inside = [path for path in found if path.is_relative_to(ROOT) and ".venv" not in path.parts]
    packages = {path.parent / "__init__.py" for path in inside}
    packages.add(ROOT / "src" / "raftline" / "__init__.py")
    return sorted({*inside, *(path for path in packages if path.is_file())})


def make(target: Path) -> None:
    """Put the handout into `target`."""
    for name in WHOLE:
        _copy(ROOT / name, target / name)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc",):
                _copy(path, target / path.relative_to(ROOT))
    for path in modules():
        name = path.relative_to(ROOT)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if name.as_posix() in KEPT_BACK:
            continue
        if name.parts[:2] == ("src", "raft") and path.stem not in GIVEN:
            (target / name).write_text(outline(path.read_text("utf-8")), encoding="utf-8")
        elif name.parts[:2] == ("src", "raft") and path.stem in LEFT_OUT:
            rest = without(path.read_text("utf-8"), LEFT_OUT[path.stem])
            (target / name).write_text(rest.rstrip() + "\n", encoding="utf-8")
        else:
            _copy(path, target / name)
    (target / "README.md").write_text(FIRST_PAGE, encoding="utf-8")


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(path, to, ignore=ignored, dirs_exist_ok=True)
    else:
        shutil.copy2(path, to)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
