"""A cluster in which each node has its own network and disk.

`enter` moves this process into new network and mount namespaces. No other process sees the bridges,
links and mounts there. They disappear when this process and its nodes end in any way. Root can
always do this; other users can if the system permits user namespaces.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from raftline.common.config import FILE_NAME

from .cluster import SERVER, Cluster, NodeProcess

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x0002_0000, 0x1000_0000, 0x4000_0000
TOOLS = ("ip", "tc", "mount", "umount", "nsenter", "setpriv")
BRIDGE = "raftline"
NAMES = "/run/netns"  # where `ip netns` keeps them; our file system is mounted over /run
SUBNET = "10.77"
PORT = 10_000
DISK = "24m"
BALLAST = "ballast"
NOWHERE = "02:ff:ff:ff:ff:ff"  # an unused hardware address: messages to it are lost
THIN = ("netem delay 30ms 25ms loss 3%", "netem delay 5ms loss 20%", "tbf rate 160kbit burst 3kb "
        "latency 300ms", "tbf rate 1mbit burst 2kb latency 30ms")  # fmt: skip

Pair = tuple[str, str]


class NoNamespaces(Exception):
    """This process can't have namespaces; the message says why in a few words."""


def enter() -> None:
    """Give this process new namespaces; call this before the process has a second thread.

    A child process tries it first: a half-done attempt would leave us in an empty network.

    Raises:
        NoNamespaces: the system or the user's rights don't allow it.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise NoNamespaces(f"not installed: {' '.join(missing)}")
    assert threading.active_count() == 1
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _enter()
        except NoNamespaces as reason:
            os.write(writing_end, str(reason).encode())
        finally:
            os._exit(0)
    os.close(writing_end)
    with open(reading_end, encoding="utf-8") as answer:
        complaint = answer.read()
    os.waitpid(child, 0)
    if complaint:
        raise NoNamespaces(complaint)
    _enter()


def _enter() -> None:
    user, group, is_root = os.geteuid(), os.getegid(), os.geteuid() == 0
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNS | CLONE_NEWNET | (0 if is_root else CLONE_NEWUSER)
    if libc.unshare(flags) != 0:
        raise NoNamespaces(f"unshare: {os.strerror(ctypes.get_errno())}")
    try:
        if not is_root:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{SUBNET}.255.254/16", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
    except OSError as error:
        raise NoNamespaces(str(error)) from error


def run(*words: str, given: str = "") -> None:
    """Run a system tool. Raises OSError with its error output, or if it is absent."""
    process = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if process.returncode:
        raise OSError(f"{' '.join(words)}: {process.stderr.strip()}")


class NamespacedCluster(Cluster):
    """A cluster on a bridge; nodes come and go, and each direction of a link can be silenced."""

    def __init__(self, folder: Path, count: int, *options: str) -> None:
        self.folder = folder
        self.nodes: list[NodeProcess] = []
        self._options = options
        self._numbers = iter(range(1, 60_000))
        self._blocked: set[Pair] = set()
        self.thin = list(self._thin_links())
        for _ in range(count):
            self.add()
        lines = [f"{node.name} {node.host} {node.port}\n" for node in self.nodes]
        for node in self.nodes:
            (node.folder / FILE_NAME).write_text("".join(lines))

    def __exit__(self, *problem: object) -> None:
        nodes = list(self.nodes)
        try:
            super().__exit__(*problem)
        finally:
            self._raze(nodes)

    def add(self, *options: str) -> NodeProcess:
        """Return a node that was never started, on an empty disk, with all nodes in reach."""
        number = next(self._numbers)
        name = f"s{number}"
        node = NodeProcess(name, PORT, self.folder / name, (*self._options, *options))
        node.host = f"{SUBNET}.{number >> 8}.{number & 255}"
        node.options += ["--host", node.host, "--open-to-network", "--insecure"]
        node.where = ["--dir", str(node.folder)]
        # A stopped node wouldn't see our end: the kernel ends it by kill -9.
        node.program = ["nsenter", f"--net={NAMES}/{name}", "setpriv", "--pdeathsig", "KILL",
                        sys.executable, str(SERVER)]  # fmt: skip
        node.folder.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "raftline", str(node.folder))
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"v-{name}", "master", BRIDGE, "up")
        run(
            "ip",
            "-n",
            name,
            "-batch",
            "-",
            given=(
                f"link set lo up\nlink set eth0 address {_hardware(node)}\n"
                f"address add {node.host}/16 dev eth0\nlink set eth0 up\n"
            ),
        )
        self.nodes.append(node)
        self._know_each_other()
        return node

    def discard(self, node: NodeProcess) -> None:
        """End a node, and remove its disk and its network."""
        node.close()
        self.nodes.remove(node)
        self._blocked = {pair for pair in self._blocked if node.name not in pair}
        self._raze([node])

    def block(self, pairs: Collection[Pair]) -> None:
        """Block the traffic from the first to the second node of each pair, and let all other
        traffic pass. A lost message is lost silently, as on a broken network."""
        pairs = set(pairs)
        changed = pairs ^ self._blocked
        self._blocked = pairs
        self._point({one for one, _ in changed}, changed)

    def thin_out(self, how: str) -> None:
        """Make the traffic of every node slow and lossy in one of the ways of `thin`; "" ends
        that."""
        for node in self.nodes:
            words = ["tc", "-n", node.name, "qdisc", "replace" if how else "del", "dev", "eth0"]
            if how:
                run(*words, "root", *how.split())
            else:
                subprocess.run([*words, "root"], check=False, capture_output=True)

    def fill(self, node: NodeProcess) -> None:
        """Fill a node's disk."""
        with (node.folder / BALLAST).open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError:
                return  # full, as intended

    def free(self, node: NodeProcess) -> None:
        (node.folder / BALLAST).unlink(missing_ok=True)

    def _raze(self, nodes: Sequence[NodeProcess]) -> None:
        """Remove the disks and networks of nodes that have ended."""
        subprocess.run(
            ["umount", "-l", *[str(node.folder) for node in nodes]],
            check=False,
            capture_output=True,
        )
        lines = [f"link delete v-{node.name}\nnetns delete {node.name}\n" for node in nodes]
        subprocess.run(
            ["ip", "-force", "-batch", "-"],
            input="".join(lines),
            check=False,
            capture_output=True,
            text=True,
        )

    def _know_each_other(self) -> None:
        names = [node.name for node in self.nodes]
        self._point(set(names), {(one, other) for one in names for other in names if one != other})

    def _point(self, sources: set[str], pairs: set[Pair]) -> None:
        """Set the hardware addresses that nodes have for other nodes: the right one, or an unused
        one."""
        nodes = {node.name: node for node in self.nodes}
        for source in sources & set(nodes):
            lines = [
                f"neighbour replace {nodes[other].host} lladdr "
                f"{NOWHERE if (one, other) in self._blocked else _hardware(nodes[other])} "
                "dev eth0 nud permanent\n"
                for one, other in pairs
                if one == source and other in nodes
            ]
            run("ip", "-n", source, "-batch", "-", given="".join(lines))

    def _thin_links(self) -> Iterator[str]:
        """Yield the ways to make links slow that this kernel knows."""
        for how in THIN:
            words = ["tc", "qdisc", "replace", "dev", BRIDGE, "root", *how.split()]
            if subprocess.run(words, check=False, capture_output=True).returncode == 0:
                run("tc", "qdisc", "delete", "dev", BRIDGE, "root")
                yield how


def _hardware(node: NodeProcess) -> str:
    _, _, high, low = map(int, node.host.split("."))
    return f"02:00:00:00:{high:02x}:{low:02x}"
