"""`raftline user` and `raftline role`: the users of the cluster, and what each may do."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftline.access.users import make_verifier, write_first_admin
from raftline.client import Explain, add_forms, answer_each, answer_one, command_of
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.pool import TIMEOUT_S
from raftline.clients.terminal.options import typed_password
from raftline.clients.terminal.streams import say
from raftline.common.arguments import as_number
from raftline.common.config import ConfigError
from raftline.state.user_table import ITERATIONS
from raftline.wire.commands.command_table import COMMANDS, Command, read_request
from raftline.wire.commands.identity import EVERYWHERE, ROLES
from raftline.wire.commands.rights import UserRole
from raftline.wire.done_reply import is_done
from raftline.wire.operands.login_operands import ITERATIONS_LEAST, ITERATIONS_MOST, why_no_password
from raftline.wire.operands.operands import NO_LIMITS
from raftline.wire.operands.user_operands import NO_PASSWORD, RIGHTS, RoleGrant
from raftline.wire.protocol import ProtocolError
from raftline.wire.replies.replies import Reply, RequestOutcome, value_in

from ..asking_options import add_asking_options
from .ask import ShellPrinter, converse
from .users_file import OldUsers, read_users

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

Facts = Mapping[str, Any]
_DOES = {
    "user": "the users of a cluster: list, add, remove, import; passwords and roles",
    "role": "the roles of a cluster's users: list, add, remove, grant, revoke",
}
_EXIT = "Exit code 0: done; 1: there is no such user or role, or it exists; 2: usage; 3: no "
_EXIT += "leader; 4: outcome unknown; 5: refused or unreachable; 6: login; 8: TLS."
_ASKED = "A password is asked for twice, or is the first line of a pipe; it is never an argument. "


def add_commands(commands: Commands) -> None:
    """Add `user` and `role` to the command line."""
    for noun, does in _DOES.items():
        command = commands.add_parser(
            noun, help=does, description=f"{does[0].upper()}{does[1:]}. {_EXIT}"
        )
        actions = command.add_subparsers(metavar="ACTION", required=True)
        _add_request(actions, "list", f"the {noun}s", _list).set_defaults(noun=noun)
        for verb, row in COMMANDS.items():
            if verb.startswith(f"{noun}-"):
                _add_change(actions, row)
        if noun == "user":
            of_file = _add_request(
                actions, "import", "add the users of a file that nodes once had", _import
            )
            of_file.add_argument("file", metavar="FILE", type=Path, help="raftline-users")
            _add_first(actions)


def _add_request(actions: Commands, name: str, does: str, talk: Any) -> Any:
    command = actions.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}. {_EXIT}"
    )
    add_asking_options(command, TIMEOUT_S)
    add_forms(command.add_mutually_exclusive_group())
    command.set_defaults(carry_out=partial(_carry_out, command.prog, talk))
    return command


def _add_change(actions: Commands, row: Command) -> None:
    """Add the action of a request: its operands are arguments, and a password stands for a
    verifier."""
    noun, _, action = row.verb.partition("-")
    form = row.operands.form
    command = _add_request(actions, action, row.does.partition(",")[0], _change)
    command.set_defaults(verb=row.verb)
    add = command.add_argument
    add("name", metavar=noun.upper(), help=f"the name of the {noun}")
    if "VERIFIER" in form:
        command.description += f" {_ASKED}"
        _add_iterations(command)
        add("--no-password", action="store_true", help="only a certificate logs the user in")
    if "[ROLE ...]" in form:
        add("--role", dest="roles", action="append", default=[], metavar="ROLE",
            help="one of its roles; may be repeated")  # fmt: skip
    elif "ROLE" in form:
        add("role", metavar="ROLE", help="reader, writer, admin, or one of raftline role add")
    if "|".join(RIGHTS) in form:
        add("right", metavar="RIGHT", choices=RIGHTS, help=", ".join(RIGHTS))
    if "PREFIX" in form:
        add("prefix", metavar="PREFIX", nargs="?", help="of the keys (all keys)")


def _add_iterations(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--iterations",
        type=as_number("number of rounds", ITERATIONS_LEAST, ITERATIONS_MOST),
        default=ITERATIONS,
        metavar="N",
        help=f"rounds of PBKDF2 for the password ({ITERATIONS})",
    )


def _add_first(actions: Commands) -> None:
    first = actions.add_parser(
        "first",
        help="write the file for `raftline server --first-admin`",
        description="Write a file with the name of the first admin and what a node knows of its "
        f"password, for `raftline server --first-admin`. {_ASKED}Exit code 0: done; 2: not.",
    )
    first.add_argument("name", metavar="USER", help="the name of the admin")
    first.add_argument("file", metavar="FILE", type=Path, help="a new file")
    first.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="OLD",
        help="take the password that USER has in a file that nodes once had",
    )
    _add_iterations(first)
    first.set_defaults(carry_out=_first)


def _carry_out(prog: str, talk: Any, options: argparse.Namespace) -> int:
    return converse(options, prog, partial(talk, options))


# --- changes -----------------------------------------------------------------------------------


def _change(options: argparse.Namespace, client: Client, explain: Explain) -> int:
    command = _line(options, NO_PASSWORD)  # report mistakes before asking
    if getattr(options, "no_password", True) is False:
        command = _line(options, _new_verifier(options))
    return answer_one(client, command, _printer(options, explain))


def _line(options: argparse.Namespace, verifier: str) -> str:
    """Return the line to send. Raises ConfigError."""
    given = vars(options)
    words = [options.name, *([verifier] if "no_password" in given else ())]
    words += given.get("roles", ())
    words += [given[each] for each in ("role", "right", "prefix") if given.get(each) is not None]
    if given.get("prefix") == "":
        raise ConfigError("PREFIX is empty; leave it out for all keys")
    command = command_of([options.verb, *words])
    _check(command)
    return command


def _check(command: str) -> None:
    try:
        read_request("", "", command, NO_LIMITS)
    except ProtocolError as mistake:
        raise ConfigError(str(mistake)) from None


def _new_verifier(options: argparse.Namespace) -> str:
    return str(make_verifier(new_password(options.name), options.iterations))


def new_password(name: str) -> str:
    """Return a password that is typed twice without being shown, or the first line of a pipe.

    Raises:
        ConfigError: there is no password, or it is not a valid one.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        password = typed_password(f"New password of {name}: ")
        if typed_password("Once more: ") != password:
            raise ConfigError("the two passwords differ; nothing was changed")
    else:
        try:
            line = sys.stdin.readline() if sys.stdin is not None else ""
        except UnicodeDecodeError:
            raise ConfigError("the password is not text; nothing was changed") from None
        password = line.removesuffix("\n").removesuffix("\r")
    if why := why_no_password(password):
        raise ConfigError(f"{why}; nothing was changed")
    return password


