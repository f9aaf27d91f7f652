"""A command of clients is one row and one function: those of a page, in a copy of the sources."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_course.harness.cluster import STEADY, Cluster, NodeProcess
from raftline_course.harness.processes import DEADLINE_S

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "develop" / "add-a-command.md"
READ_ROW = """
    Command("strlen", take.KEY, "how long the value of KEY is", READ, READS_KEY, ReplyForm.NUMBER),
"""[1:]
READ_FUNCTION = """

@applies("strlen")
def _strlen(store: Store, key: str) -> str | None:
    return f"STRLEN response: {len(store.get(key, ''))}"
"""


def block(name: str) -> str:
    """Return the lines of the page's code of this name."""
    (found,) = re.findall(rf"^```\w+ {name}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return str(found)


def insert(path: Path, behind: str, text: str) -> None:
    before, found, after = path.read_text().partition(behind)
    assert found
    path.write_text(before + behind + text + after)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of src/ with two more commands: the page's write, and a read."""
    copy = tmp_path_factory.mktemp("copy") / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    insert(copy / "wire" / "commands.py", "_ROWS = (\n", block("row") + READ_ROW)
    applied = copy / "state" / "commands.py"
    applied.write_text(applied.read_text() + "\n\n" + block("function") + READ_FUNCTION)
    return copy


@pytest.fixture(scope="module")
def node(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """The one node of a cluster, made from the copy; it leads."""
    with Cluster(tmp_path_factory.mktemp("node"), 1, *STEADY) as cluster:
        cluster["s1"].program = [sys.executable, str(source / "server.py")]
        yield cluster.start().led_by("s1")["s1"]


def run(source: Path, program: str, *words: str, typed: str = "") -> tuple[str, int]:
    """Run a program of the copy; return all that it prints, and its exit code."""
    done = subprocess.run(
        [sys.executable, str(source / program), *words],
        input=typed,
        text=True,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.stdout + done.stderr, done.returncode


def test_a_node_parses_applies_and_answers_the_new_command(node: NodeProcess) -> None:
    node.ask("set k two words")
    assert node.ask("  getdel k ") == "s1@GETDEL response: two words"
    assert node.ask("client4@getdel k") == "s1@GETDEL response, no such key: k"
    assert node.ask("getdel k k").startswith("s1@Sorry, getdel takes one key")
    assert "HELP response: getdel KEY | strlen KEY | get KEY" in node.ask("help")
    assert re.search(r"^\d+ \d+ getdel k$", node.log.read_text(), re.M)


def test_a_retry_takes_effect_once(node: NodeProcess) -> None:
    node.ask("set k 1")
    assert node.ask("client4#1@getdel k") == "s1#1@GETDEL response: 1"
    node.ask("set k 2")
    assert node.ask("client4#1@getdel k") == "s1#1@GETDEL response: 1"
    assert node.ask("get k") == "s1@GET response: 2"


def test_a_session_keeps_the_last_long_reply_alone(node: NodeProcess) -> None:
    long = "x" * 600
    for number in (1, 2):
        node.ask(f"set k {long}")
        assert node.ask(f"client5#{number}@getdel k").endswith(long)
    assert node.ask("client5#2@getdel k").endswith(long)
    assert "outcome unknown" in node.ask("client5#1@getdel k")


def test_a_read_is_confirmed_like_a_get_and_not_logged(node: NodeProcess) -> None:
    node.ask("set k four")
    for line in ("strlen k", "strlen k read lease", "strlen k read local"):
        assert node.ask(line) == "s1@STRLEN response: 4"
    assert "strlen" not in node.log.read_text()
    assert node.ask("strlen k read log") == "s1@STRLEN response: 4"
    assert "strlen k" in node.log.read_text()
    assert "strlen, get, stat and show may end in: read index" in node.ask("help")


def test_the_client_sends_the_new_command_and_shows_its_reply(
    node: NodeProcess, source: Path
) -> None:
    port = str(node.port)
    node.ask(r"set my\skey a\nb")
    said, code = run(source, "client.py", port, "--json", "getdel", "my key")
    told = {"ok": True, "verb": "getdel", "key": "my key", "value": "a\nb", "server": "s1"}
    assert (json.loads(said), code) == (told, 0)
    assert re.search(r" client-\d+#1@getdel my\\skey$", node.log.read_text(), re.M)
    assert run(source, "client.py", port, "getdel", "my key")[1] == 1
    node.ask("set k 12345")
    assert json.loads(run(source, "client.py", port, "--json", "strlen", "k")[0])["value"] == 5
    screen, _ = run(source, "client.py", port, "1", "--screen", typed="help getdel\ngetdl k\n")
    assert f"{'getdel KEY':<32}the value of KEY, which is removed" in screen
    assert "Did you mean: getdel KEY" in screen


def test_the_new_command_is_a_command_of_the_shell(node: NodeProcess, source: Path) -> None:
    node.ask("set k 5")
    at = f"localhost:{node.port}"
    assert run(source, "cli.py", "getdel", "k", "-q", "--at", at) == ("5\n", 0)
    assert "getdel" in run(source, "cli.py", "completion", "bash")[0]
    assert "getdel" in run(source, "cli.py", "--help")[0]
