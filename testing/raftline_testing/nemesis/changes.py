"""Changes of members and transfers of leadership under faults."""

from __future__ import annotations

from ..nodes.cluster import NodeProcess
from ..nodes.namespaces import NamespacedCluster
from .scene import Fault, Scene, Waits

PAUSE_S = 0.5


def transfer(scene: Scene) -> Fault:
    """the leadership handed over"""
    names = [node.name for node in scene.cluster.nodes]
    with scene.claim("transfer"):
        name = scene.chance.choice(["", *names])
        yield f"transfer {name}".strip()
        yield from scene.ask(f"transfer {name}".strip())


def replace_dead(scene: Scene) -> Fault:
    """a member lost with all its files, another in its place"""
    with scene.changing_members(), scene.struck() as (old,):
        yield f"{old.name} is lost with all its files"
        old.kill()
        if scene.chance.random() < 0.5:
            yield from _out(scene, old)
            yield from _in(scene, _newcomer(scene, old))
        else:
            yield from _in(scene, _newcomer(scene, old))
            yield from _out(scene, old)
        _cluster(scene).discard(old)


def exchange(scene: Scene) -> Fault:
    """a member added, another removed while it runs"""
    with scene.changing_members(), scene.struck() as (old,):
        yield f"add a member, then remove {old.name}"
        yield from _in(scene, _newcomer(scene, old))
        yield from _out(scene, old)
        yield scene.some(0, 4)  # it keeps asking for a while, which does no harm
        _cluster(scene).discard(old)


def demote(scene: Scene) -> Fault:
    """a member's vote taken, and given back"""
    with scene.changing_members():
        node = scene.chance.choice(scene.cluster.nodes)
        yield f"demote {node.name}"
        yield from _until(scene, node, ("voters", False), f"demote {node.name}")
        yield scene.some(0, 3)
        yield from _in(scene, node)


def _cluster(scene: Scene) -> NamespacedCluster:
    assert isinstance(scene.cluster, NamespacedCluster)
    return scene.cluster


def _newcomer(scene: Scene, old: NodeProcess) -> NodeProcess:
    """Start a node that asks another to be added."""
    there = scene.chance.choice([node for node in scene.cluster.nodes if node is not old])
    return _cluster(scene).add("--join", f"{there.host}:{there.port}").launch()


def _in(scene: Scene, node: NodeProcess) -> Waits:
    """Wait until a node is a voter. It asks by itself; ask for it if that failed."""
    yield from _until(scene, node, ("voters", True), f"promote {node.name}")


def _out(scene: Scene, node: NodeProcess) -> Waits:
    yield from _until(scene, node, ("members", False), f"remove {node.name}")


def _until(scene: Scene, node: NodeProcess, wanted: tuple[str, bool], request: str) -> Waits:
    """Ask for a change until it is complete and no other is in progress."""
    group, is_in = wanted
    while True:
        facts = yield from scene.members()
        settled = facts.get("members_committed") and not facts.get("outgoing")
        if settled and (node.name in facts[group]) == is_in:
            return
        if settled and is_in and node.name not in facts["members"]:
            yield from scene.ask(f"add {node.name} {node.host} {node.port}")
        elif settled:
            yield from scene.ask(request)
        yield PAUSE_S
