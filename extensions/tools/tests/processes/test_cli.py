"""The `raftline` command where folders can't be read, are gone, or names are none: one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline import cli
from raftline.common.arguments import typed
from raftline_testing.doubles import in_process
from raftline_testing.doubles.scripted_node import Start, scripted_nodes, store

SOURCE = Path(__file__).parents[4] / "src"


def complaint_of(
    folder: Path, *words: str, before: str = "exec", powerless: bool = False
) -> tuple[int, str]:
    """Run a command in `folder`; return its exit status and what it complains of."""
    program = [sys.executable, "-m", "raftline", *words]
    if powerless and os.geteuid() == 0:  # root reads what it likes, unless it gives that up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv is not installed")
        program = [setpriv, "--bounding-set=-all", "--inh-caps=-all", *program]
    done = subprocess.run(
        ["sh", "-c", f'{before} "$@"', "sh", *program],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("status --dir shut", 2), ("up --dir shut", 2), ("recover s1 --dir shut", 2),
        ("backup new --from s1 --dir shut", 2), ("backup new --dir shut", 2),
        ("fsck shut", 3), ("fsck --dir shut", 3), ("fsck shut/s1", 2),
        ("server s1 1 --dir shut", 3), ("server s1 1 --dir shut --register", 2),
        ("restore shut/backup new --members s1=localhost:1", 2), ("simulate shut/metrics", 2),
    ],
)  # fmt: skip
def test_a_path_without_permission_is_named_in_one_line(
    tmp_path: Path, command: str, status: int
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / "server-configuration.txt").write_text("s1 localhost 1\n")
    shut.chmod(0)
    try:
        code, complaint = complaint_of(tmp_path, *command.split(), powerless=True)
    finally:
        shut.chmod(0o700)
    assert code == status
    assert complaint.count("\n") == 1
    assert "shut" in complaint
    assert "Permission denied" in complaint


@pytest.mark.parametrize("command", ["status", "fsck", "recover s1", "server s1 1"])
def test_a_current_folder_that_is_gone_is_named_in_one_line(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code, complaint = complaint_of(gone, *command.split(), before='rmdir "$PWD"; exec')
    assert (code, complaint.count("\n")) == (2, 1)
    assert "the current folder was deleted; change to an existing folder" in complaint


@pytest.mark.parametrize("command", ["secret new", "certs new --node s1=h1"])
def test_file_cut_off_by_a_full_disk_is_named_and_can_be_redone(
    tmp_path: Path, command: str
) -> None:
    """A file that a full disk cuts off is named and can be made later."""
    code, complaint = complaint_of(tmp_path, *command.split(), before="ulimit -f 0; exec")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "new" in complaint
    assert "File too large" in complaint
    assert complaint_of(tmp_path, *command.split()) == (0, "")


@pytest.mark.parametrize("command", ["recover ../x --yes", "backup new --from ../x"])
def test_an_invalid_name_makes_no_files_elsewhere(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (tmp_path / "x.log").write_text("1 1 set a 4\n")
    (folder / "server-configuration.txt").write_text("s1 localhost 1\n")
    code, complaint = complaint_of(tmp_path, *command.split(), "--dir", "logs")
    assert code == 2
    assert complaint.startswith("raftline: '../x' is not the name of a node: a letter, then ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "logs",
        "server-configuration.txt",
        "x.log",
    ]


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """Run a command in this process; return its exit status and what it complains of."""
    try:
        code: object = cli.main(words)
    except SystemExit as end:
        code = end.code
    output, errors = capsys.readouterr()
    assert output == ""
    return code, errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "raftline: error: there is no command 'statsu'; did you mean status? Try: "),
        (["nonsense"], "raftline: error: there is no command 'nonsense'. Try: raftline --help"),
        (["help", "nonsense"], "raftline: error: there is no command 'nonsense'. "),
        (["--nonsense"], "raftline: error: unrecognized arguments: --nonsense. Try: raftline -"),
        (["--at", "h:1"], "raftline: error: a command is missing. Try: raftline --help"),
        (["--at", "h:1", "statsu"], "raftline: error: there is no command 'statsu'; did you mean"),
        (["--at", "h", "status"], "raftline status: error: argument --at: 'h' is not an address: "),
        (["members", "extra"], "raftline members: error: unrecognized arguments: extra. Try: raf"),
        (["status", "--nonsense"], "raftline status: error: unrecognized arguments: --nonsense. "),
        (["up", "-n", "0"], "raftline up: error: argument -n: '0' is not a number of nodes, 1"),
        (["up", "--dir", ""], "raftline: --dir: names no folder; give one, or leave it out"),
        (["status", "--dir", ""], "raftline: --dir: names no folder"),
        (["server", "s1", "1", "--dir", ""], "[!] --dir: names no folder"),
        (["server", "s1", "1", "--join", "h:1", "--dir", ""], "[!] --dir: names no folder"),
        (["server"], "raftline server: error: the following arguments are required: NAME, PORT. "),
        (["server", "s1", "1", "--max-connections", "0"], "'0' is not a number of connections, 1"),
        (["server", "s1", "1", "--max-connections", "9" * 12], "is not a number of connections"),
        (["client", "-q"], "raftline client: error: the following arguments are required: [HOST:]"),
        (["client", "--also", "x", "1", "1"], "'x' is neither HOST:PORT, such as localhost:10001"),
        (["transfer", ""], "raftline: '' is not the name of a node"),
        (["transfer", "s 1"], "raftline: 's 1' is not the name of a node"),
        (["backup", ""], "raftline: FILE: names no file"),
        (["backup", "-"], "raftline: FILE: - is not a file, and a backup is not printed"),
        (["member", "add", "s 1", "h", "1"], "raftline: 's 1' is not the name of a node: a "),
        (["member", "replace", "s1", "", "h", "1"], "raftline: '' is not the name of a node: a"),
        (["member", "remove", "s 1"], "raftline: 's 1' is not the name of a node: a "),
        (["restore", "x", "", "--members", "s1=h:1"], "raftline: DIR: names no folder"),
        (["restore", "x", "new", "--members", ""], "--members: names no node; name each one as N"),
        (["secret", ""], "raftline secret: error: argument FILE: the name is empty. Try: "),
        (["certs", ""], "raftline certs: error: argument DIR: the name is empty. Try: "),
        (["view", "--for", "3"], "raftline: --for is how long --save observes; add --save FILE"),
        (["controller", "h:1", "a\nb"], "raftline: an order is one line; nothing was sent"),
        (["simulate", ""], "raftline simulate: METRICS: the name is empty"),
        (["simulate", "--html", ""], "raftline simulate: --html: the name is empty"),
        (["completion", "csh"], "raftline completion: error: argument shell: invalid choice: "),
    ],
)  # fmt: skip
def test_wrong_arguments_are_reported_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 1\n")
    monkeypatch.chdir(tmp_path)
    code, errors = complaint(capsys, *words)
    assert said in errors
    assert (code, errors.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["server-configuration.txt"]


@pytest.mark.parametrize("command", ["up", "remove", "server", "client", "simulate"])
def test_help_on_a_command_equals_the_commands_own_help(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    helps = []
    for words in (["help", command], [command, "--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 0
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1]
    assert helps[0].startswith(f"usage: raftline {command} ")


@pytest.mark.parametrize("words", ["up --help", "simulate --help", "status --dir é"])
def test_a_terminal_that_lacks_a_character_gets_its_escape(tmp_path: Path, words: str) -> None:
    before = "PYTHONIOENCODING=ascii exec"
    status, errors = complaint_of(tmp_path, *words.split(), before=before)
    assert status == (0 if "help" in words else 2)
    assert errors.count("\n") == (0 if "help" in words else 1)


def test_partly_written_configuration_is_removed(tmp_path: Path) -> None:
    """A configuration that could not be written whole is not left there."""
    code, said = complaint_of(tmp_path, "up", "--dir", "new", before="ulimit -f 0; exec")
    assert said == "raftline: new/server-configuration.txt: can't be written: File too large\n"
    assert (code, list((tmp_path / "new").iterdir())) == (2, [])


def test_a_backup_that_cannot_be_written_asks_no_node(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with scripted_nodes() as start:
        node = start(lambda _: "BACKUP response: 1-1 of 0 bytes crc32 00000000")
        (tmp_path / "server-configuration.txt").write_text(f"s1 localhost {node.port}\n")
        words = ["backup", "b", "--dir", str(tmp_path)]
        code, said = complaint_of(gone, *words, before='rmdir "$PWD"; exec')
    assert said == "raftline: b: can't be written: No such file or directory\n"
    assert code == 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three nodes in its file, and `raftline` in its bin."""
    for name, names in (("logs", ("s1", "s2", "t1")), ("other", ("n1",))):
        (tmp_path / name).mkdir()
        lines = [f"{name} localhost {port}\n" for port, name in enumerate(names, 10000)]
        (tmp_path / name / "server-configuration.txt").write_text("".join(lines))
    (tmp_path / "s-folder").mkdir()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "raftline"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m raftline "$@"\n')
    command.chmod(0o755)
    return tmp_path


