"""Faults of processes and of disks: each one hits one or more nodes, and lets them recover."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..nodes.cluster import SERVER, NodeProcess
from ..nodes.namespaces import NamespacedCluster
from ..nodes.processes import DEADLINE_S
from .scene import EXIT_DISK, EXIT_FILES, POLL_S, Fault, Finding, Scene

NO_ROOM = "No space left on device"
NO_VOTE = "rejoins without a vote"
# The mark of an earlier loss is still on the disk: it had no room to take the mark back.
OF_EARLIER = "has not caught up yet after a loss"


def names(nodes: list[NodeProcess]) -> str:
    return " ".join(sorted(node.name for node in nodes))


def kill(scene: Scene) -> Fault:
    """kill -9, of one node or several, and start again"""
    with scene.struck(scene.chance.choice((1, 1, 1, 2, 3))) as nodes:
        yield f"kill -9 {names(nodes)}"
        for node in nodes:
            node.kill()
        yield scene.some(0, 3)
        yield from scene.start(*nodes)


def kill_all(scene: Scene) -> Fault:
    """kill -9 of all nodes at once"""
    with scene.struck(len(scene.cluster.nodes)) as nodes:
        yield f"kill -9 {names(nodes)}"
        for node in nodes:
            node.kill()
        yield scene.some(0, 1)
        yield from scene.start(*nodes)


def killed(scene: Scene, node: NodeProcess) -> Fault:
    """kill -9 from outside: no node does that to itself"""
    with scene.claim(node.name):
        yield f"another process killed {node.name}"
        yield from scene.start(node)


def pause(scene: Scene) -> Fault:
    """SIGSTOP, of one node or several, and SIGCONT after up to 8 s"""
    least, most = scene.chance.choice(((0.05, 0.4), (0.5, 2.5), (3, 8)))
    with scene.struck(scene.chance.choice((1, 1, 1, 2, 3))) as nodes:
        yield f"pause {names(nodes)}"
        for node in nodes:
            node.pause()
        yield scene.some(least, most)
        for node in nodes:
            node.resume()


def pause_for_long(scene: Scene) -> Fault:
    """SIGSTOP of one node for long, and SIGCONT after 8 to 30 s"""
    with scene.struck() as (node,):
        yield f"pause {node.name} for long"
        node.pause()
        yield scene.some(8, 30)
        node.resume()


def stutter(scene: Scene) -> Fault:
    """SIGSTOP and SIGCONT in turn, about as long as an election timeout"""
    with scene.struck() as (node,):
        yield f"stutter {node.name}"
        for _ in range(scene.chance.randint(3, 8)):
            node.pause()
            yield scene.some(0.05, 1.2)
            node.resume()
            yield scene.some(0.02, 0.5)


def stop(scene: Scene) -> Fault:
    """SIGTERM, a planned stop, and start again"""
    with scene.struck() as (node,):
        yield f"SIGTERM {node.name}"
        node.send_signal()
        status = yield from scene.ends(node)
        is_unborn = status == -signal.SIGTERM and not node.said  # its interpreter was just starting
        if status != 0 and not is_unborn:
            raise Finding(f"{node.name} was told to stop, exit {status}\n{node.transcript()}")
        yield scene.some(0, 2)
        yield from scene.start(node)


def fill_disk(scene: Scene) -> Fault:
    """a full disk: the node continues or stops with status 4, and works again with room"""
    cluster = scene.cluster
    assert isinstance(cluster, NamespacedCluster)
    with scene.struck() as (node,):
        yield f"fill the disk of {node.name}"
        cluster.fill(node)
        try:
            for _ in range(scene.chance.randint(10, 80)):
                if node.is_running:
                    yield POLL_S
            stopped = not node.is_running
            if stopped:
                _expect_no_room(node)
                if scene.chance.random() < 0.3:
                    node.launch()
                    if not (yield from scene.serves_or_refuses(node)):
                        _expect_no_room(node)
        finally:
            cluster.free(node)
        for _ in range(10):  # its last write may have failed just before there was room
            yield POLL_S
        if any(f"{node.name} stops: " in line for line in node.said):
            yield from scene.ends(node)
        if not node.is_running:
            yield from scene.start(node)
            lost = [line for line in node.said if NO_VOTE in line and OF_EARLIER not in line]
            if node.name not in scene.damaged and lost:
                raise Finding(f"{node.name} lost what it had\n{node.transcript()}")


def _expect_no_room(node: NodeProcess) -> None:
    """Raise Finding unless a node has ended because its disk is full, with a line that says so."""
    status = node.ended()
    if status != EXIT_DISK or not any(NO_ROOM in line for line in node.said):
        raise Finding(f"{node.name} on a full disk: exit status {status}\n{node.transcript()}")


def damage(scene: Scene) -> Fault:
    """a killed node's files damaged: a flipped byte, a cut tail, a file deleted"""
    harm = scene.chance.choice(HARMS)
    with contextlib.ExitStack() as until_it_votes:
        with scene.struck() as (node,):
            until_it_votes.enter_context(scene.losing_files(node))
            yield f"{(harm.__doc__ or '').rstrip('.')} of {node.name}"
            node.kill()
            harm(scene, node)
            yield scene.some(0, 2)
            node.launch()
            if not (yield from scene.serves_or_refuses(node)):
                _follow_the_advice(scene, node)
                yield from scene.start(node)
        while node.status().get("recovering", True):  # meanwhile it may be struck again
            yield POLL_S


