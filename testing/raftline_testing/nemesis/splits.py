"""Faults of networks: links that lose everything in one or both directions, flap, or are thin."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Protocol

from ..nodes.namespaces import NamespacedCluster, Pair
from .scene import Busy, Fault, Scene


class Links(Protocol):
    """A cluster whose links can be silenced."""

    def block(self, pairs: set[Pair]) -> None: ...


def split(scene: Scene) -> Fault:
    """a partition: halves, a lone leader, one-way, a bridge, a ring, all nodes alone"""
    shape = scene.chance.choice(SHAPES)
    links = links_of(scene)
    with scene.claim("links"):
        pairs = shape(scene, [node.name for node in scene.cluster.nodes])
        if not pairs:
            raise Busy  # a ring or bridge of three cuts nothing
        lost = " ".join(f"{one}>{other}" for one, other in sorted(pairs))
        yield f"{shape.__name__.replace('_', ' ')}: {lost}"
        links.block(pairs)
        yield scene.some(0.5, 8)
        links.block(set())


def flap(scene: Scene) -> Fault:
    """links that come and go several times a second"""
    links = links_of(scene)
    with scene.claim("links"):
        pairs = _some_pairs(scene, [node.name for node in scene.cluster.nodes])
        yield "flapping links: " + " ".join(f"{one}>{other}" for one, other in sorted(pairs))
        for _ in range(scene.chance.randint(5, 15)):
            links.block(pairs)
            yield scene.some(0.03, 0.4)
            links.block(set())
            yield scene.some(0.03, 0.4)


def thin_out(scene: Scene) -> Fault:
    """links that are slow, late and lossy"""
    cluster = scene.cluster
    assert isinstance(cluster, NamespacedCluster)
    with scene.claim("wires"):
        how = scene.chance.choice(cluster.thin)
        yield f"links: {how}"
        cluster.thin_out(how)
        yield scene.some(2, 8)
        cluster.thin_out("")


def links_of(scene: Scene) -> Links:
    cluster: object = scene.cluster
    assert hasattr(cluster, "block")
    return cluster


def halves(scene: Scene, names: list[str]) -> set[Pair]:
    inside = set(scene.chance.sample(names, scene.chance.randint(1, len(names) // 2)))
    return {pair for pair in permutations(names, 2) if (pair[0] in inside) != (pair[1] in inside)}


def lone_leader(scene: Scene, names: list[str]) -> set[Pair]:
    return {pair for pair in permutations(names, 2) if _leader(scene, names) in pair}


def deaf_leader(scene: Scene, names: list[str]) -> set[Pair]:
    return {pair for pair in permutations(names, 2) if pair[1] == _leader(scene, names)}


def mute_leader(scene: Scene, names: list[str]) -> set[Pair]:
    return {pair for pair in permutations(names, 2) if pair[0] == _leader(scene, names)}


def half_deaf_leader(scene: Scene, names: list[str]) -> set[Pair]:
    heard = set(scene.chance.sample(names, len(names) // 2))
    return {pair for pair in deaf_leader(scene, names) if pair[0] not in heard}


def bridge(scene: Scene, names: list[str]) -> set[Pair]:
    """Return the cuts that leave two halves connected through a single node."""
    _, *others = scene.chance.sample(names, len(names))
    inside = set(others[: len(others) // 2])
    return {pair for pair in permutations(others, 2) if (pair[0] in inside) != (pair[1] in inside)}


def ring(scene: Scene, names: list[str]) -> set[Pair]:
    """Return the cuts that let each node reach only its two neighbours."""
    order = scene.chance.sample(names, len(names))
    near = {(one, order[place - 1]) for place, one in enumerate(order)}
    near |= {(other, one) for one, other in near}
    return set(permutations(names, 2)) - near


def one_way_links(scene: Scene, names: list[str]) -> set[Pair]:
    return _some_pairs(scene, names)


def everybody_alone(scene: Scene, names: list[str]) -> set[Pair]:
    return set(permutations(names, 2))


SHAPES: tuple[Callable[[Scene, list[str]], set[Pair]], ...] = (
    halves, halves, lone_leader, lone_leader, deaf_leader, mute_leader, half_deaf_leader, bridge,
    ring, one_way_links, everybody_alone,
)  # fmt: skip


def _leader(scene: Scene, names: list[str]) -> str:
    return scene.leader if scene.leader in names else names[0]


def _some_pairs(scene: Scene, names: list[str]) -> set[Pair]:
    pairs = list(permutations(names, 2))
    return set(scene.chance.sample(pairs, scene.chance.randint(1, len(pairs) // 2)))
