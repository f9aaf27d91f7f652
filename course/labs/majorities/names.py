"""The addresses of nodes and controller: from names.txt next to this file, else by host names."""

from __future__ import annotations

import os
from pathlib import Path

_PORT = os.environ.get("CONTROLLER_PORT", "")
# A node and the receiver listen here.
NODE_PORT = int(_PORT) if _PORT.isascii() and _PORT.isdigit() else 5555
SENDER_PORT = NODE_PORT + 1  # the sender's own port; it doesn't listen


def host_of(name: str) -> str:
    """Return the address that names.txt gives a name; by default the name itself."""
    table = Path(os.environ.get("CONTROLLER_NAMES") or Path(__file__).with_name("names.txt"))
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    pairs = [line.partition("#")[0].split() for line in lines]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}.get(name, name)
