"""Pack the sources that the page runs: `sources.py FILE.zip`, or `packed()` for a server."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from raftline_testing.runner.tree_copy import package_folders

ROOT = Path(__file__).resolve().parents[4]
BUGS = "course/labs/bugs"
UNUSED = {"static", "raftline", "tests", "bench", "__pycache__"}  # folders of `raftline`
# Of raftline_testing.
PACKAGES = ("doubles", "files", "histories", "transcripts", "virtual", "workloads")
COURSE = (  # for a reader's own core, and for the grader's schedules on it
    "labs/bugs/stage.py",
    "raftline_course/__init__.py",
    "raftline_course/home.py",
    "raftline_course/grading/*.py",
    "raftline_course/grading/isolation/*.py",
)
_MOMENT = (2020, 1, 1, 0, 0, 0)  # the same sources give the same file


def packed(root: Path = ROOT) -> bytes:
    """Return a zip with the packages `raftline` and `raftline_testing`, the bugs, and `boot.py`."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(_files(root)):
            archive.writestr(
                zipfile.ZipInfo(name, _MOMENT), path.read_bytes(), zipfile.ZIP_DEFLATED
            )
    return data.getvalue()


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    *folders, (_, testing) = package_folders(root)
    modules = [path for package in PACKAGES for path in (testing / package).rglob("*.py")]
    for path in [*testing.glob("*.py"), *modules]:
        yield f"raftline_testing/{path.relative_to(testing).as_posix()}", path
    for package, folder in folders:
        for path in folder.rglob("*.py"):
            name = path.relative_to(folder)
            if not UNUSED & set(name.parts):
                yield f"{package}/{name.as_posix()}", path
    course = root / "course"
    for pattern in COURSE:
        for path in course.glob(pattern):
            yield path.relative_to(course).as_posix(), path
    for pattern in ("bug-*.patch", "patching.py"):
        for path in (root / BUGS).glob(pattern):
            yield f"bugs/{path.name}", path
    yield "boot.py", Path(__file__).with_name("boot.py")


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(packed())
