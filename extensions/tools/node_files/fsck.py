"""`raftline fsck [DIR|NAME …]`: check the files of nodes, explain problems, and repair them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from raftline.common import config
from raftline.common.config import ConfigError
from raftline.state.sessions import has_next_epoch
from raftline.storage.disk import (
    EXIT_DISK,
    DiskFailed,
    FilesRefused,
    StorageError,
    exit_status_of,
)
from raftline.storage.folder import Folder
from raftline.storage.repair import repair
from raftline.storage.start_plan import Cure, Plan, Problem, nodes_in, read_plan

from ..progress_bar import Bar

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

EXIT_CLEAN = 0
EXIT_PROBLEMS = 1


class WatchedFolder(Folder):
    """A folder that counts the bytes read from the last opened file."""

    opened: BinaryIO | None = None

    def read(self, name: str) -> BinaryIO:
        self.opened = super().read(name)
        return self.opened

    def position(self) -> int:
        """Return how many bytes were read, or 0 if no file is open."""
        try:
            return self.opened.tell() if self.opened is not None else 0
        except ValueError:  # closed
            return 0


def fsck(wanted: Sequence[str], folder: str | None, *, repairs: bool, as_json: bool) -> int:
    """Check files and print the results. Returns 0: all is sound, or was repaired; 1: not all; 3: a
    file can't be read; 4: the disk failed. After a failure at one node, the other nodes are still
    checked.

    Raises:
        ConfigError: there are no files to check.
    """
    reports: list[dict[str, Any]] = []
    failures: list[StorageError] = []
    for place, nodes in _places(wanted, folder, failures):
        reports += _configuration_of(place)
        for node in nodes:
            try:
                reports.append(_look_at(WatchedFolder(place), node, repairs=repairs))
            except StorageError as failure:
                failures.append(failure)
    status = max(map(report_failure, failures), default=EXIT_CLEAN)
    if as_json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            _print(report)
    unrepaired = sum(
        not problem["repaired"] for report in reports for problem in report["problems"]
    )
    return status or (EXIT_PROBLEMS if unrepaired else EXIT_CLEAN)


def report_failure(failure: StorageError, written: str = "") -> int:
    """Report that files, or the output file `written`, can't be used. Return the exit code."""
    if written and isinstance(failure, DiskFailed):
        return report_unwritten(failure, written)
    print(f"raftline: {failure}", file=sys.stderr)
    return exit_status_of(failure)


RESTART_PROGRAMS = (  # after `recover` and `restore`
    "Restart every program that was connected, also raftline elect and Patroni: it stays with the "
    "cluster that is gone."
)


def warn_of_last_epoch(term: int) -> None:
    """Warn if a cluster that is continued from this term may give out numbers again."""
    if not has_next_epoch(term):
        print(
            "raftline: the terms are in the last epoch, since a member announced a forged one: "
            "fencing tokens and names of sessions may come again. Make the guarded resources "
            "forget the tokens that they have seen, and let clients begin new sessions "
            "(docs/repair.md)",
            file=sys.stderr,
        )


def report_unwritten(failure: StorageError, written: str) -> int:
    """Report that a file or a folder can't be written. Return the exit code."""
    reason = getattr(failure.__cause__, "strerror", None) or failure
    print(f"raftline: {written}: can't be written: {reason}", file=sys.stderr)
    return EXIT_DISK


def _places(
    wanted: Sequence[str], folder: str | None, failures: list[StorageError]
) -> list[tuple[Path, list[str]]]:
    """Return the folders to check, each with its nodes. A folder that can't be read is omitted, and
    its error is added to `failures`."""
    names = [word for word in wanted if not Path(word).is_dir()]
    _check_names(names)
    places = [(Path(word), list[str]()) for word in wanted if Path(word).is_dir()]
    if names or not wanted:
        places.append((_place_of(names, folder), names))
    folders = []
    for place, requested in places:
        try:
            there = _nodes_in(place)
        except FilesRefused as failure:
            failures.append(failure)
            continue
        for name in requested:
            if name not in there:
                what = f"no node of that name has files in {place}"
                raise ConfigError(f"{name}: there is no such folder, and {what}")
        if not there:
            raise ConfigError(f"{place}: holds no files of a node")
        folders.append((place, requested or there))
    return folders


def _check_names(names: Sequence[str]) -> None:
    """Raise ConfigError for a word that is neither a folder nor a possible node name."""
    for word in names:
        if Path(word).is_file():
            raise ConfigError(
                f"{word}: is a file; name a node or a folder. "
                f"To check a backup: raftline backup {word} --check"
            )
        if not config.NAME.fullmatch(word):
            raise ConfigError(f"{word}: there is no such folder, and no node can have that name")


def _place_of(names: Sequence[str], folder: str | None) -> Path:
    """Return the folder of nodes that are given without a folder, or not at all."""
    try:
        place = config.locate(folder).parent
    except ConfigError as error:
        if folder is None and names:
            raise ConfigError(f"{names[0]}: there is no such folder, and {error}") from None
        raise
    if not place.is_dir():
        raise ConfigError(f"{place}: there is no such folder")
    return place


