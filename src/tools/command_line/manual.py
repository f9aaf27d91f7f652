"""`raftline manual`: the manual page, made from the help of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from ...common.arguments import Parser
from ...common.version import VERSION
from ..verbs import GROUPS

_FILES = """\
.SH FILES
.TP
.I logs/server-configuration.txt
The nodes of a cluster, NAME HOST PORT in each line. The nearest one, here or in a folder above, is
read where neither \\fB\\-\\-at\\fR nor \\fB$RAFTLINE\\fR names nodes.
.TP
.I raftline.toml
Settings of nodes.
"""


def page(description: str, parsers: Mapping[str, Parser]) -> str:
    """Return the page in the language of man(7)."""
    lines = [
        f'.TH RAFTLINE 1 "" "raftline {_plain(VERSION)}"',
        ".SH NAME",
        "raftline \\- a key-value store replicated by Raft",
        ".SH SYNOPSIS",
        ".B raftline",
        ".I COMMAND",
        "[options] ...",
        ".SH DESCRIPTION",
        _plain(description),
    ]
    for group, names in GROUPS.items():
        lines.append(f'.SH "{group.upper()}"')
        for name in names:
            if name in parsers:
                lines += _command(name, parsers[name])
    return "\n".join(lines) + "\n" + _FILES


def _command(name: str, parser: Parser) -> Iterator[str]:
    yield f".SS raftline {name}"
    yield ".nf"
    yield _plain(" ".join(parser.format_usage().removeprefix("usage: ").split()))
    yield ".fi"
    yield ".PP"
    yield _plain(parser.description or "")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each, nested in action.choices.items():
                yield from _command(f"{name} {each}", nested)
        elif action.help not in (None, argparse.SUPPRESS):
            yield ".TP"
            yield _title(action)
            yield _plain(action.help or "")
    if parser.epilog:
        yield ".PP"
        yield _plain(" ".join(parser.epilog.split()) % {"prog": parser.prog})


def _title(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    if action.choices and not action.metavar:
        value = "|".join(map(str, action.choices))
    names = ", ".join(f"\\fB{_plain(each)}\\fR" for each in action.option_strings)
    return " ".join(filter(None, (names, f"\\fI{_plain(value)}\\fR" if value else "")))


def _plain(text: str) -> str:
    """Return a text with all markup escaped."""
    spelled = text.replace("\\", "\\e").replace("-", "\\-").replace("%%", "%")
    return f"\\&{spelled}" if spelled[:1] in (".", "'") else spelled
