"""Build the virtual world as machine code: `python -m raftline_testing.virtual.compile FOLDER`.

FOLDER becomes a copy of src/ and testing/, with compiled modules next to their sources. Python
prefers the compiled modules. Wheels don't include them (docs/develop/compiled.md). Exit codes: 0
built, with the same schedules as in Python; 1 they differ, or the build failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ..runner.tree_copy import ROOT, package_folders
from .constructors import with_constructors

# Calls between files become direct ones, and small functions of another file are inlined.
FLAGS = "-fno-semantic-interposition -fvisibility=hidden -flto=auto"
OPTIONS = ("--strict", "--namespace-packages", "--explicit-package-bases")
SIMULATED = (
    "raftline/raft/*", "raftline/wire/*", "raftline/wire/*/*", "raftline/state/*",
    "raftline/state/*/*", "raftline/picture/observe/*", "raftline_testing/virtual/*",
    "raftline_testing/virtual/*/*", "raftline/harness/virtual/*", "raftline/*/harness/virtual/*",
    "raftline/recipes/command_effects", "raftline/recipes/command_rows",
    "raftline/recipes/recipe_keys", "raftline/recipes/recipe_operands",
    "raftline/objects/command_effects", "raftline/objects/command_rows",
    "raftline/objects/object_kinds", "raftline/objects/object_operations",
    "raftline/common/text", "raftline/common/identities", "raftline/common/process/wakeup",
    "raftline/logmanager",
    "raftline_testing/histories/history", "raftline_testing/histories/linearizable",
    "raftline_testing/files/faulty_folder", "raftline_testing/files/memory_file",
    "raftline_testing/invariants", "raftline_testing/workloads/*",
    "raftline/recipes/harness/claim_machine", "raftline/redis/harness/command_machine",
    "raftline/redis/harness/message_machine", "raftline/redis/harness/queue_machine",
    "raftline/redis/harness/redis_requests",
    "raftline/picture/harness/judging/answers",
    "raftline/picture/harness/judging/cluster_facts", "raftline/picture/harness/judging/findings",
    "raftline/picture/harness/judging/judged", "raftline/picture/harness/judging/laws",
    "raftline/access/login",
    "raftline/monitoring/exposition", "raftline/monitoring/metrics",
    "raftline/net/protocol/admission", "raftline/net/state_copies", "raftline/net/protocol/host",
    "raftline/net/line_reader", "raftline/net/protocol/local_commands",
    "raftline/net/protocol/outgoing_protocol", "raftline/net/reply_budget",
    "raftline/net/protocol/server_protocol", "raftline/net/protocol/serving",
    "raftline/net/protocol/waits", "raftline/net/protocol/subscriptions",
    "raftline/node/loop/applying", "raftline/node/loop/batching", "raftline/node/clock",
    "raftline/node/loop/handover", "raftline/node/loop/lease_clock",
    "raftline/node/loop/granted_leases", "raftline/node/watches/watch_listing",
    "raftline/node/loop/measures", "raftline/node/loop/queue", "raftline/node/loop/arrivals",
    "raftline/node/snapshots/snapshots", "raftline/node/loop/stepper",
    "raftline/node/watches/prefix_watch", "raftline/node/watches/watch_feed",
    "raftline/node/watches/watch_registry", "raftline/node/loop/writer",
    "raftline/storage/birth", "raftline/storage/disk", "raftline/storage/folder",
    "raftline/storage/hard_state", "raftline/storage/log_lines", "raftline/storage/log_file",
    "raftline/storage/log_reader", "raftline/storage/recovery", "raftline/storage/snapshot_file",
    "raftline/storage/snapshot_lines",
)  # fmt: skip
# A schedule needs none of these; their classes derived from a compiled class couldn't be loaded.
LEFT_OUT = {
    "raftline/state/commands/machines", "raftline/wire/refusal",
    "raftline/recipes/harness/virtual/lockers", "raftline/recipes/harness/virtual/sharers",
    *(f"raftline_testing/virtual/{name}" for name in (
        "compile", "constructors", "plain_snapshots", "script",
        "simulate", "world/coroutines",
    )),
}  # fmt: skip
# Its outcome includes all events, their times and the answers.
SCHEDULES = """
from raftline_testing.virtual import schedule
print(schedule.__file__, *map(schedule.run, range(8)), sep="\\n")
"""


def modules(package: Path) -> Iterator[str]:
    """Return the files to compile, below a folder that holds the packages."""
    for pattern in SIMULATED:
        for path in sorted(package.glob(f"{pattern}.py")):
            name = path.relative_to(package).with_suffix("").as_posix()
            if name not in LEFT_OUT and not path.name.startswith(("__init__", "test_")):
                yield str(path)


def main(folder: Path) -> None:
    """Build the world; the C code goes to build/simulated."""
    # imported here, since a test imports this module without a build
    from mypyc.build import mypycify
    from setuptools import setup  # type: ignore[import-untyped]

    shutil.rmtree(folder, ignore_errors=True)
    work = ROOT / "build" / "simulated"
    shutil.rmtree(work / "package", ignore_errors=True)
    left_out = shutil.ignore_patterns("__pycache__", "tests")
    for name, source in package_folders():
        for copy in (folder / name, work / "package" / name):
            shutil.copytree(source, copy, ignore=left_out, dirs_exist_ok=True)
    for path in map(Path, modules(work / "package")):
        path.write_text(with_constructors(path.read_text("utf-8")), "utf-8")
    os.environ |= {"MYPYPATH": str(work / "package"), "CFLAGS": FLAGS, "LDFLAGS": "-O2 -flto=auto"}
    extensions = mypycify(
        [*OPTIONS, *modules(work / "package")],
        opt_level=os.environ.get("RAFTLINE_OPTIMIZE", "2"),
        multi_file=True,  # as one, gcc takes many times as long
        target_dir=str(work / "c"),
        group_name="simulated",
    )
    build = ["build_ext", "--build-lib", str(folder), "--build-temp", str(work / "temp")]
    setup(name="simulated", script_args=["-q", *build], packages=[], ext_modules=extensions)


def outcomes(*paths: Path) -> list[str]:
    """Return the file of the world module under these paths, and the outcomes of schedules."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", SCHEDULES]
    ran = subprocess.run(command, cwd=paths[0], env=environment, check=True, stdout=subprocess.PIPE)
    return ran.stdout.decode().splitlines()


def check(folder: Path) -> str:
    """Return the error of a build, or ""."""
    compiled, plain = outcomes(folder), outcomes(ROOT / "testing", ROOT / "src")
    if compiled[0].endswith(".py"):
        return f"{compiled[0]} is run, which is not compiled"
    differing = [one for one, other in zip(compiled[1:], plain[1:], strict=True) if one != other]
    return f"a schedule ends otherwise than in Python: {differing[0]}" if differing else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
    sys.exit(check(Path(sys.argv[1]).resolve()) or 0)
