"""`raftline conform`: raftline passes, a broken node is shown, bad usage is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labs.bugs.play import BUGS, copy_with_bug
from tests.processes.run_conform_bugs import FAILS

ROOT = Path(__file__).parents[2]
NODE = ["{name}", "{port}", "--dir", "{dir}"]


def conform(
    *words: str, sources: Path = ROOT / "src", timeout_s: float = 300.0
) -> subprocess.CompletedProcess[str]:
    node = ["--", sys.executable, str(sources / "server.py"), *NODE]
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "conform", *words]
    if "--" not in words and "--list" not in words:
        command += node
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT
    )


# One or two of each level; `make conform` takes all.
SLICE = (
    "get-set-delete", "in-order", "majority-of-four", "late-vote", "conflict", "own-term-alone",
    "torn-write", "synced-before-answer", "first-read", "retries-in-any-order", "piece-missing",
    "new-majority", "lost-disk", "three-count",
)  # fmt: skip


def test_raftline_passes_a_slice_of_each_level() -> None:
    done = conform(*(word for name in SLICE for word in ("--only", name)))
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all passed\n")
    for name in SLICE:
        assert f" {name}   " in done.stdout


@pytest.mark.parametrize(
    ("bug", "check", "said"),
    [
        (2, "one-vote", "s1 votes for s3 in term 1, in which it voted for s2"),
        (4, "no-cut-without-conflict", "is not: I am up to date term 1 index 3"),
        (14, "synced-before-answer", "no sync was done since the line"),
        (22, "lost-disk", "which lacks an entry that s1 had acknowledged"),
    ],
)
def test_a_bug_is_shown_with_its_rule_and_transcript(
    tmp_path: Path, bug: int, check: str, said: str
) -> None:
    done = conform("--only", check, sources=copy_with_bug(bug, tmp_path))
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
    assert "    rule: " in done.stdout
    assert " > s2@RequestVote 1-0-0\n" in done.stdout  # said to the node
    assert " < s1@Count on me term 1   (to s2)\n" in done.stdout  # and by it
    assert "FAILED     " in done.stdout


def test_json_is_an_object_a_check() -> None:
    done = conform("--json", "--only", "reply-name", "--only", "id-echo")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["name"]: one["verdict"] for one in found} == {
        "reply-name": "passed",
        "id-echo": "passed",
    }
    assert {one["level"] for one in found} == {1}


def test_each_check_has_a_rule_and_a_section() -> None:
    done = conform("--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) >= 100
    assert {line[0] for line in lines} == set("12345678")
    assert len({line.split(":")[0] for line in lines}) == len(lines), "a name is there twice"
    for line in lines:
        assert line[0] in "12345678"
        assert line.endswith(")"), line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "node", "{name}", "{port}"], "does not name {dir}"),
        (["--level", "9", "--", "n"], "'9' is no level"),
        (["--only", "nothing", "--", "n"], "there is no check 'nothing'"),
        (["--", "/no/such/node", "{name}", "{port}", "{dir}"], "/no/such/node: No such file"),
        (["--jobs", "0", "--", "n"], "'0' is no number"),
        (["--with", "'", "--", "node", "{name}{port}{dir}"], "--with: "),
    ],
)
def test_bad_usage_is_one_line(words: list[str], said: str) -> None:
    done = conform(*words)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_is_needed() -> None:
    done = conform("--level", "1", "--")
    assert done.returncode == 2
    assert "the command that starts a node is missing: it comes after --" in done.stderr


def test_a_node_that_ends_at_once_is_reported_with_what_it_printed() -> None:
    done = conform(
        "--only", "reply-name", "--", sys.executable, "-c", "print('no such disk')", *NODE
    )
    assert done.returncode == 1
    assert "s1 takes no connection. It printed:\n      no such disk\n" in done.stdout


def test_each_bug_of_the_labs_has_its_check_and_its_row_on_the_page() -> None:
    levels = {
        line.split()[1].rstrip(":"): line[0] for line in conform("--list").stdout.splitlines()
    }
    page = (ROOT / "course" / "docs" / "conform.md").read_text(encoding="utf-8")
    rows = {
        int(number): (level, name)
        for number, level, name in re.findall(r"^\| (\d+) [^|]+\| (\d) \| `(\S+)` \|$", page, re.M)
    }
    assert rows == {number: (levels[name], name) for number, name in FAILS.items()}
    assert sorted(rows) == BUGS


def test_another_program_may_be_the_other_nodes_of_a_cluster() -> None:
    """Here it is raftline again, by another command."""
    node = f"{sys.executable} {ROOT / 'src' / 'server.py'} {{name}} {{port}} --dir {{dir}}"
    done = conform("--only", "leaders-killed", "--with", f"{node} --reads log")
    assert done.returncode == 0, done.stdout


def test_a_node_that_never_answers_fails_by_the_missing_line(tmp_path: Path) -> None:
    mute = tmp_path / "mute.py"
    mute.write_text(
        "import socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[2])))\n"
        "kept = []\n"
        "while True: kept.append(listener.accept())\n"
    )
    words = ["--only", "one-vote", "--election-ms", "100"]
    done = conform(*words, "--", sys.executable, str(mute), *NODE)
    assert done.returncode == 1
    assert "    no answer to RequestVote 1-0-0\n" in done.stdout
    assert " > s2@RequestVote 1-0-0\n" in done.stdout
