from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path

import pytest

from raftline import server
from raftline.common.config import ConfigError
from raftline.common.process.log_records import FORMATS, LEVELS
from raftline.node.program import boot, settings
from raftline.node.program.settings import Settings
from raftline_course import controlled_server as course_server


def settings_of(
    tmp_path: Path, *argv: str, file: str = "", environment: dict[str, str] | None = None
) -> Settings:
    if file:
        (tmp_path / "raftline.toml").write_text(file, encoding="utf-8")
    return settings.read(boot.parser(), [*argv, "--dir", str(tmp_path)], environment or {})


def refusal(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: str = "",
    environment: dict[str, str] | None = None,
) -> str:
    with pytest.raises(SystemExit) as end:
        settings_of(tmp_path, "s1", "10000", file=file, environment=environment)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_an_argument_outranks_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = 'pace = "human"\nreads = "log"\nio = "shared"\n'
    environment = {"RAFTLINE_SERVER_PACE": "class", "RAFTLINE_SERVER_READS": "lease"}
    found = settings_of(tmp_path, "s1", "1", "--pace", "fast", file=file, environment=environment)
    arguments = found.arguments
    assert (arguments.pace, arguments.reads, arguments.io) == ("fast", "lease", "shared")
    assert arguments.cores == "one"
    sources = [found.sources[name] for name in ("pace", "reads", "io", "cores")]
    path = str(tmp_path / "raftline.toml")
    assert sources == ["argument --pace", "environment RAFTLINE_SERVER_READS", path, "default"]


def test_reload_reports_a_missing_port(
    tmp_path: Path,
) -> None:
    """Unlike a usage error, it must not end the thread that reads files again at SIGHUP."""
    file = tmp_path / "raftline.toml"
    file.write_text("")
    with pytest.raises(ConfigError, match="the following arguments are required: PORT"):
        settings.load(boot.parser(), ["s1", "--dir", str(tmp_path)], {})


def test_a_default_that_is_typed_outranks_the_file(tmp_path: Path) -> None:
    found = settings_of(tmp_path, "s1", "1", "--pace", "fast", file='pace = "human"')
    assert found.arguments.pace == "fast"


def test_node_table_outranks_the_common_one(tmp_path: Path) -> None:
    """The table of a node overrides the settings for all nodes; those of other nodes are
    ignored."""
    file = 'port = 1\npace = "human"\n[s1]\nport = 10001\n[s2]\nport = 10002\n'
    found = settings_of(tmp_path, "s2", file=file)
    assert (found.arguments.port, found.arguments.pace) == ("10002", "human")
    assert found.sources["port"] == f"{tmp_path / 'raftline.toml'} [s2]"


def test_name_and_port_may_stand_anywhere(tmp_path: Path) -> None:
    environment = {"RAFTLINE_SERVER_PORT": "10000"}
    found = settings_of(tmp_path, file='name = "s4"\n', environment=environment)
    assert (found.arguments.name, found.arguments.port) == ("s4", "10000")


def test_options_between_name_and_port_are_still_understood(tmp_path: Path) -> None:
    found = settings_of(tmp_path, "s1", "--verbose", "10000")
    assert (found.arguments.name, found.arguments.port) == ("s1", "10000")


def test_name_and_port_are_asked_for_where_nothing_sets_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        settings.read(boot.parser(), ["s1"], {})
    assert "the following arguments are required: PORT" in capsys.readouterr().err


def test_environment_gives_switches_and_numbers_as_text(tmp_path: Path) -> None:
    """Switches and numbers can be set in the environment, as text."""
    environment = {
        "RAFTLINE_SERVER_FOLLOWER_READS": "yes", "RAFTLINE_SERVER_VERBOSE": "0",
        "RAFTLINE_SERVER_PACE": "", "RAFTLINE_SERVER_COMPACT_AT": "500",
    }  # fmt: skip
    arguments = settings_of(tmp_path, "s1", "1", environment=environment).arguments
    assert arguments.follower_reads is True
    assert arguments.verbose is False
    assert arguments.pace == "fast"  # an empty variable is none
    assert arguments.compact_at == 500


