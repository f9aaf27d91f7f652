"""Patroni's own acceptance tests (its folder `features`) with raftline as the store.

    build/patroni-env/bin/python integrations/patroni/tests/run_features.py CLONE [FEATURE …]

CLONE is a clone of Patroni's repository: its package has no tests of this kind. Nothing is written
there. The installed Patroni is tested. `behave` and `coverage` have to be installed next to it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import patroni
from members import folder_for_all, postgresql, user

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[2] / "build" / "patroni-features"  # the logs of the last run
# Patroni's tests take their store's class from the classes that this file defines.
STORE = f"""
sys.path.insert(0, {str(HERE)!r})
from features_store import controller
RaftlineController = controller(AbstractDcsController)
RaftlineController.__name__ = "RaftlineController"
"""


def main(clone: Path, features: list[str]) -> int:
    bin_dir = postgresql()
    if bin_dir is None or not (clone / "features" / "environment.py").is_file():
        sys.exit("[!] PostgreSQL is not installed, or there is no clone of Patroni at CLONE.")
    with folder_for_all() as folder:
        for name in ("features", "patroni.py", "patronictl.py", "postgres0.yml"):
            copy = shutil.copytree if (clone / name).is_dir() else shutil.copy
            copy(clone / name, folder / name)
        (folder / "patroni").symlink_to(Path(str(patroni.__file__)).parent)
        with (folder / "features" / "environment.py").open("a") as environment:
            environment.write(STORE)
        options = user()
        if options:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, options["user"], options["group"], follow_symlinks=False)
        asked = [f"features/{name}.feature" for name in features]
        done = subprocess.run(
            [sys.executable, "-m", "behave", "--format", "progress3", "--show-timings", *asked],
            cwd=folder,
            check=False,
            **options,
            env={
                **os.environ,
                "DCS": "raftline",
                "HOME": str(folder),
                "LC_ALL": "C.UTF-8",
                "PATH": f"{bin_dir}:{os.environ['PATH']}",
            },
        )
        shutil.copytree(folder / "features" / "output", OUTPUT, dirs_exist_ok=True)
        return done.returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} CLONE [FEATURE …]")
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