USERS = 'USERS response: {"users": {"bob": {}, "root": {}}, "roles": {"app": []}}'


def answers(message: str) -> str | None:
    return USERS if message == "users" else store()(message)


def completed(line: str, folder: Path, at: str = "") -> list[str]:
    """Return what bash in `folder` offers for the last word of a line."""
    script = (
        'eval "$(raftline completion bash)"; COMP_LINE=$1; COMP_POINT=${#1}; '
        "_python_argcomplete raftline; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    found = subprocess.run(
        ["bash", "-c", script, "bash", line],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "RAFTLINE": at},
    )
    assert found.stderr == ""
    return sorted(word.strip() for word in re.split("[\v\n]", found.stdout.strip()))


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("raftline sta", ["stat", "status"]),
        ("raftline status --j", ["--json"]),
        ("raftline server --reads l", ["lease", "local", "log"]),
        ("raftline member re", ["remove", "replace"]),
        ("raftline member remove s", ["s1", "s2"]),
        ("raftline remove --dir other ", ["n1"]),
        ("raftline member add s", ["s-folder/"]),
        ("raftline user re", ["remove", "revoke"]),
        ("raftline user remove b", ["bob"]),
        ("raftline user add b", ["bin/"]),
        ("raftline user grant bob a", ["admin", "app"]),
        ("raftline user add zoe --role w", ["writer"]),
        ("raftline role remove ap", ["app"]),
        ("raftline get a", ["ana"]),
        ("raftline set ana a", [""]),
    ],
)
def test_bash_completes_commands_options_nodes_and_keys(
    folder: Path, start: Start, line: str, words: list[str]
) -> None:
    pytest.importorskip("argcomplete")
    asks = line.split()[1] in ("get", "set", "user", "role")
    at = f"localhost:{start(answers).port}" if asks else ""
    assert completed(line, folder, at) == words


