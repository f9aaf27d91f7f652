"""An entry in the log of a real node edited by hand."""

from __future__ import annotations

from ..files.edited_log import with_checksums
from .cluster import NodeProcess


def edit_entry(node: NodeProcess, old: bytes, new: bytes) -> None:
    """Stop a node, edit an entry in its log, make the checksum of its batch good, and start the
    node again."""
    node.terminate()
    node.ended()
    data = node.log.read_bytes()
    assert old in data
    node.log.write_bytes(with_checksums(data.replace(old, new).splitlines(keepends=True)))
    node.start()