def test_environment_gives_lists_and_optional_numbers_as_text() -> None:
    """Lists and optional numbers can be set in the environment, as text."""
    environment = {
        "RAFTLINE_SERVER_CONTROLLER_FROM": "h1,10.0.0.0/8",
        "RAFTLINE_SERVER_CONTROLLER_UDP": "true",
    }
    arguments = settings.read(course_server.parser(), ["s1", "1"], environment).arguments
    assert arguments.controller_from == ["h1", "10.0.0.0/8"]
    assert arguments.controller_udp == 5555


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("pase = 'fast'", "pase is not a setting that is allowed there; did you mean pace?"),
        ("zzz = 1", "zzz is not a setting that is allowed there; raftline server "),
        ("pace = 'quick'", "pace: 'quick' is not one of: class, fast, human"),
        ("pace = 1.5", 'pace: "1.5" is not a valid value: use a text or a number'),
        ("verbose = 'maybe'", 'verbose: "maybe" is neither true nor false'),
        ("compact-at = true", "compact-at: true is not a valid value: use a text or a number"),
        ("compact-at = 0", "compact-at: '0' is not a number of bytes, 1 or more"),
        ("[s1]\nio = 'x'", "[s1]: io: 'x' is not one of: "),
        ("new = true", "new is not a setting that is allowed there"),
        ("config = 'x'", "config is not a setting that is allowed there"),
        ("print-config = true", "print-config is not a setting that is allowed there"),
        ("pace =", "is not valid TOML: Invalid value (at "),
    ],
)
def test_a_wrong_line_of_the_file_is_refused_with_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, complaint: str
) -> None:
    said = refusal(capsys, tmp_path, file)
    assert f"{tmp_path / 'raftline.toml'}" in said
    assert complaint in said


def test_wrong_variable_is_refused_though_outranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid variable is refused even if an argument overrides it."""
    said = refusal(capsys, tmp_path, environment={"RAFTLINE_SERVER_IO": "some"})
    assert "error: RAFTLINE_SERVER_IO: 'some' is not one of: " in said
    with pytest.raises(SystemExit):
        settings_of(tmp_path, "s1", "1", "--io", "auto", environment={"RAFTLINE_SERVER_IO": "some"})


def test_a_file_that_is_named_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nothing.toml")
    said = refusal(capsys, tmp_path, environment={"RAFTLINE_SERVER_CONFIG": missing})
    assert f"{missing}: there is no such file of settings" in said


def test_named_file_is_read_instead_of_the_folders_one(tmp_path: Path) -> None:
    """If a file is named, the one in the folder is not read."""
    named = tmp_path / "named.toml"
    named.write_text('pace = "human"\n', encoding="utf-8")
    found = settings_of(tmp_path, "s1", "1", "--config", str(named), file='io = "shared"\n')
    assert (found.arguments.pace, found.arguments.io) == ("human", "auto")


def test_unknown_variable_is_reported_and_new_is_not_a_setting(tmp_path: Path) -> None:
    """A variable that is not a setting is reported; `new` is not a setting."""
    environment = {
        "RAFTLINE_SERVER_PASE": "x", "RAFTLINE_SERVER_NEW": "1", "RAFTLINE_PACE": "human",
        "RAFTLINE_DEBUG": "1", "PATH": "x",
    }  # fmt: skip
    found = settings_of(tmp_path, "s1", "1", environment=environment)
    assert found.unknown == ["RAFTLINE_SERVER_PASE", "RAFTLINE_SERVER_NEW", "RAFTLINE_PACE"]
    assert found.arguments.new is False


def test_a_node_takes_no_setting_of_a_client(tmp_path: Path) -> None:
    """An operator's shell has both: `raftline up` there starts nodes."""
    environment = {"RAFTLINE_TLS_CA": "ca.pem", "RAFTLINE_TLS_CERT": "ann.pem",
                   "RAFTLINE_TLS_KEY": "ann.key", "RAFTLINE_USER": "ann"}  # fmt: skip
    found = settings_of(tmp_path, "s1", "1", environment=environment)
    assert found.unknown == []
    assert (found.arguments.tls_ca, found.arguments.tls_cert) == (None, None)


