"""Real nodes whose power is cut: their disks keep what was synced, and nothing else.

A node runs with a copy of its disk. The copy gets the bytes of a file when that file is synced, and
the names in the folder when the folder is synced, as POSIX allows the disk to do. After the end of
the process the copy takes the folder's place.
"""

from __future__ import annotations

from pathlib import Path

from raftline.common.config import FILE_NAME

from .altered import alter
from .cluster import NodeProcess

_WITH_A_COPY = """
import os, shutil, stat
folder, copy = {folder!r}, {copy!r}
really = os.fsync, os.fdatasync
def kept(sync):
    def synced(descriptor):
        sync(descriptor)
        facts = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{{descriptor}}")
        if stat.S_ISREG(facts.st_mode) and os.path.dirname(path) == folder:
            beside = os.path.join(copy, f"beside-{{facts.st_ino}}-{{descriptor}}")
            shutil.copyfile(f"/proc/self/fd/{{descriptor}}", beside)
            os.replace(beside, os.path.join(copy, f"bytes-{{facts.st_ino}}"))
        elif path == folder:
            found = [each for each in os.scandir(folder) if each.is_file()]
            lines = [f"{{each.inode()}} {{each.name}}\\n" for each in found]
            with open(os.path.join(copy, "names.new"), "w") as file:
                file.writelines(lines)
            os.replace(os.path.join(copy, "names.new"), os.path.join(copy, "names"))
    return synced
os.fsync, os.fdatasync = map(kept, really)
"""


def watch_power(node: NodeProcess) -> None:
    """Make this node, which never ran, keep a copy of what its disk holds for certain."""
    _copy_of(node).mkdir()
    alter(node, _WITH_A_COPY, folder=str(node.folder.resolve()), copy=str(_copy_of(node).resolve()))


def cut_power(*nodes: NodeProcess) -> None:
    """End the processes at once, and take from each disk what was not synced. Files that a person
    put there before the first start stays."""
    for node in nodes:
        node.kill()
    for node in nodes:
        _lose_what_is_not_synced(node)


def _copy_of(node: NodeProcess) -> Path:
    return node.folder.with_name(f"{node.name}-synced")


def _lose_what_is_not_synced(node: NodeProcess) -> None:
    copy, kept = _copy_of(node), {}
    for line in (copy / "names").read_text().splitlines():
        number, name = line.split(" ", 1)
        synced = copy / f"bytes-{number}"
        kept[name] = synced.read_bytes() if synced.exists() else b""
    for path in (*node.folder.glob(f"{node.name}.*"), *node.folder.glob(f".{node.name}.*")):
        path.unlink()
    for path in copy.glob("bytes-*"):
        path.unlink()
    for name, content in kept.items():
        path = node.folder / name
        if name != FILE_NAME:
            path.write_bytes(content)
        (copy / f"bytes-{path.stat().st_ino}").write_bytes(path.read_bytes())
