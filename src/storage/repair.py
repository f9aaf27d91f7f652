"""The repair of a node's files without a person's judgement; nothing is ever deleted.

Removed parts are kept beside, as FILE.damaged-N. If a cure costs the node's vote, NAME.storage is
written first. So the node has no vote even after a death at any point.
"""

from __future__ import annotations

from collections.abc import Iterator

from .examine import Cure, Examination, Findings, Problem
from .folder import Folder, copied
from .hardstate import HardStateFile, LogState, Mark, Promise


def repair(folder: Folder, found: Findings) -> list[str]:
    """Cure what can be cured and return what was done, one line each. The folder is locked.

    Raises:
        DiskFailed: a copy can't be written, for example; then nothing was removed.
    """
    done: list[str] = []
    cures = [problem for problem in found.problems if problem.cure is not Cure.NONE]
    if any(problem.costs_the_vote for problem in cures):
        done += _take_the_vote(folder, found)
    taken: set[str] = set()
    for problem in cures:
        done += _cure(folder, found.node, problem, taken)
    return done


def repair_before_start(folder: Folder, node: str) -> list[str]:
    """Repair the files of a node before its start; return lines about problems and cures.

    Raises:
        FilesRefused, DiskFailed: it runs already, can't be read, or can't be written.
    """
    folder.lock(node)
    try:
        found = Examination(folder, node).run()
        return [*(str(problem) for problem in found.problems), *repair(folder, found)]
    finally:
        folder.close()


def _take_the_vote(folder: Folder, found: Findings) -> list[str]:
    """Let the node recover at its next start, without its term and vote."""
    storage = HardStateFile(folder, found.node)
    done = []
    stale = any(problem.cure is Cure.DROP_STORAGE for problem in found.problems)
    if stale:
        aside = folder.free_name(storage.name)  # the file itself stays until the flag is there
        folder.replace(aside, copied(folder, storage.name))
        done.append(f"{storage.name} is kept as {aside}")
    promise = found.promise
    if stale or promise is None:
        promise = Promise(0, None, LogState.WHOLE, Mark(0, 0))
    storage.save(promise._replace(state=LogState.RECOVERING))
    done.append(f"{found.node} will have no vote until it has caught up")
    return done


def _cure(folder: Folder, node: str, problem: Problem, taken: set[str]) -> Iterator[str]:
    log, snapshot = f"{node}.log", f"{node}.state_machine"
    match problem.cure:
        case Cure.CUT_TAIL | Cure.CUT_LOG if log not in taken:
            yield _cut(folder, log, problem.good_bytes)
        case Cure.DROP_SNAPSHOT:
            yield from _drop(folder, [snapshot], taken)
        case Cure.DROP_LOG_AND_SNAPSHOT:
            yield from _drop(folder, [log, snapshot], taken)


def _drop(folder: Folder, names: list[str], taken: set[str]) -> Iterator[str]:
    for name in names:
        if name not in taken and folder.exists(name):
            yield f"{name} is kept as {folder.put_aside(name)}"
        taken.add(name)


def _cut(folder: Folder, log: str, good_bytes: int) -> str:
    """Keep all after the sound part aside, and cut it off."""
    if good_bytes == 0:
        return f"{log} is kept as {folder.put_aside(log)}"
    aside = folder.free_name(log)
    folder.replace(aside, copied(folder, log, good_bytes))
    opened = folder.open_append(log)
    try:
        opened.truncate(good_bytes)
    finally:
        opened.close()
    return f"{log} was cut to {good_bytes:,} bytes, what followed is kept as {aside}"
