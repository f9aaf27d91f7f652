"""The version: of a clone by its commit, of a build by git, and frozen in what is built."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pip._vendor.packaging.version import Version

from raftline.common.version import HASH_DIGITS, RELEASE, of_clone, of_install
from raftline.net.peers.build_exchange import read_build

ROOT = Path(__file__).parents[3]
HASH = "3fa94c1d20718d1c6a2f9f6f5a6d3c5e0b7a4a11"
COMING = f"{RELEASE.rpartition('.')[0]}.{int(RELEASE.rpartition('.')[2]) + 1}"
CONFIG = ROOT / "docs" / "site" / "conf.py"
NAMED = f"{RELEASE}.dev0+g{HASH[:HASH_DIGITS]}"
OF_A_BUILD = (
    "setup.py", "setup.cfg", "README.md", "LICENSE", "src/common/version.py",
    "deploy/git_version.py", "course/setup.py",
)  # fmt: skip
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]


def written(folder: Path, **files: str) -> Path:
    """Write files whose names have `__` in place of a slash; return the folder."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_clone_has_the_version_of_its_commit(tmp_path: Path) -> None:
    git = tmp_path / "clone" / ".git"
    written(git, HEAD="ref: refs/heads/main\n", refs__heads__main=f"{HASH}\n")
    assert of_clone(str(git.parent)) == NAMED
    written(git, HEAD=f"{HASH}\n")  # detached
    assert of_clone(str(git.parent)) == NAMED


def test_a_packed_name_and_a_linked_work_tree_are_read_as_well(tmp_path: Path) -> None:
    git = tmp_path / "clone" / ".git"
    other = "0" * 40
    packed = f"# pack-refs with: peeled\n{other} refs/heads/mai\n{HASH} refs/heads/main\n^{other}\n"
    written(git, HEAD="ref: refs/heads/main\n", packed_refs=packed)
    assert of_clone(str(git.parent)) == NAMED
    own = written(git / "worktrees" / "two", HEAD="ref: refs/heads/main\n", commondir="../..\n")
    two = written(tmp_path / "two")
    two.mkdir()
    (two / ".git").write_text(f"gitdir: {own}\n")
    assert of_clone(str(two)) == NAMED


@pytest.mark.parametrize("head", [None, "", "ref: refs/heads/none\n", "\ud800", "ref: ", HASH[:39]])
def test_what_names_no_commit_is_left_out(tmp_path: Path, head: str | None) -> None:
    git = tmp_path / ".git"
    if head is not None:
        git.mkdir()
        (git / "HEAD").write_bytes(head.encode("utf-8", "surrogatepass"))
    assert of_clone(str(tmp_path)) == f"{RELEASE}.dev0"


@pytest.mark.parametrize(
    ("installed", "is_told"),
    [
        (f"{RELEASE}.dev1759+g{HASH[:HASH_DIGITS]}", True),
        (f"{RELEASE}.dev1759+g{HASH[:HASH_DIGITS]}.d0123abcd", True),  # with changes
        (f"{RELEASE}.dev1758+g{'0' * HASH_DIGITS}", False),  # a commit before
        (RELEASE, False),
        (None, False),
    ],
)
def test_an_editable_install_has_the_version_that_pip_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str | None, is_told: bool
) -> None:
    facts = tmp_path / "raftline-1.dist-info"
    if installed:
        written(facts, METADATA=f"Metadata-Version: 2.1\nName: raftline\nVersion: {installed}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert of_install(NAMED) == (installed if is_told else NAMED)
    assert of_install(f"{RELEASE}.dev0") == f"{RELEASE}.dev0"  # of no known commit


def test_a_version_can_be_sent_to_a_peer() -> None:
    build = read_build(f"Level 1 version {RELEASE}.dev1041+g{HASH[:HASH_DIGITS]}.d0123abcd")
    assert build is not None
    assert build.version.endswith(".d0123abcd")


# --- of a build -------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone with one commit that holds what setup.py needs for the version."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    if importlib.util.find_spec("setuptools") is None:  # an import would replace distutils here
        pytest.skip("setuptools is not installed")
    clone = tmp_path / "clone"
    for name in OF_A_BUILD:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    git(clone, "init", "-q")
    commit(clone)
    return clone


def git(clone: Path, *words: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [*GIT, *words], cwd=clone, env=clean, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(clone: Path) -> str:
    """Commit all that is there; return its hash, as a version has it."""
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "--allow-empty", "-m", "one more")
    return git(clone, "rev-parse", "HEAD")[:HASH_DIGITS]


def built(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "--version"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.slow
def test_each_commit_and_each_change_has_a_version_of_its_own(clone: Path) -> None:
    assert built(clone) == f"{RELEASE}.dev1+g{git(clone, 'rev-parse', 'HEAD')[:HASH_DIGITS]}"
    second = commit(clone)
    assert built(clone) == f"{RELEASE}.dev2+g{second}"
    changed = set()
    for text in ("one", "two"):
        (clone / "README.md").write_text(text)
        changed.add(built(clone))
    assert len(changed) == 2
    assert all(re.fullmatch(rf"{RELEASE}\.dev2\+g{second}\.d[0-9a-f]{{8}}", one) for one in changed)


@pytest.mark.slow
def test_a_later_commit_is_an_upgrade_for_pip(clone: Path) -> None:
    version = runpy.run_path(str(clone / "deploy" / "git_version.py"))["version"]
    versions = []
    for number in range(12):  # 10 is not earlier than 9
        versions.append(version(clone))
        if number == 10:
            git(clone, "tag", f"v{RELEASE}")
            versions.append(version(clone))
        commit(clone)
    assert RELEASE in versions
    assert sorted(versions, key=Version) == versions
    assert len(set(map(Version, versions))) == len(versions)


@pytest.mark.slow
def test_the_tagged_commit_alone_is_the_release(clone: Path) -> None:
    git(clone, "tag", f"v{RELEASE}")
    assert built(clone) == RELEASE
    (clone / "README.md").write_text("changed")
    assert built(clone).startswith(f"{COMING}.dev1+g")
    commit(clone)
    assert built(clone).startswith(f"{COMING}.dev2+g")


@pytest.mark.slow
def test_the_course_and_the_pages_have_the_version_of_the_store(clone: Path) -> None:
    store = built(clone)
    assert ".dev1+g" in store
    assert built(clone / "course") == store
    printed = subprocess.run(
        [sys.executable, clone / "deploy" / "git_version.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == store
    assert 'str(ROOT / "deploy/git_version.py"))["version"]()' in CONFIG.read_text()


@pytest.mark.slow
def test_a_shallow_clone_is_refused_a_release(clone: Path) -> None:
    commit(clone)
    shallow = clone.parent / "shallow"
    git(clone, "clone", "-q", "--depth=1", f"file://{clone}", str(shallow))
    done = subprocess.run(
        [sys.executable, shallow / "deploy" / "git_version.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.partition("+")[0]) == (1, f"{RELEASE}.dev0")
    assert "git fetch --unshallow" in done.stderr


@pytest.mark.slow
def test_an_sdist_keeps_its_version_where_there_is_no_git(clone: Path) -> None:
    written(clone / "src" / "common", **{"frozen.py": 'VERSION = "0.2.0.dev7+gabc"\n'})
    assert built(clone) == "0.2.0.dev7+gabc"


@pytest.mark.slow
def test_a_copy_without_git_says_so_by_its_version(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    assert built(clone) == f"{RELEASE}.dev0"