def test_completion_without_argcomplete_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    done = in_process.raftline("completion", "zsh")
    said = "raftline: completion needs the package argcomplete: pip install 'argcomplete>=3.5'\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


def test_each_command_has_a_line_in_the_help() -> None:
    shown = in_process.raftline("--help").stdout
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    unlisted = {"members", "add", "remove", "replace", "promote", "demote", "update"}
    assert {*listed} == {*cli._parser()[1].choices} - unlisted
    assert listed[:2] == ["get", "set"]


def test_version_is_a_command_as_well_as_an_option() -> None:
    done = in_process.raftline("version")
    assert (done.returncode, done.stdout) == (0, in_process.raftline("--version").stdout)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("put", "did you mean set?"),
        ("del", "did you mean delete?"),
        ("ls", "did you mean show?"),
        ("incrby", "did you mean incr?"),
        ("statsu", "did you mean status?"),
        ("setex", "type it in `raftline client PORT`: setex KEY SECONDS VALUE. "),
        ("xyzzy", "there is no command 'xyzzy'. Try: raftline --help"),
    ],
)
def test_a_word_that_is_not_a_command_gets_a_guess_that_is_right(word: str, said: str) -> None:
    done = in_process.raftline(word)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no command '{word}'" in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("started_as", "is_installed", "shown"),
    [
        ("src/cli.py", False, "{python} src/cli.py"),
        ("/a b/cli.py", True, "{python} '/a b/cli.py'"),
        ("/x/raftline/__main__.py", False, "{python} -m raftline"),
        (".venv/bin/raftline", False, ".venv/bin/raftline"),
        ("/usr/bin/raftline", True, "raftline"),
        ("a/program.py", False, "raftline"),
    ],
)
def test_a_suggested_command_repeats_the_typed_program_name(
    monkeypatch: pytest.MonkeyPatch, started_as: str, is_installed: bool, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [started_as])
    monkeypatch.setattr(sys, "executable", "/opt/bin/python")
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if is_installed else None)
    assert typed() == shown.format(python="/opt/bin/python")
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/bin/{name}")
    monkeypatch.setattr(sys, "argv", ["src/cli.py"])
    assert typed() == "python src/cli.py"
