"""A look at a cluster: whether it serves, its leader and members, and a backup."""

import tempfile
from pathlib import Path

import raftline

with raftline.connect() as kv, tempfile.TemporaryDirectory() as folder:
    kv.set("a", "1")
    print("serves:", kv.ping() < kv.timeout)
    status = kv.status()
    members = kv.members()
    print("the leader is a member:", status.leader in [member.name for member in members])
    print("votes:", sum(member.votes for member in members))
    backup = kv.backup(Path(folder) / "today.backup")
    print("the backup has the write:", backup.index >= kv.read("a").index)
