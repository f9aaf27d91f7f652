"""The program of a node that obeys a controller: the course's, in this clone or next to us."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve()
_FOLDERS = (_HERE.parents[3] / "course", _HERE.parents[2])
_FOUND = (str(path) for folder in _FOLDERS for path in folder.glob("*/node_program.py"))
CONTROLLED = next(_FOUND, "")  # "": it is not here
