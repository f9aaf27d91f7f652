"""The functions of a request that still take the slow way in the compiled wheel.

Three nodes of this clone count the calls of their functions under a load. mypyc, which compiles the
wheel, reports for each line whether it has to call the interpreter (`mypyc -a`). This page combines
both: the functions that the leader calls most often for a request, beginning with functions that
aren't compiled at all. It compiles nothing: `make -C bench slow-ways`, half a minute.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import results
from generator import BUILD, BenchError, Load
from raftline_nodes import Raftline
from script import end_with

if TYPE_CHECKING:
    from mypy.build import BuildResult
    from mypyc.annotate import AnnotatedSource

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [ROOT / name for name in ("src", "library", "extensions")]  # of raftline
COUNTED = Path(__file__).with_name("counted_node.py")
REQUESTS = 20_000
KEYS = 100  # existing keys, few compared with the requests
LEAST_CALLS = 0.02  # for each request: a function below this is not shown
_TAG = re.compile("<[^>]*>")


@dataclass(frozen=True)
class Function:
    """A function, and its calls for each request."""

    module: str  # as in setup.py: net/connections/connection
    line: int
    name: str
    calls: float


class CountedNodes(Raftline):
    """Nodes of this clone that count their calls."""

    def command(self, number: int) -> list[str]:
        counts = str(self.counts(number))
        return [sys.executable, str(COUNTED), counts, *self.arguments(number)]

    def counts(self, number: int) -> Path:
        return self.folder / f"counts-{number}"


def called(load: Load, folder: Path, base_port: int) -> list[Function]:
    """Return the functions that the leader calls under a load, the most frequent first."""
    with CountedNodes(folder, base_port) as nodes:
        nodes.fill(Load("load", connections=8, in_flight=16, keys=load.keys))
        nodes.begin(load).result()
        leader = nodes.wait_for_leader()
        nodes.end(leader)
        counted = nodes.counts(leader).read_text()
    return in_order(counted, load.requests)


def in_order(counted: str, requests: int) -> list[Function]:
    """Return the functions of a node's counts, the most frequent first."""
    functions = []
    for row in counted.splitlines():
        calls, path, line, name = row.split(" ", 3)
        if int(calls) >= LEAST_CALLS * requests:
            module = module_at(Path(path))
            functions.append(Function(module, int(line), name, int(calls) / requests))
    return sorted(functions, key=lambda function: -function.calls)


def module_at(path: Path) -> str:
    """Return the name of the module in a file."""
    folder = next(one for one in SOURCES if path.is_relative_to(one))
    return path.relative_to(folder).with_suffix("").as_posix()


def file_of(module: str) -> Path:
    """Return the file of a module."""
    return next(path for one in SOURCES if (path := one / f"{module}.py").exists())


def compiled_modules(setup: Path) -> list[str]:
    """Return the modules that `setup.py` has compiled, without running it."""
    lists: dict[str, Iterable[str]] = {}
    for statement in ast.parse(setup.read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in ("COMPILED", "NOT_COMPILED"):
                lists[name] = ast.literal_eval(statement.value)
    paths = [
        path for each in lists["COMPILED"] for one in SOURCES for path in one.glob(f"{each}.py")
    ]
    modules = set(map(module_at, paths))
    return sorted(each for each in modules - set(lists["NOT_COMPILED"]) if "__init__" not in each)


def slow_lines(modules: Iterable[str], folder: Path) -> dict[str, dict[int, str]]:
    """Return mypyc's remarks on the lines of each module.

    Raises:
        BenchError: mypyc is not installed, or rejects a module.
    """
    package = folder / "raftline"  # mypyc goes by the name of the folder
    package.mkdir(parents=True, exist_ok=True)
    for path in (path for one in SOURCES for path in one.iterdir()):
        if path.name not in ("raftline", "tests") and not (package / path.name).is_symlink():
            (package / path.name).symlink_to(path)
    os.environ["MYPYPATH"] = str(folder)
    files = [str(package / f"{module}.py") for module in modules]
    return {
        Path(note.path).relative_to(package).with_suffix("").as_posix(): {
            line: "; ".join(_TAG.sub("", each.message) for each in notes)
            for line, notes in note.annotations.items()
        }
        for note in _annotated(files)
    }


def _annotated(files: list[str]) -> list[AnnotatedSource]:
    """Run mypyc up to the compilation of C; return its notes."""
    try:
        from mypy.errors import CompileError
        from mypy.fscache import FileSystemCache
        from mypyc.annotate import generate_annotations
        from mypyc.build import construct_groups, get_mypy_config
        from mypyc.codegen import emitmodule
        from mypyc.errors import Errors
        from mypyc.options import CompilerOptions
    except ImportError as error:
        raise BenchError(f"mypyc is not as expected: {error}") from None
    options = CompilerOptions()
    arguments = ["--strict", "--namespace-packages", "--explicit-package-bases", *files]
    cache = FileSystemCache()
    sources, all_sources, settings = get_mypy_config(arguments, None, options, cache)
    groups = construct_groups(sources, False, True, "raftline")
    try:
        result: BuildResult = emitmodule.parse_and_typecheck(
            all_sources, settings, options, groups, cache
        )
    except CompileError as error:
        raise BenchError("\n".join(error.messages)) from None
    errors = Errors(settings)
    modules, _, mapper = emitmodule.compile_modules_to_c(
        result, compiler_options=options, errors=errors, groups=groups
    )
    if result.errors or errors.num_errors:
        raise BenchError("\n".join([*result.errors, *errors.new_messages()]))
    notes = []
    for name, module in modules.items():
        tree = result.graph[name].tree
        assert tree is not None
        path = result.graph[name].path or ""
        notes.append(generate_annotations(path, tree, module, result.types, mapper))
    return notes


def page(functions: Iterable[Function], slow: Mapping[str, Mapping[int, str]]) -> str:
    """Return the page: the functions that are not compiled, then the slow lines of the others."""
    pure, ways = [], []
    for each in functions:
        head = f"{each.calls:6.2f}  {each.module}.py:{each.line} {each.name}"
        if each.module not in slow:
            pure.append(head)
            continue
        text = file_of(each.module).read_text()
        notes = {number: slow[each.module].get(number) for number in own_lines(text, each.line)}
        parts = [
            f"        {number}: {text.splitlines()[number - 1].strip()}\n            {note}"
            for number, note in notes.items()
            if note
        ]
        if parts:
            ways += [head, *parts]
    return "\n".join(
        [
            "Calls for a request at the leader, of functions that are not compiled:",
            *pure,
            "",
            "Calls for a request, and the lines that ask the interpreter:",
            *ways,
        ]
    )


def own_lines(text: str, line: int) -> range:
    """Return the lines of the function that begins at this line, with its decorators."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            begin = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if begin == line:
                return range(node.lineno, (node.end_lineno or line) + 1)
    return range(line, line + 1)  # a comprehension's, or a lambda's


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("set", "get"), default="set")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--dir", type=Path, default=results.FOLDER)
    parser.add_argument("--base-port", type=int, default=29_700)
    arguments = parser.parse_args(argv)
    load = Load(
        arguments.what,
        arguments.connections,
        arguments.in_flight,
        requests=arguments.requests,
        keys=KEYS,
    )
    try:
        functions = called(load, arguments.dir, arguments.base_port)
        modules = compiled_modules(ROOT / "setup.py")
        text = page(functions, slow_lines(modules, BUILD / "slow-ways"))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    path = arguments.dir / "slow-ways.txt"
    path.write_text(text + "\n")
    print(f"\nalso in {path}")
    return 0


if __name__ == "__main__":
    end_with(main)
