"""The bugs of the lab fit the program as it is. A change near one has to mend its patch as well."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from labs.bugs import patching, play
from raftline_testing.runner.tree_copy import copy_sources


def test_every_bug_changes_one_file_and_fits_as_git_applies_it(tmp_path: Path) -> None:
    wrong = []
    sources = copy_sources(tmp_path)
    for number in play.BUGS:
        patch = play.HERE / f"bug-{number:02}.patch"
        applied = subprocess.run(
            ["git", "apply", "--check", str(patch)],
            cwd=tmp_path,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        if applied.returncode != 0:
            wrong.append(f"bug {number}: {applied.stderr}")
        patching.apply_patch(patch, sources)
        changed = [
            path
            for path in sources.rglob("*.py")
            if path.read_bytes() != (play.SOURCES / path.relative_to(sources)).read_bytes()
        ]
        if len(changed) != 1:
            wrong.append(f"bug {number} changes {changed}")
        for path in changed:
            shutil.copyfile(play.SOURCES / path.relative_to(sources), path)
    assert wrong == []
