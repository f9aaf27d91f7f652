"""Pack the sources that the page runs: `sources.py FILE.zip`, or `packed()` for a server."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from raftline.common.extensions import EXTENSIONS

ROOT = Path(__file__).resolve().parents[4]
BUGS = "course/labs/bugs"
UNUSED = ("picture/view/static", "raftline/", "__pycache__")  # below src
# Of raftline_testing: each extension has its part in a schedule.
PACKAGES = [
    "doubles",
    "files",
    "histories",
    "transcripts",
    "virtual",
    "workloads",
    *(extension.rpartition(".")[2] for extension in EXTENSIONS),
]
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
    source, testing = root / "src", root / "testing" / "raftline_testing"
    for path in source.rglob("*.py"):
        name = path.relative_to(source).as_posix()
        if not any(part in name for part in UNUSED):
            yield f"raftline/{name}", path
    modules = [path for package in PACKAGES for path in (testing / package).rglob("*.py")]
    for path in [*testing.glob("*.py"), *modules]:
        yield f"raftline_testing/{path.relative_to(testing).as_posix()}", path
    course = root / "course"
    for pattern in COURSE:
        for path in course.glob(pattern):
            yield path.relative_to(course).as_posix(), path
    for pattern in ("bug-*.patch", "patching.py"):
        for path in (root / BUGS).glob(pattern):
            yield f"bugs/{path.name}", path
    yield "boot.py", testing / "picture" / "lab" / "boot.py"


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(packed())
