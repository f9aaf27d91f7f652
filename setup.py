"""The build of the package; its facts are in setup.cfg, except for its version, which comes from
git.

An editable install finds the package by a plain path. setuptools would install its own finder,
which Python asks last. A plain folder named `raftline` would come before it, such as a clone below
the current folder.

With RAFTLINE_COMPILE=1 a wheel gets the modules of COMPILED as machine code, made by mypyc from the
files that a clone runs (docs/develop/compiled.md). The sdist is the same with and without it.
"""

import importlib
import os
import runpy
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

EDITABLE = {
    "packages": [folder.name for folder in sorted(Path("deploy/editable").glob("*/"))],
    "package_dir": {"": "deploy/editable"},
}
SOURCES = ("src", "library", "extensions")  # of the package `raftline`
LEFT_OUT = {"raftline", "tests", "harness", "bench", "__pycache__"}  # the first is a stand-in
MYPY = "mypy>=2.4"  # its mypyc is the first that accepts this code unchanged
COMPILED = (
    "raft/*", "wire/*", "wire/*/*", "state/*", "state/*/*",
    "recipes/command_effects", "recipes/command_rows", "recipes/recipe_keys",
    "recipes/recipe_operands",
    "redis/resp/request_ledger",
    "objects/command_effects", "objects/command_rows", "objects/object_kinds",
    "objects/object_operations",
    "picture/recording/recorded_node",
    "access/login",
    "common/process/console", "common/identities", "common/text",
    "common/process/mutex", "common/process/wakeup",
    "logmanager",
    "storage/hard_state", "storage/log_lines", "storage/log_file", "storage/log_reader",
    "storage/snapshot_lines",
    "net/protocol/admission", "net/connections/connection", "net/protocol/host",
    "net/peers/build_exchange", "net/line_reader", "net/connections/outgoing",
    "net/protocol/outgoing_protocol", "net/peers/peers", "net/protocol/run_work",
    "net/protocol/server_protocol",
    "net/protocol/serving", "net/connections/shared_reader", "net/protocol/waits",
    "net/protocol/subscriptions",
    "node/loop/applying", "node/loop/arrivals", "node/loop/batching", "node/clock",
    "node/loop/driver",
    "node/loop/handover", "node/loop/lease_clock", "node/loop/granted_leases",
    "node/loop/measures", "node/loop/queue", "node/loop/stepper",
    "node/program/traffic_log", "node/watches/prefix_watch", "node/watches/watch_feed",
    "node/watches/watch_registry", "node/loop/writer",
)  # fmt: skip
# Not compiled in these packages: base classes of derived ones and a subclass of str, which mypyc
# doesn't allow, and code that must release the interpreter's lock.
NOT_COMPILED = {"state/commands/machines", "wire/escapes", "wire/refusal"}


def extensions():
    """Return the compiled modules; the C code goes to build/compiled/c."""
    from mypyc.build import mypycify

    folder = Path("build/compiled/package")
    package = folder / "raftline"  # mypyc uses the names of folders
    shutil.rmtree(folder, ignore_errors=True)
    package.mkdir(parents=True)
    for path in (path for folder in SOURCES for path in Path(folder).iterdir()):
        if path.name not in LEFT_OUT:
            (package / path.name).symlink_to(path.resolve())
    os.environ["MYPYPATH"] = str(folder)
    files = sorted(
        str(path)
        for pattern in COMPILED
        for path in package.glob(f"{pattern}.py")
        if path.name != "__init__.py"
        and path.relative_to(package).with_suffix("").as_posix() not in NOT_COMPILED
    )
    options = ["--strict", "--namespace-packages", "--explicit-package-bases"]
    modules = mypycify(
        [*options, *files],
        opt_level=os.environ.get("RAFTLINE_OPTIMIZE", "3"),
        target_dir="build/compiled/c",  # not in the package: the link leads to src/
        group_name="raftline",
    )
    for module in modules:  # warnings about generated C code would take gcc two minutes
        module.extra_compile_args.append("-Wno-all")
    return modules


def packages():
    """Return the folder of each package: src/ is `raftline`, and each folder with modules in one of
    SOURCES is a package of that name."""
    return {
        ".".join(["raftline", *path.relative_to(source).parent.parts]): path.parent.as_posix()
        for source in SOURCES
        for path in sorted(Path(source).rglob("__init__.py"))
        if not LEFT_OUT & set(path.relative_to(source).parts)
    }


def arguments():
    """Return the arguments that setup.cfg lacks, for the running command."""
    if "editable_wheel" in sys.argv:
        return EDITABLE
    found = {"packages": list(packages()), "package_dir": packages()}
    if os.environ.get("RAFTLINE_COMPILE") != "1":
        return found
    if {"bdist_wheel", "build_ext"} & set(sys.argv):
        return {**found, "ext_modules": extensions(), "setup_requires": [MYPY]}
    return {**found, "setup_requires": [MYPY]}


def version():
    """Return the version stored in an sdist, or else git's version of this clone."""
    frozen = Path("src/common/frozen.py")  # in an sdist
    if frozen.exists():
        return runpy.run_path(str(frozen))["VERSION"]
    return runpy.run_path("deploy/git_version.py")["version"]()


def parts():
    """Return the digests that common/effects.py derives from the sources."""
    sys.path.insert(0, "src")
    try:
        return importlib.import_module("raftline.common.effects").derive_parts()
    finally:
        sys.path.remove("src")


def freeze(folder, version):
    """Write the facts of this build to the file that common/version.py and common/effects.py read
    first."""
    Path(folder, "frozen.py").write_text(
        '"""Written by setup.py: the version of this build, and what it applies."""\n\n'
        f'VERSION = "{version}"\nPARTS = {parts()!r}\n',
        encoding="utf-8",
    )


class BuildPy(build_py):
    """A build step that puts the version into a wheel, but not into the clone of an editable
    install."""

    def find_package_modules(self, package, package_dir):
        """Return the modules of a package; those of `raftline` lie in two folders."""
        found = super().find_package_modules(package, package_dir)
        if package == "raftline":
            found += [
                (package, path.stem, str(path)) for path in sorted(Path("library").glob("*.py"))
            ]
        return found

    def run(self):
        super().run()
        if not self.editable_mode:
            freeze(Path(self.build_lib, "raftline", "common"), self.distribution.get_version())


class Sdist(sdist):
    """A build step that puts the version into an sdist, since there is no git where that is
    unpacked."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        freeze(Path(base_dir, "src", "common"), self.distribution.get_version())


setup(version=version(), cmdclass={"build_py": BuildPy, "sdist": Sdist}, **arguments())
