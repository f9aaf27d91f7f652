"""The lab on replicated objects, run as its sheet says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "labs" / "objects" / "check.py"


# seed 002-01, seed 002-02, seed 002-03, seed 002-04, seed 002-05, seed 002-06, seed 002-07
# seed 002-08, seed 002-09, seed 002-10, seed 002-11, seed 002-12, seed 002-13
def test_every_row_of_the_sheet_on_objects_holds() -> None:
    ended = subprocess.run(
        [sys.executable, str(CHECK)], capture_output=True, text=True, timeout=110, check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    rows = {line.split()[1] for line in ended.stdout.splitlines() if line.startswith("ok ")}
    assert rows == {f"002-{number:02}" for number in range(1, 14)}, said
