"""The screen of the figures, on a pseudo-terminal and with a pipe."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pexpect
import pytest

from raftline.clients.requests.conversation import Client
from raftline.clients.terminal.shell import history_path, run_shell
from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.refusal import not_leader
from raftline.wire.replies.replies import Reply, as_json, screen_lines
from raftline_testing.doubles.scripted_node import DEADLINE_S, SOURCE, Start, run, store


def terminal(tmp_path: Path, *arguments: object) -> pexpect.spawn:
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    return pexpect.spawn(
        sys.executable,
        [str(SOURCE / "client.py"), *map(str, arguments)],
        env=environment,
        encoding="utf-8",
        timeout=DEADLINE_S,
        echo=True,
    )


def converse(screen: pexpect.spawn, command: str, *answer: str) -> None:
    screen.expect_exact("-----\r\n[*] Type your message:\r\n")
    screen.expect_exact("    >> ")
    screen.sendline(command)
    screen.expect_exact(f"[*] Sending: {command}\r\n")  # a notice may follow: no answer yet
    screen.expect_exact("[*] Received:\r\n\r\n" + "\r\n".join(answer) + "\r\n\r\n")


def test_the_screen_is_the_one_of_the_figures(start: Start, tmp_path: Path) -> None:
    node = start(store())
    screen = terminal(tmp_path, node.port, 1)
    screen.expect_exact(f"[*] Connecting to localhost port {node.port}\r\n\r\n")
    converse(screen, "get ana", ">> GET response:", "4")
    converse(screen, "set d 8", ">> SET response:", "d set to 8")
    converse(screen, "get d", ">> GET response:", "8")
    converse(screen, "get x", ">> GET response:", "Entry not found")
    converse(screen, "show", ">> SHOW response:", "'ana': '4'", "'d': '8'")
    converse(screen, "delete d", ">> DELETE response:", "d has been deleted")
    converse(screen, "delete d", ">> DELETE response:", "Entry not found")
    screen.expect_exact("    >> ")  # so that it reads by then
    screen.sendintr()
    screen.expect_exact("[*] Closing socket")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    assert node.received[0] == "client1@get ana"


def test_unknown_command_names_the_commands(start: Start, tmp_path: Path) -> None:
    """The refusal of an unknown command lists the commands."""
    screen = terminal(tmp_path, start(store()).port, 1)
    said = "Sorry, I don't understand: jump. Try: get KEY, set KEY VALUE, delete KEY, show, help"
    converse(screen, "jump", ">> Command not recognized", said)
    screen.expect_exact("    >> ")  # so that it reads by then
    screen.sendeof()
    screen.expect_exact("[*] Closing socket")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def test_a_mistyped_command_is_answered_with_the_nearest_command(start: Start) -> None:
    done = run(start(store()).port, 1, "--screen", typed="GET ana\nicr visits\njump\ndel ana\n")
    meant = [line for line in done.stdout.splitlines() if line.startswith("Did you mean")]
    assert [line.partition(": ")[2] for line in meant] == ["get KEY", "incr KEY [BY]", "delete KEY"]


def test_screen_help_names_every_command_without_a_request(start: Start) -> None:
    """`help` lists what a person types, `help all` every command; neither sends a request."""
    node = start(store())
    done = run(node.port, 1, "--screen", typed="help\nhelp all\n")
    first, whole = done.stdout.split("help all\n")
    assert "get KEY  " in first
    assert "help [all]  " in first
    assert "dequeue " not in first
    lines = whole.splitlines()
    for verb, row in COMMANDS.items():
        assert any(line.startswith(row.form + " ") for line in lines), verb
    assert node.received == []


def test_help_on_one_command_is_one_line(start: Start) -> None:
    node = start(store())
    done = run(node.port, 1, "--screen", typed="help incr\nhelp nonsense\n")
    one, rest = done.stdout.split("help nonsense")
    assert [line for line in one.splitlines() if "KEY" in line] == [
        "incr KEY [BY]                   add BY, or 1, to the number in KEY",
    ]
    assert "\nget KEY  " in rest
    assert node.received == []


def test_an_empty_line_prompts_again_and_sends_no_request(start: Start, tmp_path: Path) -> None:
    node = start(store())
    screen = terminal(tmp_path, node.port, 1)
    screen.expect_exact("    >> ")
    screen.sendline("")
    screen.expect_exact("-----")
    screen.expect_exact("    >> ")
    screen.sendline("exit")
    screen.expect_exact("[*] Closing socket")
    screen.expect(pexpect.EOF)
    assert node.received == []


def test_the_sorry_line_of_a_follower_is_shown_whole(start: Start, tmp_path: Path) -> None:
    sorry = not_leader("s1", "localhost", 10000)
    screen = terminal(tmp_path, start(lambda _: sorry, "s2").port, 1)
    converse(screen, "get ana", sorry)
    screen.expect_exact("    >> ")  # so that it reads by then
    screen.sendeof()
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def test_ctrl_c_in_a_line_clears_it_and_a_second_ends(start: Start, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a line clears it, and a second one ends the program."""
    pytest.importorskip("readline")
    node = start(store())
    screen = terminal(tmp_path, node.port, 1)
    screen.expect_exact("    >> ")
    screen.send("set ana 5")
    screen.expect_exact("set ana 5")
    screen.sendintr()
    converse(screen, "get ana", ">> GET response:", "4")
    screen.expect_exact("    >> ")
    screen.send("get")
    screen.expect_exact("get")
    for said in ("    >> ", "[*] Closing socket"):
        screen.sendintr()
        screen.expect_exact(said)
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    assert node.received == ["client1@get ana"]


