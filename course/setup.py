"""How the course is built, from a clone: its package, with the labs and the world of the tests."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CLONE = Path(__file__).resolve().parents[1]
# The labs, and what the grader and the pictures of transcripts drive.
TAKEN = (
    "labs/**/*", "tests/*.py", "tests/core/cores.py", "tests/virtual/*.py",
    "tests/transcripts/**/*",
)  # fmt: skip
LEFT_OUT = {"__pycache__", "conftest.py"}


class BuildPy(build_py):
    """Puts those files of the clone beside the package, for `raftline_course.home`."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for path in (path for pattern in TAKEN for path in sorted(CLONE.glob(pattern))):
            if path.is_file() and not LEFT_OUT & set(path.parts) and path.stem[:5] != "test_":
                to = Path(self.build_lib, "raftline_course", "clone", path.relative_to(CLONE))
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)


version = runpy.run_path(str(CLONE / "deploy/git_version.py"))["version"]()
# It looks into the store's modules, so it takes no older one with it.
needed = [f"raftline>={version.partition('+')[0]}", "tomli>=1.1; python_version < '3.11'"]
setup(version=version, install_requires=needed, cmdclass={"build_py": BuildPy})
