"""Each option of each command stands on a page for users.

docs/use/commands.md has a row for each command. An option of the command stands in that row, in a
section of the page that names the command, on a page that the row links, or among the options of
all commands that ask a cluster.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline import cli
from raftline.node.program import boot

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "use" / "commands.md"
FOR_ALL = "Nodes, login and TLS"
UNNAMED = {"--help", "--version"}
OF_OTHERS = {  # a value, and options of other programs, in examples
    "--on", "--serve", "--no-index", "--find-links", "--system", "--no-create-home", "--now",
    "--upgrade",
}  # fmt: skip


class Asked(Exception):
    """Somebody asked for the help of a command."""

    def __init__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        super().__init__()
        self.parser = parser


def parser_of(*arguments: str) -> argparse.ArgumentParser:
    """Return the parser whose help `raftline ARGUMENTS --help` prints."""

    def ask(*given: argparse.ArgumentParser) -> None:
        raise Asked(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "print_help", ask)
        with pytest.raises(Asked) as asked:
            cli.main([*arguments, "--help"])
    return asked.value.parser


def commands() -> list[str]:
    return [name for inner in subparsers(parser_of()) for name in inner.choices]


def subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse._SubParsersAction[Any]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield action


def options_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    """Yield the forms of each option, those of actions such as `member add` among them."""
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield tuple(action.option_strings)
    for inner in subparsers(parser):
        for each in {*inner.choices.values()}:
            yield from options_of(each)


@functools.cache
def sections() -> dict[str, str]:
    """Return the parts of the page by their titles."""
    parts = re.split(r"(?m)^##+ ", PAGE.read_text(encoding="utf-8"))
    return {part.partition("\n")[0]: part for part in parts}


def said_about(command: str) -> str:
    """Return what users read about a command."""
    names = re.compile(rf"(?:raftline |`){command}\b")
    table, *parts = sections().values()
    rows = [row for row in table.splitlines() if row.startswith("|") and names.search(row)]
    links = {link for row in rows for link in re.findall(r"\]\(([^)#]+\.md)", row)}
    linked = [(PAGE.parent / link).read_text(encoding="utf-8") for link in sorted(links)]
    named = [part for part in parts if names.search(part)]
    return "\n".join([*rows, *named, *linked, sections()[FOR_ALL]])


def unsaid(command: str) -> list[str]:
    """Return the options of a command that stand on none of its pages."""
    text = said_about(command)
    return [
        forms[-1]
        for forms in dict.fromkeys(options_of(parser_of(command)))
        if not UNNAMED & {*forms}
        and not any(re.search(rf"(?<![\w-]){name}(?![\w-])", text) for name in forms)
    ]


def test_each_option_of_each_command_stands_on_its_page() -> None:
    assert {command: unsaid(command) for command in commands() if unsaid(command)} == {}


def leaves_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of a command's actions, or its own."""
    inner = [each for action in subparsers(parser) for each in action.choices.values()]
    for each in inner:
        yield from leaves_of(each)
    if not inner:
        yield parser


def test_each_command_that_asks_a_cluster_takes_quiet() -> None:
    """A script need not know which command has a value to print: `etcdctl` takes its options for
    all commands, too. `view` serves a page, whose address is all that it prints."""
    asking = [leaf for name in commands() for leaf in leaves_of(parser_of(name)) if "--at" in
              leaf._option_string_actions]  # fmt: skip
    lacking = [
        leaf.prog for leaf in asking if not {"-q", "--quiet"} <= {*leaf._option_string_actions}
    ]
    assert len(asking) > 20
    assert lacking == ["raftline view"]


def test_options_of_users_pages_are_those_of_programs() -> None:
    """Each option that a page names is taken, and each option of a node stands on a page."""
    node = {name for action in boot.parser()._actions for name in action.option_strings}
    taken = {
        name for command in commands() for forms in options_of(parser_of(command)) for name in forms
    }
    pages = [page for folder in ("use", "operate") for page in (DOCS / folder).rglob("*.md")]
    texts = [page.read_text(encoding="utf-8") for page in (*pages, DOCS.parent / "README.md")]
    named = {name for text in texts for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    assert named - taken - node == OF_OTHERS
    assert {name for name in node - UNNAMED - named if name.startswith("--")} == set()


def test_an_option_that_no_page_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sections(), FOR_ALL, "nothing")
    assert "--tls-server-name" in unsaid("status")
