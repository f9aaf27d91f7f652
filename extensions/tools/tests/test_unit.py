"""The systemd unit: the one in deploy/ is the one that is printed, and systemd takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline import cli
from raftline.tools.local_cluster import unit

FILE = Path(__file__).resolve().parents[3] / "deploy" / "systemd" / "raftline@.service"


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here; Debian's package systemd has it")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """Return the path of the unit with a program that is there."""
    path = tmp_path / "raftline@.service"
    path.write_text(unit.text([sys.executable]), encoding="utf-8")
    return str(path)


def test_the_unit_in_deploy_is_the_one_that_is_printed() -> None:
    assert FILE.read_text(encoding="utf-8") == unit.text(["/usr/local/bin/raftline-server"])


def test_the_unit_is_printed_for_a_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["unit", "--user", "keys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"User=keys", "Group=keys", "Type=notify", "StateDirectory=raftline"} <= set(lines)
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    assert re.match(r"ExecStart=/\S+ .*%i --config /etc/raftline/%i\.toml", start)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/opt/raft line/run", '"/opt/raft line/run"'),
        ("/opt/100%/run", "/opt/100%%/run"),
        ('/opt/a"b\\c', r'"/opt/a\"b\\c"'),
    ],
)
def test_a_program_is_quoted_as_systemd_reads_it(path: str, word: str) -> None:
    assert f"\nExecStart={word} -m %i --config" in unit.text([path, "-m"])


@pytest.mark.parametrize("folder", ["/home/ann/.local/bin", "/root/bin", "/tmp/x", "/run/user/1"])
def test_a_program_that_the_unit_hides_from_its_node_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    for name in ("executable", "prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, "/usr/bin/python3")
    monkeypatch.setattr(unit, "program", lambda: [f"{folder}/raftline-server"])
    assert unit.show("raftline") == 0
    output, errors = capsys.readouterr()
    assert output == unit.text([f"{folder}/raftline-server"])
    assert errors.startswith(f"[!] {folder}/raftline-server: the unit hides home folders and /tmp")
    assert "203/EXEC" in errors
    assert errors.count("\n") == 1


def test_a_python_below_a_link_is_hidden_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unit, "HIDDEN", (str(tmp_path / "home"),))
    (tmp_path / "home").mkdir()
    (tmp_path / "venv").symlink_to(tmp_path / "home")
    assert unit.hidden(str(tmp_path / "venv" / "bin")) == str(tmp_path / "home" / "bin")
    assert unit.hidden(str(tmp_path / "homes")) == ""
    for name in ("executable", "prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path / "opt"))
    monkeypatch.setattr(unit, "program", lambda: "/opt/raftline/bin/raftline-server")
    assert unit.show("raftline") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "home" / "python"))
    assert unit.show("raftline") == 0
    assert str(tmp_path / "home" / "python") in capsys.readouterr().err


def test_a_user_that_is_not_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["unit", "--user", "a\nExecStart=b"])
    assert end.value.code == 2
    assert "is not a user name" in capsys.readouterr().err


def test_systemd_gives_a_node_up_that_fails_again_and_again() -> None:
    """In another section systemd ignores these."""
    section = unit.text("x").partition("[Unit]\n")[2].partition("\n[")[0].splitlines()
    assert {"StartLimitIntervalSec=120", "StartLimitBurst=5"} <= set(section)


def test_systemd_complains_about_misplaced_limits(tmp_path: Path) -> None:
    """Systemd complains about a unit whose limits stand elsewhere."""
    path = tmp_path / "raftline@.service"
    limit = "StartLimitIntervalSec=120\n"
    text = unit.text([sys.executable]).replace(limit, "")
    path.write_text(text.replace("[Service]\n", f"[Service]\n{limit}"), encoding="utf-8")
    assert "StartLimitIntervalSec" in analyze("verify", "--man=no", str(path)).stderr


def test_systemd_finds_nothing_wrong_with_the_unit(installed: str) -> None:
    verified = analyze("verify", "--man=no", installed)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_systemd_finds_the_unit_well_protected(installed: str) -> None:
    judged = analyze("security", "--offline=true", "--no-pager", installed)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd-analyze judges no unit that does not run")
    score = re.search(r"exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert score is not None, judged.stdout + judged.stderr
    assert float(score[1]) <= 1.5
