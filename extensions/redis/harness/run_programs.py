"""`make -C testing redis-programs`: small programs with libraries of Redis, while the leader of
three real nodes is killed (docs/develop/testing.md).

Exit status 0: no finding, 1: a finding, 2: there is no such program.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, NotAsExpected, Process, eventually

from .program_record import ProgramRecord
from .programs import in_python

FOLDER = Path(__file__).parent / "programs"
SHARED = "program.mjs"
OPERATIONS = 100  # of each kind, before and after each kill


def commands(modules: Path) -> dict[str, list[str]]:
    """Return the command line of each program. Those in JavaScript run if this folder has the
    libraries that they import; they are copied next to them."""
    python = [sys.executable, in_python.__file__]
    found = {name: [*python, name] for name in in_python.PROGRAMS}
    if (modules / "node_modules").is_dir():
        for path in sorted(FOLDER.glob("*.mjs")):
            copy = shutil.copy(path, modules)
            if path.name != SHARED:
                found[path.stem] = ["node", str(copy)]
    return found


def run(
    name: str, command: Sequence[str], cluster: Cluster, kills: int
) -> tuple[ProgramRecord, list[str]]:
    """Run one program while the leader is killed; return its record and the findings."""
    ports = [str(node.port) for node in cluster.nodes]
    program = Process(name, [*command, f"{name}-items", *ports], stdin=subprocess.PIPE)
    record = ProgramRecord()
    program.launch()
    try:
        _goes_on(program, record, "at its start")
        for number in range(1, kills + 1):
            (leader := cluster.leader()).kill()
            _goes_on(program, record, f"after kill {number}")
            leader.start()
            eventually(
                lambda: leader.status().get("recovering") is False, f"{leader.name} may vote"
            )
            _goes_on(program, record, f"after the return of node {number}")
        stdin = program.running.stdin
        assert stdin is not None
        stdin.close()
        status = program.ended(DEADLINE_S)
        record.take(program.take_lines())
        problems = record.findings()
        if status:
            problems.append(f"it ended with exit status {status}")
    except (NotAsExpected, subprocess.TimeoutExpired) as late:
        problems = [str(late), f"the last error: {record.reason}"]
    finally:
        program.close()
    return record, [*problems, *(record.others[-20:] if problems else [])]


def _goes_on(program: Process, record: ProgramRecord, when: str) -> None:
    """Wait until the program has done some of each kind of operation that it has ever done."""
    before = record.did.copy()

    def has_done() -> bool:
        record.take(program.take_lines())
        more = record.did - before
        return bool(more) and all(more[word] >= OPERATIONS for word in record.did)

    def has_done_or_ended() -> bool:
        return has_done() or not program.is_running

    eventually(has_done_or_ended, f"{OPERATIONS} operations of each kind {when}")
    if not has_done():
        program.ended()
        record.take(program.take_lines())
        raise NotAsExpected(f"the program ended {when}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programs in turn; return the exit status."""
    options = _parser().parse_args(arguments)
    known = commands(options.modules)
    chosen = {name: each for name, each in known.items() if options.only in ("", name)}
    if not chosen:
        print(
            f"no such program: {options.only}; these are known: {' '.join(known)}", file=sys.stderr
        )
        return 2
    return int(_run_all(chosen, options.kills))


def _run_all(chosen: Mapping[str, Sequence[str]], kills: int) -> bool:
    """Run programs, and print what each did. Return whether there is a finding."""
    has_findings = False
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), 3) as cluster:
        for name, command in chosen.items():
            cluster.start().wait_until_whole().wait_until_begun()
            record, problems = run(name, command, cluster, kills)
            counts = f"{record.did.total()} done, {record.failed.total()} failed"
            print(
                f"{name}: {counts}, {kills} kills: {'; '.join(problems) or 'as acknowledged'}",
                flush=True,
            )
            has_findings |= bool(problems)
    return has_findings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", type=Path, help="the folder with node_modules")
    parser.add_argument("--only", default="", help="the name of one program")
    parser.add_argument("--kills", type=int, default=2, help="of the leader, during each program")
    return parser


if __name__ == "__main__":
    sys.exit(main())
