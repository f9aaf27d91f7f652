"""The constructors of dataclasses as source, for a build: mypyc doesn't compile the ones that the
decorator creates at run time."""

from __future__ import annotations

import ast

EMPTY = {"list": "[]", "dict": "{}"}


def with_constructors(source: str) -> str:
    """Return the module with an `__init__` in each mutable dataclass whose bases are dataclasses of
    this module."""
    lines = source.split("\n")
    fields_by_class: dict[str, dict[str, ast.AnnAssign]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or not _is_open(node):
            continue
        bases = [ast.unparse(base) for base in node.bases]
        if not all(base in fields_by_class for base in bases):
            continue
        fields_by_class[node.name] = fields = {
            name: field for base in bases for name, field in fields_by_class[base].items()
        }
        fields |= {
            ast.unparse(one.target): one for one in node.body if isinstance(one, ast.AnnAssign)
        }
        methods = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
        after = ["        self.__post_init__()"] * ("__post_init__" in methods)
        end = node.end_lineno
        assert end is not None  # of a tree that was parsed
        lines[end - 1] += "\n".join(["", *_constructor(fields), *after])
    return "\n".join(lines)


def _is_open(node: ast.ClassDef) -> bool:
    decorators = [ast.unparse(one) for one in node.decorator_list]
    return any(one.startswith("dataclass") and "frozen" not in one for one in decorators)


def _constructor(fields: dict[str, ast.AnnAssign]) -> list[str]:
    arguments, body = ["self"], []
    for name, field in fields.items():
        kind, default = ast.unparse(field.annotation), ""
        keywords = {"default": ast.unparse(field.value)} if field.value else {}
        if isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "field":
            keywords = {one.arg or "": ast.unparse(one.value) for one in field.value.keywords}
        if keywords.get("init") == "False":
            continue
        value = name
        if factory := keywords.get("default_factory"):
            kind, default = f"{kind} | None", " = None"
            value = f"{EMPTY.get(factory, f'({factory})()')} if {name} is None else {name}"
        elif "default" in keywords:
            default = f" = {keywords['default']}"
        arguments.append(f"{name}: {kind}{default}")
        body.append(f"        self.{name} = {value}")
    return [f"    def __init__({', '.join(arguments)}) -> None:", *(body or ["        pass"])]
