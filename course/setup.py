"""How the course is built, from a clone: its package, the labs, and the harness."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CLONE = Path(__file__).resolve().parents[1]
LEFT_OUT = {"__pycache__", "solutions"}  # these are for teachers, who have a clone


class BuildPy(build_py):
    """Puts the labs and the evening's copy into the package, for `raftline_course.home`, and the
    harness next to it: `raftline_testing`, and its parts in the library and the extensions."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for folder in ("labs", "small"):
            to = Path(self.build_lib, "raftline_course", "clone", folder)
            self._take(CLONE / "course" / folder, to)
        harness = "raftline_testing"
        self._take(CLONE / "testing" / harness, Path(self.build_lib, harness))
        for folder in (CLONE / "library/harness", *CLONE.glob("extensions/*/harness")):
            to = Path(self.build_lib, harness, "parts", folder.relative_to(CLONE))
            self._take(folder, to)

    def _take(self, source, target):
        for path in sorted(source.rglob("*")):
            if path.is_file() and not LEFT_OUT & set(path.parts):
                to = target / path.relative_to(source)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)


version = runpy.run_path(str(CLONE / "deploy/git_version.py"))["version"]()
# It looks into the store's modules, so it takes no older one with it.
needed = [f"raftline>={version.partition('+')[0]}", "tomli>=1.1; python_version < '3.11'"]
setup(version=version, install_requires=needed, cmdclass={"build_py": BuildPy})
