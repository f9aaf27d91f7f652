"""How the package is built; its facts are in setup.cfg.

An editable install finds the package by a plain path. setuptools would have it found by a finder of
its own, which Python asks last. A plain folder that is called `raftline` came before it, such as a
clone that one stands above.

With RAFTLINE_COMPILE=1 a wheel gets the modules of COMPILED as machine code, made by mypyc from the
files that a clone runs (docs/develop/compiled.md). The sdist is the same with it and without.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

EDITABLE = {"packages": ["raftline"], "package_dir": {"": "deploy/editable"}}
MYPY = "mypy>=2.4"  # whose mypyc is the first that takes this code as it is
COMPILED = (
    "raft/*", "wire/*", "state/*",
    "access/login", "access/rights", "common/console", "common/level", "common/wakeup",
    "logmanager",
    "storage/hardstate", "storage/lines", "storage/logfile", "storage/logreader",
    "storage/nodefiles", "storage/snapshotlines",
    "net/admission", "net/host", "net/connection", "net/levels", "net/lines", "net/outgoing",
    "net/peers", "net/shared_reader",
    "node/applying", "node/batching", "node/delivery", "node/driver", "node/handover", "node/host",
    "node/lease_clock", "node/leasing", "node/measures", "node/queue",
    "node/stepper", "node/traffic_log", "node/watch", "node/watch_feed", "node/watchers",
    "node/writer",
)  # fmt: skip
# Of these rooms: the classes that others are derived from, which mypyc does not allow, and what
# looks at classes by their names and fields.
NOT_COMPILED = {"raft/plain", "raft/replay", "state/machines"}


def extensions():
    """Return the compiled modules; the C code goes to build/compiled/c."""
    from mypyc.build import mypycify

    folder = Path("build/compiled/package")
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / "raftline"  # the package is the folder src/, and mypyc goes by its name
    if not package.is_symlink():
        package.symlink_to(Path.cwd() / "src")
    os.environ["MYPYPATH"] = str(folder)
    files = sorted(
        str(package / path.relative_to("src"))
        for pattern in COMPILED
        for path in Path("src").glob(f"{pattern}.py")
        if path.name != "__init__.py"
        and path.relative_to("src").with_suffix("").as_posix() not in NOT_COMPILED
    )
    options = ["--strict", "--namespace-packages", "--explicit-package-bases"]
    return mypycify(
        [*options, *files],
        opt_level=os.environ.get("RAFTLINE_OPTIMIZE", "3"),
        target_dir="build/compiled/c",  # not where the package is: the link leads to src/
        group_name="raftline",
    )


def arguments():
    """Return what setup.cfg does not say, for the command that runs."""
    if "editable_wheel" in sys.argv:
        return EDITABLE
    if os.environ.get("RAFTLINE_COMPILE") != "1":
        return {}
    if {"bdist_wheel", "build_ext"} & set(sys.argv):
        return {"ext_modules": extensions(), "setup_requires": [MYPY]}
    return {"setup_requires": [MYPY]}


setup(**arguments())
