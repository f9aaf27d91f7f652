"""docs/develop/add-a-command.md names all there is to touch: its changes, made in a copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.common.process.server_process import WAIT_S
from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.runner.tree_copy import SOURCES, copy_tree
from tests.page_changes import Change, changes

# The lists that a command is in.
LISTS = ("command_pages", "limits_page", "packages", "public_names", "refusal_sentences", "sizes")
LISTS_S = 900  # in which the tests of the lists are over on any machine
# A read, which the page describes in words.
STRLEN = [
    Change("src/wire/commands/command_table.py", (
        " _ROWS = (",
        '+    Command("strlen", take.KEY, "its length", READ, READS_KEY, ReplyForm.NUMBER),',
    )),
    Change("src/state/commands/key_commands.py", (
        '+@applies("strlen")',
        "+def _strlen(store: Store, key: str) -> str | None:",
        """+    return f"STRLEN response: {len(store.get(key, ''))}\"""",
        "+",
        "+",
        ' @applies("get")',
    )),
]  # fmt: skip


def change(copy: Path, made: list[Change]) -> None:
    for each in made:
        path = copy / each.file
        path.write_text(each.applied(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the changes of the page, and what is made from the row."""
    copy = tmp_path_factory.mktemp("copy") / "raftline"
    copy_tree(copy)
    change(copy, changes())
    python(copy, "-m", "tests.lists.test_command_pages")
    python(copy, "-m", "tests.lists.test_public_names")
    return copy


@pytest.fixture(scope="module")
def source(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the copy with a read as well."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copytree(copy / name, folder / name)
    change(folder, STRLEN)
    return folder / "src"


@pytest.fixture(scope="module")
def node(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """The one node of a cluster, made from the copy; it leads, and its log has an identity."""
    with Cluster(tmp_path_factory.mktemp("node"), 1, "--pace", "class") as cluster:
        cluster["s1"].program = [sys.executable, str(source / "server.py")]
        yield cluster.start().wait_until_begun().leader()


def python(copy: Path, *words: str) -> str:
    """Run Python in a copy, which finds its packages there; return what it prints."""
    path = os.pathsep.join(str(copy / folder) for folder in ("src", "course", "."))
    done = subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        timeout=LISTS_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(source: Path, program: str, *words: str, typed: str = "") -> tuple[str, int]:
    """Run a program of the copy; return all that it prints, and its exit code."""
    done = subprocess.run(
        [sys.executable, str(source / program), *words],
        input=typed,
        text=True,
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    return without_notices(done.stdout + done.stderr), done.returncode


@pytest.mark.timeout(2 * LISTS_S)
def test_tests_of_the_page_pass_in_the_copy(copy: Path) -> None:
    """The lists of the suite and the tests on the page pass in the copy."""
    pytest_of = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider")
    python(copy, *pytest_of, *(f"tests/lists/test_{name}.py" for name in LISTS))
    of_the_page = [each.file for each in changes() if "tests/" in each.file]
    reported = python(
        copy, *pytest_of, *of_the_page, "tests/core/lines/test_grammar.py", "-k", "getdel"
    )
    assert re.search(r"^4 passed", reported, re.M)


def test_the_changes_are_in_the_form_of_the_repository(copy: Path) -> None:
    files = {each.file for each in changes() if each.file.endswith(".py")}
    assert python(copy, "-m", "ruff", "check", *files) == "All checks passed!\n"
    formatted = python(copy, "-m", "ruff", "format", "--check", *files)
    assert formatted == f"{len(files)} files already formatted\n"


def test_the_typed_client_has_it(node: NodeProcess, source: Path) -> None:
    program = f"""if True:
        import asyncio, raftline
        at = "localhost:{node.port}"
        with raftline.connect(at) as kv:
            kv["t"] = "two words"
            print([kv.getdel("t"), kv.getdel("t")])
            kv["t"] = "5"
            print(kv.txn().then.getdel("t").getdel("t").commit().results)
        async def ask():
            async with raftline.aio.connect(at) as kv:
                await kv.set("t", "6")
                print([await kv.getdel("t"), await kv.getdel("t")])
        asyncio.run(ask())
    """
    printed = python(source.parent, "-c", program)
    assert printed.splitlines() == ["['two words', None]", "['5', None]", "['6', None]"]


def test_a_node_parses_applies_and_answers_the_new_command(node: NodeProcess) -> None:
    node.ask("set k two words")
    assert node.ask("  getdel k ") == "s1@GETDEL response: two words"
    assert node.ask("client4@getdel k") == "s1@GETDEL response, no such key: k"
    assert node.ask("getdel k k").startswith("s1@Sorry, getdel takes one key")
    assert "HELP response: strlen KEY | get KEY | " in node.ask("help all")
    assert " | delete KEY | getdel KEY | setnx KEY VALUE | " in node.ask("help all")
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
    assert "strlen, get, stat, read and show may end in: read index" in node.ask("help all")


def test_the_client_sends_the_new_command_and_shows_its_reply(
    node: NodeProcess, source: Path
) -> None:
    port = str(node.port)
    node.ask(r"set my\skey a\nb")
    said, code = run(source, "client.py", port, "--json", "getdel", "my key")
    expected = {"ok": True, "verb": "getdel", "key": "my key", "value": "a\nb", "server": "s1"}
    assert (json.loads(said), code) == (expected, 0)
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
    assert "\n  getdel " in run(source, "cli.py", "--help")[0]
    assert "getdel" in run(source, "cli.py", "--help")[0]
