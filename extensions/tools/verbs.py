"""The commands of the shell, in the groups of its help."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from raftline.common.extensions import is_there
from raftline.wire.commands.command_table import AT_THE_SHELL, COMMANDS

LISTINGS: Final = {
    "keys": "only the keys, one a line, or the keys that begin with PREFIX",
    "count": "the number of keys, or of the keys that begin with PREFIX",
}
EXISTS: Final = "exists"  # a `stat` without its facts
REQUESTS: Final[Mapping[str, str]] = {
    **AT_THE_SHELL,
    **LISTINGS,
    EXISTS: "whether KEY exists, also by the exit status",
}  # tools/requests/ask.py
HELD: Final[Mapping[str, str]] = (
    {
        "lock": "run a command while holding a lock",
        "elect": "run a command while elected, again after a loss",
    }
    if is_there("recipes")
    else {}
)  # tools/requests/lock_command.py
_GROUPED: Final[Mapping[str, tuple[str, ...]]] = {
    "keys and values": (
        "get", "set", "delete", "show", "keys", "count", "watch", "incr", "append", "setnx", "cas",
        "txn", "clear", "exists", "stat", "read",
    ),
    "leases and locks": (
        *HELD, "lease", "renew", "release", "leases", "expire", "persist", "ttl",
    ),
    "a cluster": (
        "status", "begin", "member", "user", "role", "transfer", "backup", "export", "import",
        "check", "view", "client",
    ),
    "nodes and their files": (
        "server", "up", "unit", "restore", "fsck", "recover", "replay", "secret", "certs",
    ),
    "to learn and to test": ("simulate", "conform", "grade", "controller", "picture", "learn"),
    "the shell": ("completion",),
}  # fmt: skip
_ALL = {name for names in _GROUPED.values() for name in names}
_FIRST = next(iter(_GROUPED))  # a new request is in it, unless the table has it elsewhere
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    **_GROUPED,
    _FIRST: (*_GROUPED[_FIRST], *(verb for verb in REQUESTS if verb not in _ALL)),
}
LISTED: Final = [name for names in GROUPS.values() for name in names]
_FILES: Final = "tools.node_files"
_MEMBERS = [verb for verb, row in COMMANDS.items() if row.handling.kind == "members"]
_MEMBERS += ["member", "transfer", "begin"]
WITH_ACTIONS: Final = ("member", "user", "role")  # without an action: `list`
# The module of each command: its arguments, its help and its action. Commands that are not in this
# table parse their own arguments (cli.py).
MODULES: Final[Mapping[str, str]] = {
    **dict.fromkeys(_MEMBERS, "tools.requests.members"),
    "status": "tools.status.status_report", "check": "tools.requests.perf",
    **dict.fromkeys(("export", "import"), "tools.requests.exchange"),
    **dict.fromkeys(("user", "role"), "tools.requests.user_command"),
    "up": "tools.local_cluster.up", "unit": "tools.local_cluster.unit",
    "backup": f"{_FILES}.backup", "restore": f"{_FILES}.backup", "fsck": f"{_FILES}.fsck",
    "recover": f"{_FILES}.recover", "replay": f"{_FILES}.replay_command",
    "secret": f"{_FILES}.certs", "certs": f"{_FILES}.certs",
    "view": "tools.view_command", "completion": "tools.completion",
}  # fmt: skip
LIKENESS: Final = 0.7  # difflib ratio: below it, a guess is wrong more often
_ELSEWHERE = {word: row.verb for row in COMMANDS.values() for word in row.elsewhere}


def no_command(typed: str, commands: Collection[str]) -> str:
    """Return the complaint about a word that is not a command, with a suggestion."""
    import difflib  # only needed after a mistake

    complaint = f"there is no command {typed!r}"
    if typed in COMMANDS:
        return f"{complaint}; type it in `raftline client PORT`: {COMMANDS[typed].form}"
    near = difflib.get_close_matches(typed, commands, 1, LIKENESS)
    guess = _ELSEWHERE.get(typed) or next(iter(near), "")
    return f"{complaint}; did you mean {guess}?" if guess in commands else complaint
