"""The end of a failed run, as its picture shows it: the step, and the broken rule in words."""

from __future__ import annotations

from raftline.raft.log import SafetyError

from ..broken_rules import sentence
from ..invariants import InvariantError
from .collecting import Collector


def words_of(error: BaseException, acting: str) -> str:
    """Return the failure in words. `acting` is the node that acted last."""
    words = sentence(error)
    if not acting:
        return f"{type(error).__name__}: {words}"
    if isinstance(error, (InvariantError, AssertionError, SafetyError)):
        return words
    return f"{acting} ends with {type(error).__name__}: {words}"


def draw_failure(collector: Collector | None, error: BaseException, acting: str) -> None:
    """Make a page open at the failed step. `acting` is the node that acted last: a step that it
    took broke an invariant, or any other error occurred before the step was over."""
    if collector is None:
        return
    words = words_of(error, acting)
    if not acting or isinstance(error, (InvariantError, AssertionError)):
        collector.fail(words)
    else:
        collector.fail(words, acting)