def test_ctrl_c_while_a_write_waits_reports_an_unknown_outcome(
    start: Start, tmp_path: Path
) -> None:
    arrived, leave = threading.Event(), threading.Event()

    def stuck(_: str) -> None:
        arrived.set()
        leave.wait(DEADLINE_S)

    screen = terminal(tmp_path, start(stuck).port, 1)
    screen.expect_exact("    >> ")
    screen.sendline("set a 5")
    assert arrived.wait(DEADLINE_S)
    screen.expect_exact("[*] Sending: set a 5\r\n")
    screen.sendintr()
    screen.expect_exact("Sorry, outcome unknown: you left before the answer came.")
    screen.expect(pexpect.EOF)
    screen.close()
    leave.set()
    assert screen.exitstatus == 4


def test_ctrl_c_while_an_answer_is_shown_leaves_nothing_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C while a reply is shown does not leave an unknown outcome."""
    said: list[str] = []

    def say(text: str = "") -> None:
        said.append(text)
        if text.startswith("[*] Received:"):
            raise KeyboardInterrupt

    client = SimpleNamespace(ask=lambda _: Reply("s1", "SET response: a set to 5"))
    monkeypatch.setattr("raftline.clients.terminal.shell.say", say)
    monkeypatch.setattr("sys.stdin", io.StringIO("set a 5\n"))
    assert run_shell(cast(Client, client), False, lambda *_: False) == 0
    assert said[-2:] == ["", "[*] Closing socket"]


def test_typed_lines_and_keys_come_back_by_arrow_and_tab(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("readline")
    node = start(store())
    screen = terminal(tmp_path, node.port, 1)
    converse(screen, "set longkey 5", ">> SET response:", "longkey set to 5")
    screen.expect_exact("    >> ")
    screen.send("ge\tlon\t\r")
    screen.expect_exact(">> GET response:\r\n5")
    screen.expect_exact("    >> ")
    screen.send("help\r")
    screen.expect_exact("get KEY ")
    screen.expect_exact("    >> ")
    screen.sendeof()
    screen.expect(pexpect.EOF)
    assert node.received == ["client1@set longkey 5", "client1@get longkey "]
    assert "set longkey 5" in (tmp_path / "raftline" / "history").read_text()
    again = terminal(tmp_path, node.port, 2)
    again.expect_exact("    >> ")
    again.send("\x1b[A\x1b[A\x1b[A\r")  # three lines back
    again.expect_exact(">> SET response:\r\nlongkey set to 5")
    again.expect_exact("    >> ")  # so that it reads by then
    again.sendeof()
    again.expect(pexpect.EOF)
    assert node.received[-1] == "client2@set longkey 5"


@pytest.mark.parametrize("state", ["", "relative/place", "~/state"])
def test_only_an_absolute_path_sets_the_history_file(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_STATE_HOME", state)
    assert history_path() == Path("/home/ann/.local/state/raftline/history")
    monkeypatch.setenv("XDG_STATE_HOME", "/place")
    assert history_path() == Path("/place/raftline/history")


def test_a_history_that_cannot_be_written_is_ignored(start: Start, tmp_path: Path) -> None:
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    screen = terminal(blocked, start(store()).port, 1)
    converse(screen, "get ana", ">> GET response:", "4")
    screen.expect_exact("    >> ")  # so that it reads by then
    screen.sendeof()
    screen.expect_exact("[*] Closing socket\r\n")
    screen.expect(pexpect.EOF)
    assert "Error" not in screen.before


def test_piped_screen_shows_each_command_after_the_prompt(start: Start) -> None:
    """If its input is a pipe, the screen shows each command after the prompt."""
    node = start(store())
    done = run(node.port, 1, "--screen", typed="set a 4\n\nget a\n")
    assert done.stdout == (
        f"[*] Connecting to localhost port {node.port}\n"
        "\n-----\n[*] Type your message:\n    >> set a 4\n[*] Sending: set a 4\n[*] Received:\n"
        "\n>> SET response:\na set to 4\n"
        "\n-----\n[*] Type your message:\n    >> \n"
        "\n-----\n[*] Type your message:\n    >> get a\n[*] Sending: get a\n[*] Received:\n"
        "\n>> GET response:\n4\n"
        "\n-----\n[*] Type your message:\n    >> \n[*] Closing socket\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_show_reports_further_pages() -> None:
    text = 'SHOW response: {"a b": "x\\ny", "b": "\\udcff"} more: show after b'
    assert screen_lines(text) == [
        ">> SHOW response:",
        r"'a\sb': 'x\ny'",
        r"'b': '\xff'",
        "more: show after b",
    ]
    assert json.loads(as_json("show", Reply("s1", text)))["more"] == "show after b"


def test_the_screen_distinguishes_a_stored_value_from_an_absence(start: Start) -> None:
    typed = "set k Entry not found\nget k\nget x\n"
    done = run(start(store()).port, 1, "--screen", typed=typed)
    present, absent = done.stdout.split(">> GET response:\n")[1:]
    assert absent.startswith("Entry not found\n\n-----")
    assert present.startswith("Entry not found\n(this is the value: the key is there)\n\n-----")
