"""The first start of a node: the trace that it leaves, and an operator's word that it is one.

`--new` says that nothing ever ran under a node's name. The files may deny it. Those of a node that
was born here and has promised nothing since do not: they remember everything from its birth on.
"""

from __future__ import annotations

from raftline.storage.errors import FilesRefused
from raftline.storage.hardstate import LogState, Promise


def trace(node: str) -> str:
    """Return the name of the file that says that a node was born here; it outlives `rm s1.*`."""
    return f".{node}.born"


def spell_trace(node: str) -> bytes:
    """Return what the trace says, for a person who finds it."""
    return (
        f"{node} was born here. Where {node}.log and {node}.storage are gone, this file says that "
        "they were lost, so that the node catches up before it votes. To begin anew, remove it "
        "as well.\n"
    ).encode()


def check_that_it_never_ran(
    node: str, promise: Promise | None, *, has_log: bool, left_traces: bool
) -> None:
    """Hold the operator's word against NAME.storage (None: there is none) and what lies beside it.

    Raises:
        FilesRefused: they deny it; nothing was changed.
    """
    if promise is None:
        why = "it left traces here" if left_traces else ""
    elif promise.state is LogState.WHOLE:
        why = "it has begun here before"
    elif promise.state is LogState.RECOVERING or (promise.term > 0 and not has_log):
        why = "it has lost files"
    else:
        why = ""
    if why:
        raise denied(node, why)


def denied(node: str, why: str) -> FilesRefused:
    """Return the refusal of an operator's word."""
    return FilesRefused(
        f"--new says that {node} never ran before, but {why}. Start it without --new"
    )
