"""Where nodes and controller are: by names.txt beside this file, else by their host names."""

from __future__ import annotations

import os
from pathlib import Path

NODE_PORT = int(os.environ.get("CONTROLLER_PORT", "5555"))  # a node and the receiver listen here
SENDER_PORT = NODE_PORT + 1  # the sender speaks from here, and listens nowhere


def host_of(name: str) -> str:
    """Return the address that names.txt gives a name; the name itself where it gives none."""
    table = Path(os.environ.get("CONTROLLER_NAMES") or Path(__file__).with_name("names.txt"))
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    found = dict(line.split() for line in lines if line.strip() and not line.startswith("#"))
    return found.get(name, name)