def _nodes_in(place: Path) -> list[str]:
    try:
        return nodes_in(os.listdir(place))
    except OSError as error:
        raise FilesRefused(f"{place}: can't be read: {error.strerror}") from error


def _configuration_of(place: Path) -> list[dict[str, Any]]:
    """Return a report on server-configuration.txt if the file exists and can't be used."""
    path = place / config.FILE_NAME
    try:
        if os.path.exists(path):  # also False in a folder that can't be entered
            config.read(path)
    except ConfigError as error:
        means = f"{error}. The nodes' logs name the members; this file says where to start them"
        problem = Problem(config.FILE_NAME, "", "", Cure.NONE)
        return [{"node": config.FILE_NAME, "running": False, "notes": [], "done": [],
                 "problems": [_formatted(problem, means, repaired=False)]}]  # fmt: skip
    return []


def _look_at(folder: WatchedFolder, node: str, *, repairs: bool) -> dict[str, Any]:
    running = _is_running(folder, node)
    try:
        size = sum(
            folder.size(name)
            for name in (f"{node}.log", f"{node}.state_machine")
            if folder.exists(name)
        )
        with Bar(f"{node}: checking", size, folder.position):
            plan = read_plan(folder, node)
        actions: list[str] = []
        if repairs and not running and plan.problems:
            folder.lock(node)
            actions = repair(folder, plan)
        return _report(plan, actions, running, repaired=repairs and not running)
    finally:
        folder.close()


def _is_running(folder: Folder, node: str) -> bool:
    """Return whether a process holds the lock of this node. Without a lock file, no process
    does."""
    if not folder.exists(f"{node}.lock"):
        return False
    try:
        folder.lock(node, reads=True)
    except FilesRefused:
        return True
    folder.close()
    return False


def _report(plan: Plan, actions: list[str], running: bool, *, repaired: bool) -> dict[str, Any]:
    promise, log, loaded = plan.promise, plan.log, plan.snapshot
    return {
        "node": plan.node,
        "running": running,
        "term": promise.term if promise is not None else None,
        "vote": promise.vote if promise is not None else None,
        "state": promise.state.value if promise is not None else None,
        "cluster": plan.cluster,
        "first_index": log.log.base_index + 1 if log is not None else None,
        "last_index": log.log.last_index if log is not None else None,
        "last_term": log.log.last_term if log is not None else None,
        "sum": f"{plan.chain:08x}" if log is not None else None,
        "snapshot_index": loaded.snapshot.index if loaded is not None else 0,
        "problems": [
            _formatted(problem, str(problem), repaired=repaired) for problem in plan.problems
        ],
        "notes": plan.notes,
        "done": actions,
    }


def _formatted(problem: Problem, text: str, *, repaired: bool) -> dict[str, Any]:
    return {
        "file": problem.file,
        "problem": text,
        "cure": problem.cure.value,
        "costs_the_vote": problem.costs_the_vote,
        "repaired": repaired and problem.cure is not Cure.NONE,
    }


def _print(report: dict[str, Any]) -> None:
    node = report["node"]
    for note in report["notes"]:
        print(f"{node}: {note}")
    for problem in report["problems"]:
        print(f"{node}: {problem['problem']}")
        if not problem["repaired"]:
            print(f"{node}:   --repair does: {problem['cure']}")
    for line in report["done"]:
        print(f"{node}: repaired: {line}")
    if report["running"]:
        print(f"{node}: is running: nothing is repaired, and its newest lines may look torn")
    if not report["problems"] and report["term"] is None:
        print(f"{node}: sound: it has not begun yet")
    elif not report["problems"]:
        last, snapshot = report["last_index"], report["snapshot_index"]
        log = "no log yet" if last is None else f"entries {report['first_index']}-{last}"
        if last is not None and last < report["first_index"]:
            log = "no entries"
        after = f" after a snapshot of entry {snapshot}" if snapshot else ""
        summed = f", sum {report['sum']}" if last is not None else ""
        print(f"{node}: sound: term {report['term']}, {log}{after}{summed}")


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    fsck = commands.add_parser(
        "fsck",
        help="check the files of nodes, and repair them",
        description="Check all files of the nodes in a folder and explain what is wrong. --repair "
        "deletes nothing: removed parts are kept as FILE.damaged-N. Exit code 0: all "
        "is sound, or was repaired; 1: not all; 2: usage; 3: a file can't be read; 4: the disk "
        "failed.",
    )
    fsck.add_argument("wanted", metavar="DIR|NAME", nargs="*", help="folders, or nodes (all)")
    fsck.add_argument("--dir", metavar="D", help="the folder in which to look for each NAME")
    fsck.add_argument("--repair", action="store_true", help="make the safe repairs")
    fsck.add_argument("--json", action="store_true", help="for programs")
    fsck.set_defaults(carry_out=_fsck)


def _fsck(options: argparse.Namespace) -> int:
    return fsck(options.wanted, options.dir, repairs=options.repair, as_json=options.json)
