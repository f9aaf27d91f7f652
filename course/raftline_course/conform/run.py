"""The run of one check: its verdict, and the transcript that shows a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from raftline_course.conform.checks.checks import Check
from raftline_course.conform.cluster import TestedCluster
from raftline_course.conform.scene import Scene
from raftline_course.conform.tested.launch import EXIT_CANNOT
from raftline_course.conform.tested.machine import busyness
from raftline_course.conform.tested.tested_node import KitSettings, NodeNotStarted
from raftline_course.conform.verdicts import Failed, NotJudged

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
TRIES = 4
NO_WATCH = "this machine lets no process watch the syncs of another (seccomp)"
_OPEN: set[Scene | TestedCluster] = set()


@dataclass(frozen=True)
class Result:
    """The verdict on one check."""

    check: Check
    verdict: str
    why: str = ""
    transcript: list[str] = field(default_factory=list)
    printed: str = ""
    seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "name": self.check.name, "level": self.check.level, "rule": self.check.rule,
            "section": self.check.section, "verdict": self.verdict, "why": self.why,
            "transcript": self.transcript, "printed": self.printed,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def judge(check: Check, settings: KitSettings) -> Result:
    """Carry out one check. If the node stood for election during a check in which the kit leads, or
    lost the lead although its followers answer, the check is repeated: the machine was too slow, or
    the node's timeout too short."""
    start_s = time.monotonic()
    tries = round(TRIES * busyness())
    for left in reversed(range(tries)):
        result, disturbed = _tried(check, settings)
        if not disturbed or result.verdict == PASSED:
            break
        if not left:
            why = (
                f"in each of {tries} tries s1 stood for election beside a leader, or led no longer "
                f"beside followers that answer: {disturbed}"
            )
            result = Result(check, NOT_JUDGED, why, result.transcript, result.printed)
    return Result(
        check,
        result.verdict,
        result.why,
        result.transcript,
        result.printed,
        time.monotonic() - start_s,
    )


def end_all() -> None:
    """End each running check: kill its node, and stop all waits."""
    for scene in list(_OPEN):
        scene.transcript.stop()
        scene.end()


def _tried(check: Check, settings: KitSettings) -> tuple[Result, str]:
    if check.body is not None:
        with Scene(settings, check.size, watches_syncs=check.watches_syncs) as scene:
            result = _ended(check, scene, partial(check.body, scene))
            return result, scene.transcript.disturbed
    assert check.cluster is not None
    with TestedCluster(settings) as cluster:
        return _ended(check, cluster, partial(check.cluster, cluster)), ""


def _ended(check: Check, scene: Scene | TestedCluster, body: Callable[[], None]) -> Result:
    verdict, why = PASSED, ""
    _OPEN.add(scene)
    try:
        body()
    except Failed as problem:
        verdict, why = FAILED, str(problem)
    except NodeNotStarted as problem:
        cannot = isinstance(scene, Scene) and scene.syncs and scene.node.status == EXIT_CANNOT
        verdict, why = (NOT_JUDGED, NO_WATCH) if cannot else (FAILED, str(problem))
    except NotJudged as problem:
        verdict, why = NOT_JUDGED, str(problem)
    except OSError as error:
        verdict, why = FAILED, f"a connection to the node broke: {error}"
    except (LookupError, TypeError, ValueError) as error:  # no check expects its reply
        verdict, why = FAILED, f"the node's line can't be read: {type(error).__name__}: {error}"
    finally:
        _OPEN.discard(scene)
    if verdict == PASSED:
        return Result(check, verdict)
    if scene.transcript.is_full:
        why = f"{why} (the nodes said more lines than the kit reads)"
    return Result(check, verdict, why, scene.transcript.shown(), scene.said())
