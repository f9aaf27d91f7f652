"""The repair of a node's files without a person's judgement. Nothing is ever deleted.

Removed parts are kept as FILE.damaged-N. If a cure costs the node's vote, NAME.storage is written
first. So the node has no vote after a crash at any point.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from .folder import Folder, copied
from .hard_state import HardStateFile, LogState, Mark, Promise
from .start_plan import Cure, Plan, Problem, read_plan


def repair(folder: Folder, plan: Plan) -> list[str]:
    """Apply all possible cures, and return one line for each. The folder is locked.

    A cure may reveal another problem, such as a missing snapshot behind a damaged log. The plan
    gets such problems as well, and they are cured.

    Raises:
        DiskFailed: for example, a copy can't be written. Then nothing was removed.
    """
    actions: list[str] = []
    problems = plan.problems
    while problems:
        actions += _apply_cures(folder, plan, problems)
        again = read_plan(folder, plan.node)
        plan.promise = again.promise
        problems = [problem for problem in again.problems if problem not in plan.problems]
        plan.problems += problems
    return actions


def _apply_cures(folder: Folder, plan: Plan, problems: Sequence[Problem]) -> list[str]:
    actions: list[str] = []
    cures = [problem for problem in problems if problem.cure is not Cure.NONE]
    if any(problem.costs_the_vote for problem in cures):
        actions += _take_the_vote(folder, plan, cures)
    moved_files: set[str] = set()
    for problem in cures:
        actions += _cure(folder, plan.node, problem, moved_files)
    return actions


def repair_before_start(folder: Folder, node: str) -> list[str]:
    """Repair the files of a node before its start, and return lines about problems and cures.

    Raises:
        FilesRefused, DiskFailed: the node is running, or its files can't be read or written.
    """
    folder.lock(node)
    try:
        plan = read_plan(folder, node)
        return [*(str(problem) for problem in plan.problems), *repair(folder, plan)]
    finally:
        folder.close()


def _take_the_vote(folder: Folder, plan: Plan, cures: Sequence[Problem]) -> list[str]:
    """Make the node recover at its next start, without its term and vote."""
    storage = HardStateFile(folder, plan.node)
    actions = []
    stale = any(problem.cure is Cure.DROP_STORAGE for problem in cures)
    if stale:
        aside = folder.free_name(storage.name)  # the file itself stays until the flag replaces it
        folder.replace(aside, copied(folder, storage.name))
        actions.append(f"{storage.name} is kept as {aside}")
    promise = plan.promise
    if stale or promise is None:
        promise = Promise(0, None, LogState.WHOLE, Mark(0, 0))
    storage.save(promise.without_vote())
    actions.append(f"{plan.node} will have no vote until it has caught up")
    return actions


def _cure(folder: Folder, node: str, problem: Problem, moved_files: set[str]) -> Iterator[str]:
    log, snapshot = f"{node}.log", f"{node}.state_machine"
    match problem.cure:
        case Cure.CUT_TAIL | Cure.CUT_LOG if log not in moved_files:
            yield _cut(folder, log, problem.good_bytes)
        case Cure.DROP_SNAPSHOT:
            yield from _drop(folder, [snapshot], moved_files)
        case Cure.DROP_LOG_AND_SNAPSHOT:
            yield from _drop(folder, [log, snapshot], moved_files)


def _drop(folder: Folder, names: list[str], moved_files: set[str]) -> Iterator[str]:
    for name in names:
        if name not in moved_files and folder.exists(name):
            yield f"{name} is kept as {folder.put_aside(name)}"
        moved_files.add(name)


def _cut(folder: Folder, log: str, good_bytes: int) -> str:
    """Keep a copy of everything after the sound part, and cut it off."""
    if good_bytes == 0:
        return f"{log} is kept as {folder.put_aside(log)}"
    aside = folder.free_name(log)
    folder.replace(aside, copied(folder, log, good_bytes))
    with contextlib.closing(folder.open_append(log)) as opened:
        opened.truncate(good_bytes)
    return f"{log} was cut to {good_bytes:,} bytes, the rest is kept as {aside}"
