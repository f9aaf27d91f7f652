"""Ways in which a command begins a file of members (tests/rim/node/test_config.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from raftline.tools.local_cluster import choosing

BEGINS: Final[list[Callable[[Path], object]]] = [
    lambda path: choosing.write_down(choosing.choose(str(path.parent), 1, 10000)),
]
