"""The commands of `raftline`, as `cli.py` asks for them: those here, and the course's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from raftline.clients.connections.address_options import by_address

from . import course
from .verbs import GROUPS, HELD, MODULES, REQUESTS, WITH_ACTIONS, no_command

if TYPE_CHECKING:
    from raftline.client import Client, Explain
    from raftline.common.arguments import Commands, Parser

__all__ = [
    "GROUPS", "MODULES", "PARSED", "WITH_ACTIONS", "add_course_options", "carry_out", "complete",
    "explaining", "no_command", "parsers",
]  # fmt: skip

# Commands that parse their own options, with their help.
PARSED: Final[Mapping[str, str]] = {**REQUESTS, **HELD, **course.COMMANDS}


def carry_out(command: str, arguments: list[str]) -> int:
    """Carry out a command of PARSED; return its exit code."""
    if command in REQUESTS:
        from .requests import ask

        return ask.main(command, arguments)
    if command in HELD:
        from .requests import lock_command

        return lock_command.main(command, arguments)
    return course.main(command, arguments)


def parsers() -> dict[str, Parser]:
    """Return the parser of each command of PARSED."""
    from .requests import ask, lock_command

    found = course.parsers()
    found |= {verb: ask.parser(verb) for verb in REQUESTS}
    return found | {verb: lock_command.parser(verb) for verb in HELD}


def add_course_options(commands: Commands) -> None:
    """Add the course's options of `up`."""
    from .local_cluster import up

    up.add_course_options(commands)


def complete(parser: Parser, commands: Commands, all_parsers: Mapping[str, Parser]) -> None:
    """Print the completions of a typed line."""
    from . import completion

    completion.complete(parser, commands, all_parsers)


def explaining(client: Client) -> Explain:
    """Return a function that asks a client's nodes why it has found no leader."""

    from .asking import explain  # only a client needs it

    return lambda failure: explain(by_address(client.addresses), client.access, failure)
