"""raftline: a key-value store replicated by Raft, whose every byte a person can read."""

from raftline.exports import exported as __getattr__
from raftline.exports import names as __dir__

__all__ = ["__dir__", "__getattr__"]
