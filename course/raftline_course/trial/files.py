"""A dictionary from a JSON or TOML file, or a line with the reason why there is none."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

BYTES_MAX = 1 << 20
_TOO_LONG = "holds a number of thousands of digits, or lists within lists a thousand deep"


class MetricsError(Exception):
    """The metrics can't be used; `lines` has the reasons, one problem a line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def read(path: Path) -> object:
    """Return the content of a file: TOML if its name ends in `.toml`, else JSON or a dictionary of
    Python. Raises MetricsError."""
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise MetricsError([f"{path}: can't be read: {error.strerror}"]) from error
    if len(raw) > BYTES_MAX:
        raise MetricsError([f"{path}: is larger than {BYTES_MAX:,} bytes; is it the right file?"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetricsError([f"{path}: is not UTF-8 text (byte {error.start + 1})"]) from error
    return _toml(path, text) if path.suffix.lower() == ".toml" else _json(path, text)


def _json(path: Path, text: str) -> object:
    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_doubles(path, [key for key, _ in pairs])
        return dict(pairs)

    if not text.strip():
        raise MetricsError([f"{path}: is empty; {{}} would mean metrics_1"])
    try:
        return json.loads(text, object_pairs_hook=without_doubles)
    except json.JSONDecodeError as error:
        literal = _literal(path, text)
        if literal is not None:
            return literal
        where = f"{path}:{error.lineno}"
        raise MetricsError([f"{where}: is not JSON: {error.msg} (column {error.colno})"]) from error
    except (ValueError, RecursionError) as error:
        raise MetricsError([f"{path}: {_TOO_LONG}"]) from error


def _refuse_doubles(path: Path, keys: list[str]) -> None:
    doubles = sorted({key for key in keys if keys.count(key) > 1})
    if doubles:
        raise MetricsError([f"{path}: {key!r} is there twice" for key in doubles])


def _literal(path: Path, text: str) -> object:
    """Return the dictionary of Python in `{…}` or `NAME={…}`, as the report of a run has it; None
    if the text is neither. Raises MetricsError."""
    try:
        [statement] = ast.parse(text).body
        value = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
        if not isinstance(value, ast.Dict):
            return None
        found: object = json.loads(json.dumps(ast.literal_eval(value)))
        keys = [str(ast.literal_eval(key)) for key in value.keys if key is not None]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    _refuse_doubles(path, keys)
    return found


def _toml(path: Path, text: str) -> object:
    # Imported by name: Python 3.10 has no tomllib, and uses JSON, or tomli if it is installed.
    for module in ("tomllib", "tomli"):
        try:
            reader = importlib.import_module(module)
        except ImportError:
            continue
        try:
            found: object = reader.loads(text)
            return found
        except (ValueError, RecursionError) as error:
            limit = type(error) in (ValueError, RecursionError)  # Python's, not TOML's
            said = _TOO_LONG if limit else f"is not TOML: {error}"
            raise MetricsError([f"{path}: {said}"]) from error
    raise MetricsError(
        [
            f"{path}: this Python can't read TOML. Take Python 3.11 or newer, pip install tomli, or"
            " write the same as JSON"
        ]
    )
