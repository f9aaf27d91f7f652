"""`raftline transfer`: the reply and the exit code, and what is said without a leader."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftline import cli
from raftline.common.config import FILE_NAME
from raftline.wire.refusal import NO_LEADER, NO_TRANSFER
from raftline_testing.doubles.scripted_node import ScriptedNode, free_port


@contextlib.contextmanager
def leader_that_says(folder: Path, transfer: Callable[[str], str | None]) -> Iterator[list[str]]:
    """Yield the command for a cluster of one scripted leader."""
    facts = {"name": "s1", "role": "leader", "term": 3, "leader": "s1", "last_index": 9}
    facts |= {"members_since": 1, "members": {"s1": "localhost:1", "s3": "localhost:3"}}
    status = "STATUS response: " + json.dumps({**facts, "commit_index": 9, "last_applied": 9})
    node = ScriptedNode(lambda command: transfer(command) if "transfer" in command else status)
    (folder / FILE_NAME).write_text(f"s1 localhost {node.port}\n")
    try:
        yield ["transfer", "--dir", str(folder), "--timeout", "5"]
    finally:
        node.close()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("TRANSFER response: s3 leads term 4", 0),
        ("Sorry, I am not the leader. Last leader I heard from is: s2 (localhost:2)", 3),
        ("Sorry, outcome unknown: it is not known yet who leads", 4),
        ("Sorry, s3 can't be reached at the moment.", 5),
    ],
)
def test_the_command_prints_the_reply_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: str, code: int
) -> None:
    with leader_that_says(tmp_path, lambda _: reply) as command:
        assert cli.main([*command, "s3"]) == code
    output, errors = capsys.readouterr()
    assert (output if code == 0 else errors) == reply + "\n"


def test_transfer_without_a_name_lets_the_leader_choose(tmp_path: Path) -> None:
    asked: list[str] = []
    with leader_that_says(tmp_path, lambda line: asked.append(line) or "Sorry, no.") as command:
        assert cli.main(command) == 5
    assert asked == ["transfer"]


def test_transfer_to_the_leader_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script may repeat it."""
    with leader_that_says(tmp_path, lambda _: "Sorry, s1 leads already.") as command:
        assert cli.main([*command, "s1"]) == 0
    assert capsys.readouterr().out == "s1 leads already\n"


def test_a_transfer_to_no_member_names_the_members(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = NO_TRANSFER("s9 is not a member of this cluster")
    with leader_that_says(tmp_path, lambda _: reply.coded) as command:
        assert cli.main([*command, "s9"]) == 5
    assert capsys.readouterr().err.splitlines() == [reply, "[*] its members are s1, s3"]


def test_transfer_without_a_leader_names_unreachable_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"name": "s1", "role": "follower", "term": 3, "leader": None, "last_index": 9}
    known = "STATUS response: " + json.dumps({**facts, "commit_index": 9, "last_applied": 9})
    node = ScriptedNode(lambda _: known)
    (tmp_path / FILE_NAME).write_text(f"s1 localhost {node.port}\ns2 localhost 9\n")
    assert cli.main(["transfer", "--dir", str(tmp_path), "--timeout", "1"]) == 3
    node.close()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == NO_LEADER
    assert said[1].startswith("[!] no leader: 1 of ")
    assert said[2:] == ["s2 (localhost:9): connection refused"]


def test_a_transfer_that_no_node_hears_ends_as_other_commands_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [f"s{number} localhost {free_port()}\n" for number in (1, 2)]
    (tmp_path / FILE_NAME).write_text("".join(nodes))
    for words in (["transfer"], ["members"], ["get", "a"]):
        assert cli.main([*words, "--dir", str(tmp_path), "--timeout", "1"]) == 5, words
        *_, said = capsys.readouterr().err.splitlines()
        assert said.startswith("Sorry, no"), words
        assert "no node runs there. Start one with raftline up" in said, words