# --- lists -------------------------------------------------------------------------------------


class _Table(ShellPrinter):
    """Prints the users, or the roles, one a line."""

    is_of_roles = False

    def _print(self, command: str, reply: Reply, outcome: RequestOutcome) -> RequestOutcome:
        if self.as_object or outcome is not RequestOutcome.DONE:
            return super()._print(command, reply, outcome)
        facts = json.loads(value_in(reply.text))
        noun = "role" if self.is_of_roles else "user"
        for line in _roles_in(facts) if self.is_of_roles else _users_in(facts):
            say(line)
        if not facts[f"{noun}s"] and not self.quiet:
            _note(f"the cluster has no {noun}s")
        return outcome


def _list(options: argparse.Namespace, client: Client, explain: Explain) -> int:
    table = _Table(options.quiet, options.json, explain)
    table.is_of_roles = options.noun == "role"
    return answer_one(client, "users", table)


def _users_in(facts: Facts) -> Iterator[str]:
    for name, user in facts["users"].items():
        without = "" if user["has_password"] else "  (no password)"
        yield f"{name}  {', '.join(user['roles']) or '(no role)'}{without}"


def _roles_in(facts: Facts) -> Iterator[str]:
    for role, grants in facts["roles"].items():
        yield f"{role}  {', '.join(RoleGrant(*each).in_words for each in grants) or '(no right)'}"


# --- from files --------------------------------------------------------------------------------


def _import(options: argparse.Namespace, client: Client, explain: Explain) -> int:
    """Add the users of an old file that the cluster does not have, with their passwords."""
    old, printer = read_users(options.file), _printer(options, explain)
    reply = client.ask("users")
    if not is_done(reply.text):
        return printer.show("users", reply)
    known = json.loads(value_in(reply.text))
    if not known["users"]:
        raise ConfigError(
            "the cluster has no users yet: add its first admin (raftline user add NAME --role "
            "admin), and import as that admin"
        )
    for command in [*_additions(old, known)]:
        outcome = answer_each(client, [command], printer)
        if outcome != RequestOutcome.DONE:
            return outcome
    return RequestOutcome.DONE


def _additions(old: OldUsers, known: Facts) -> Iterator[str]:
    """Yield the requests that add the users of a file and their rights. Raises ConfigError."""
    for name, user in sorted(old.items()):
        if name in known["users"]:
            _note(f"{name} is a user already, and stays as it is")
            continue
        identity = user.identity
        role = str(identity.role)
        if identity.reads != EVERYWHERE:
            role = name if name not in ROLES else f"{name}-keys"
            right = "read" if identity.role is UserRole.READER else "readwrite"
            if identity.is_admin:
                _note(f"{name}, an admin of some keys, may read and write them, and nothing else")
            yield from _grants(role, [(right, each) for each in identity.reads], known)
        yield f"user-add {name} {user.verifier} {role}"


def _grants(role: str, grants: list[tuple[str, str]], known: Facts) -> Iterator[str]:
    """Yield the requests for a role with these rights. Raises ConfigError if it has others."""
    has = known["roles"].get(role)
    if has is None:
        yield f"role-add {role}"
    elif not {(right, prefix) for right, prefix in has} <= set(grants):
        raise ConfigError(
            f"the role {role} has other rights than the user {role} of the file; remove the role, "
            "or add the user yourself. Nothing was changed"
        )
    for right, prefix in grants:
        yield f"role-grant {role} {right} {prefix}"


def _first(options: argparse.Namespace) -> int:
    _check(command_of(["user-remove", options.name]))
    if options.file.exists():  # before asking
        raise ConfigError(f"{options.file} already exists, and is unchanged")
    if options.source is None:
        verifier = _new_verifier(options)
    else:
        user = read_users(options.source).get(options.name)
        if user is None:
            raise ConfigError(f"{options.source} has no user {options.name}")
        verifier = str(user.verifier)
    write_first_admin(options.file, options.name, verifier)
    _note(f"{options.file} is written; start each node with --first-admin {options.file}")
    return 0


def _printer(options: argparse.Namespace, explain: Explain) -> ShellPrinter:
    return ShellPrinter(options.quiet, options.json, explain)


def _note(text: str) -> None:
    print(f"[*] {text}", file=sys.stderr)
