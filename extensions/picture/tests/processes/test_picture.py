"""`raftline picture`: the page of a recording, and what it refuses."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from raftline.picture.harness.saved_page import held
from raftline_testing.nodes.cluster import STEADY, Cluster

CLI = Path(__file__).parents[4] / "src" / "cli.py"
LEARN = Path(__file__).parents[4] / "docs" / "learn"


def picture(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLI), "picture", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_recordings_of_two_nodes_become_one_page(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        for node in cluster.nodes:
            node.options = [*node.options, "--record", str(tmp_path / f"{node.name}.steps")]
        cluster.start().led_by("s1")
        cluster.ask("client4@set drawn <b>5")
        for node in cluster.nodes:
            node.terminate()  # and so ends its recording
    page = tmp_path / "page.html"
    files = [str(tmp_path / f"{name}.steps") for name in ("s1", "s2", "s3")]
    done = picture(*files, "--out", str(page))
    assert re.fullmatch(rf"{page} shows [0-9]+ steps\n", done.stdout), done.stderr
    nowhere = str(tmp_path / "none" / "page.html")
    refused = picture(*files, "--out", nowhere)
    assert refused.stderr == f"raftline: --out {nowhere}: No such file or directory\n"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600  # as the recordings
    data = held(page.read_text(encoding="utf-8"))
    assert data["members"] == ["s1", "s2", "s3"]
    assert any("set drawn <b>5" in json.dumps(one.get("append", "")) for one in data["events"])
    assert any(event["k"] == "arrive" for event in data["events"])


def test_a_file_that_is_not_a_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "poem"
    path.write_text("two words\n")
    done = picture(str(path))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"raftline: {path}: it is not a recording of a node\n"
    assert picture(str(tmp_path / "none")).returncode == 2


def test_a_transcript_becomes_a_page_of_all_its_servers(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    transcript = str(CLI.parents[1] / "tests" / "transcripts" / "leader_dies.txt")
    done = picture(transcript, "--out", str(page))
    assert re.fullmatch(rf"{page} shows [0-9]+ steps\n", done.stdout), done.stderr
    text = page.read_text(encoding="utf-8")
    assert '"members": ["s1", "s2", "s3"]' in text
    assert "my election timer has run out" in text
    both = picture(transcript, transcript)
    assert both.returncode == 2
    assert "a transcript is drawn alone" in both.stderr


@pytest.mark.parametrize("run", sorted(path.stem for path in LEARN.glob("*.txt")))
def test_each_run_of_the_learner_is_drawn_whole(run: str, tmp_path: Path) -> None:
    """The comments of its transcript are the sentences of the page."""
    page = tmp_path / "page.html"
    done = picture(str(LEARN / f"{run}.txt"), "--out", str(page))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(held(page.read_text(encoding="utf-8"))["story"]) > 4


def test_impossible_act_ends_the_page_of_a_transcript(tmp_path: Path) -> None:
    """An act that cannot be done ends the page of a transcript."""
    path, page = tmp_path / "own.txt", tmp_path / "page.html"
    path.write_text("# Mine.\n> start s1 s2 s3\n> settle 200ms\n> crash s9\n")
    done = picture(str(path), "--out", str(page))
    assert done.returncode == 3
    where = "(at '> crash s9'); the page ends there"
    assert done.stderr == f"raftline: {path}: KeyError: 's9' {where}\n"
    assert "so I lead" in page.read_text(encoding="utf-8")