def test_an_error_names_the_variable_that_gave_the_setting(tmp_path: Path) -> None:
    missing = str(tmp_path / "no-secret")
    environment = {"RAFTLINE_SERVER_SECRET": missing, "RAFTLINE_SERVER_TLS_CA": "ca.pem"}
    found = settings_of(tmp_path, "s1", "1", "--tls-ca", "typed.pem", environment=environment)
    access = boot.access_settings(found.arguments)
    assert access.called("tls_ca") == "--tls-ca"
    with pytest.raises(ConfigError, match=rf"^\$RAFTLINE_SERVER_SECRET {missing}: No such file"):
        dataclasses.replace(access, tls_ca=None).proofs()


def test_what_print_config_shows_is_a_file_that_sets_the_same(tmp_path: Path) -> None:
    argv = ["s1", "10000", "--insecure", "--first-admin", "u", "--compact-at", "77"]
    first = settings_of(tmp_path, *argv, "--record", "a file", "--join", "[::1]:10000")
    shown = "\n".join(first.lines()) + "\n"
    assert "# tls-crl is not set\n" in shown
    other = _written(tmp_path / "other.toml", shown)
    second = settings.read(boot.parser(), ["--config", other], {})
    ours, theirs = vars(first.arguments), vars(second.arguments)
    assert {**ours, "config": None} == {**theirs, "config": None}


def _written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_print_config_starts_nothing_and_tells_each_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--print-config` starts nothing, and shows the origin of each setting."""
    monkeypatch.setattr(os, "environ", {"RAFTLINE_SERVER_PACE": "human"})
    assert server.main(["s1", "--dir", str(tmp_path), "--print-config"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert 'name = "s1" # argument NAME' in lines
    assert "# port is not set" in lines
    assert 'pace = "human" # environment RAFTLINE_SERVER_PACE' in lines
    assert 'reads = "index" # default' in lines
    assert list(tmp_path.iterdir()) == []


def test_secret_path_is_shown_only_if_the_file_exists(tmp_path: Path) -> None:
    """The path of a secret is shown only if there is a file."""
    parser = boot.parser()
    parser.add_argument("--door-key", metavar="FILE")
    file = _written(tmp_path / "key", "content")
    shown = settings.read(parser, ["s1", "1", "--door-key", file], {}).lines()
    assert any(line.startswith(f'door-key = "{file}"') for line in shown)
    parser = boot.parser()
    parser.add_argument("--door-key", metavar="FILE")
    leaked = "".join(settings.read(parser, ["s1", "1", "--door-key", "hunter2"], {}).lines())
    assert 'door-key = "(not shown: no such file)"' in leaked
    assert "hunter2" not in leaked


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org"])
def test_settings_that_exclude_or_need_another_are_refused(tmp_path: Path, host: str) -> None:
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 10000\n")
    is_open = host in ("0.0.0.0", "example.org")
    words = (
        "--open-to-network",
        "--new",
        "--join=localhost:1",
        "--record=/nowhere/x",
        "--insecure",
    )
    for given in itertools.product((False, True), repeat=len(words)):
        opens, new, joins, records, insecure = given
        argv = ["s1", "10000", "--host", host, *itertools.compress(words, given)]
        refused = [
            *(["needs no --new"] if new and joins else []),
            *(["/nowhere"] if records else []),
            *(["add --open-to-network"] if is_open and not opens else []),
            *(["add --insecure"] if is_open and not insecure else []),
        ]
        arguments = settings_of(tmp_path, *argv).arguments
        if refused:
            with pytest.raises(ConfigError, match=refused[0]):
                boot.start_settings(arguments)
        else:
            assert boot.start_settings(arguments)[0] == 10000


@pytest.mark.parametrize("level", [None, *LEVELS])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("verbose", [False, True])
def test_console_has_the_level_that_was_asked_for(
    tmp_path: Path, level: str | None, form: str, verbose: bool
) -> None:
    asked = [*(["--log-level", level] if level else []), *(["--verbose"] if verbose else [])]
    found = settings_of(tmp_path, "s1", "1", "--log-format", form, *asked).arguments
    default = "debug" if verbose else "traffic" if form == "console" else "info"
    assert boot.log_level(found) == (level or default)


def test_version_is_printed_without_the_required_settings(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        settings_of(tmp_path, "--version")
    assert end.value.code == 0
