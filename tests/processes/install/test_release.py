"""The release: an sdist, the wheel made from it, and that wheel in a fresh environment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from raftline.common.effects import derive_parts
from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.processes import DEADLINE_S, ports_in_a_row
from raftline_testing.runner.tree_copy import SOURCES

ROOT = Path(__file__).resolve().parents[3]
PARTS = (
    "setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE",
    "CHANGELOG.md", *SOURCES, "docs", "deploy",
)  # fmt: skip
# Without pip and `build`, so that the test needs no network.
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
PROGRAM = """
import sys, raftline
with raftline.connect(sys.argv[1]) as cluster:
    lamps = raftline.ReplicatedDict("lamps", node=cluster)
    lamps["kitchen"] = "on"
    print(raftline.__file__, lamps["kitchen"])
"""


def run(*command: str | Path, folder: Path) -> str:
    """Run a command to its end, without what the environment adds to Python's path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(
        command,
        cwd=folder,
        env=clean,
        text=True,
        timeout=16 * DEADLINE_S,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert ended.returncode == 0, ended.stdout
    return without_notices(ended.stdout)


def relative_modules(folder: Path) -> list[Path]:
    """Return the package's modules; `raftline/` stands in for it in a clone."""
    found = [path.relative_to(folder) for path in folder.rglob("*.py")]
    return [path for path in found if not {"raftline", "tests", "harness", "bench"} & {*path.parts}]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an unpacked sdist."""
    folder = tmp_path_factory.mktemp("release")
    clone = folder / "clone"
    clone.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "tests")
            )
        else:
            shutil.copy(ROOT / name, clone)
    if shutil.which("git") is not None:  # so that the version can't be made up where it is unpacked
        for words in (("init", "-q"), ("add", "setup.cfg"), ("commit", "-qm", "one")):
            named = ("-c", "user.name=a", "-c", "user.email=a@example.org")
            run("git", *named, *words, folder=clone)
    run(sys.executable, "-c", BUILD.format("sdist"), folder, folder=clone)
    (sdist,) = folder.glob("raftline-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    return folder / sdist.name.removesuffix(".tar.gz")


def test_the_sdist_holds_the_pages_and_runs_as_a_clone_does(unpacked: Path) -> None:
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")}
    assert [page for page in sorted(pages) if not (unpacked / page).is_file()] == []
    assert (unpacked / "CHANGELOG.md").is_file()
    assert (unpacked / "src" / "py.typed").is_file()
    said = run(sys.executable, "src/server.py", "--version", folder=unpacked)
    assert said.endswith(f" {unpacked.name.removeprefix('raftline-')} (pure)\n")


def test_what_is_built_keeps_the_version_of_its_clone(unpacked: Path) -> None:
    frozen = unpacked / "src" / "common" / "frozen.py"
    if shutil.which("git") is not None:
        assert ".dev1+g" in unpacked.name
    assert f'VERSION = "{unpacked.name.removeprefix("raftline-")}"' in frozen.read_text()
    assert not (ROOT / "src" / "common" / "frozen.py").exists()


def test_the_wheel_runs_a_cluster_in_a_fresh_environment(unpacked: Path, tmp_path: Path) -> None:
    run(sys.executable, "-c", BUILD.format("wheel"), tmp_path, folder=unpacked)
    (wheel,) = tmp_path.glob("raftline-*.whl")
    modules = {f"raftline/{path}" for name in SOURCES for path in relative_modules(ROOT / name)}
    archive = zipfile.ZipFile(wheel)
    assert f"PARTS = {derive_parts()!r}\n".encode() in archive.read("raftline/common/frozen.py")
    held = set(archive.namelist())
    assert modules - held == set()
    assert not any(name.startswith("raftline/raftline/") for name in held)
    venv.create(tmp_path / "own", with_pip=True)
    programs = tmp_path / "own" / "bin"
    offline = ("--no-index", "--no-deps", "--quiet", "--disable-pip-version-check")
    run(programs / "python", "-m", "pip", "install", *offline, wheel, folder=tmp_path)
    said = run(programs / "raftline", "--version", folder=tmp_path)
    assert said == f"raftline {unpacked.name.removeprefix('raftline-')} (pure)\n"
    assert f"-{unpacked.name.removeprefix('raftline-')}-" in wheel.name
    first = ports_in_a_row(3)
    with subprocess.Popen(
        [programs / "raftline", "up", "--dir", "logs", "--base-port", str(first)],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as cluster:
        try:
            assert cluster.stdout
            assert any("3 nodes up" in line for line in cluster.stdout)
            at = ("--at", f"localhost:{first}")
            said = run(programs / "raftline", "set", *at, "b", "5", folder=tmp_path)
            assert said == "SET response: b set to 5\n"
            said = run(programs / "raftline", "get", *at, "b", folder=tmp_path)
            assert said == "5\n"
            said = run(programs / "python", "-c", PROGRAM, at[1], folder=tmp_path)
            file, value = said.split()
            assert Path(file).is_relative_to(tmp_path / "own")
            assert value == "on"
            os.kill(cluster.pid, signal.SIGINT)
            cluster.communicate(timeout=4 * DEADLINE_S)
            assert cluster.returncode == 0
        finally:
            if cluster.poll() is None:
                os.killpg(cluster.pid, signal.SIGKILL)
