"""`Host` has parts, and each part of a connection is given the one that it needs
(net/protocol/host.py). The type checker finds what a part lacks, and these tests what it has too
much."""

from __future__ import annotations

import ast

from raftline_testing.runner.parts import whole
from tests.lists.imports import modules

OWN_MEMBERS_MAX = 13
HOME = "net.protocol.host"


def parts_of_host() -> dict[str, tuple[list[str], set[str]]]:
    """Return the bases of each part, and its own members."""
    return {
        part.name: (
            [ast.unparse(base) for base in part.bases],
            {
                ast.unparse(member.target) if isinstance(member, ast.AnnAssign) else member.name
                for member in part.body
                if isinstance(member, (ast.AnnAssign, ast.FunctionDef))
            },
        )
        for part in modules()[HOME].body
        if isinstance(part, ast.ClassDef) and part.name.endswith("Host")
    }


def members_of(part: str) -> set[str]:
    bases, own = parts_of_host()[part]
    return own.union(*(members_of(base) for base in bases if base != "Protocol"))


def used_by_takers() -> dict[str, set[str]]:
    """Return the members of `Host` that the modules which name a part use of it."""
    used: dict[str, set[str]] = {part: set() for part in parts_of_host()}
    for name, tree in modules().items():
        names = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
        of_host = {
            each.attr
            for each in ast.walk(tree)
            if isinstance(each, ast.Attribute) and ast.unparse(each.value) in ("host", "self._host")
        }
        for part in used.keys() & names if name != HOME else ():
            used[part] |= of_host
    return used


@whole
def test_each_member_of_a_part_is_used_by_its_takers() -> None:
    """A taker of a larger part uses it as well: what extends a part needs the part."""
    used, parts = used_by_takers(), parts_of_host()
    assert members_of("Host") > members_of("ReplyHost") > {"why_late"}
    unused = {
        part: own - set().union(*(used[each] for each in parts if members_of(each) >= own))
        for part, (_, own) in parts.items()
    }
    assert {part: members for part, members in unused.items() if members} == {}


def test_no_part_of_the_host_is_large() -> None:
    sizes = {part: len(own) for part, (_, own) in parts_of_host().items()}
    assert {part: size for part, size in sizes.items() if size > OWN_MEMBERS_MAX} == {}