def _follow_the_advice(scene: Scene, node: NodeProcess) -> None:
    """Follow the advice that a node prints when it refuses its files."""
    status, last_line = node.ended(), node.said[-1]
    if status != EXIT_FILES or not last_line.endswith(f"raftline fsck --repair {node.name}"):
        raise Finding(f"{node.name} with a damaged file: exit {status}\n{node.transcript()}")
    scene.say(f"{node.name} refuses: {last_line}")
    command = [sys.executable, str(SERVER.parent / "cli.py"), "fsck", "--repair", str(node.folder)]
    repair = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    if repair.returncode != 0:
        raise Finding(
            f"{' '.join(command)} ends with {repair.returncode}\n{repair.stdout}{last_line}"
        )


def _flip(scene: Scene, path: Path) -> None:
    size = path.stat().st_size if path.exists() else 0
    if size:
        with path.open("r+b") as file:
            file.seek(scene.chance.randrange(size))
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1 << scene.chance.randrange(8)]))


def _snapshot(node: NodeProcess) -> Path:
    return node.folder / f"{node.name}.state_machine"


def flip_log(scene: Scene, node: NodeProcess) -> None:
    """flip a bit in the log."""
    _flip(scene, node.log)


def flip_snapshot(scene: Scene, node: NodeProcess) -> None:
    """flip a bit in the snapshot."""
    _flip(scene, _snapshot(node))


def cut_log(scene: Scene, node: NodeProcess) -> None:
    """cut the log."""
    size = node.log.stat().st_size
    least = max(0, size - scene.chance.choice((1, 100, 10_000, size)))
    with node.log.open("r+b") as file:
        file.truncate(scene.chance.randrange(least, size))


def delete_log(scene: Scene, node: NodeProcess) -> None:
    """delete the log."""
    node.log.unlink()


def delete_snapshot(scene: Scene, node: NodeProcess) -> None:
    """delete the snapshot."""
    _snapshot(node).unlink(missing_ok=True)


def delete_both(scene: Scene, node: NodeProcess) -> None:
    """delete log and snapshot."""
    node.log.unlink()
    _snapshot(node).unlink(missing_ok=True)


def delete_storage(scene: Scene, node: NodeProcess) -> None:
    """delete term and vote."""
    (node.folder / f"{node.name}.storage").unlink()


def delete_all(scene: Scene, node: NodeProcess) -> None:
    """delete every file of the node."""
    delete_both(scene, node)
    delete_storage(scene, node)


HARMS: tuple[Callable[[Scene, NodeProcess], None], ...] = (
    flip_log, cut_log, cut_log, delete_log, flip_snapshot, delete_snapshot, delete_both,
    delete_storage, delete_all,
)  # fmt: skip
