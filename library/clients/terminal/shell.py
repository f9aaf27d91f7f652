"""The client's screen, as in the course's figures 1, 5 and 6, with line editing on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from raftline.wire.commands.command_table import COMMANDS, FIRST, row_of
from raftline.wire.operands.login_operands import without_password
from raftline.wire.protocol import without_controls
from raftline.wire.refusal import NOT_UNDERSTOOD, SORRY
from raftline.wire.replies.refusals import code_of
from raftline.wire.replies.replies import RequestOutcome, screen_lines

from ..connections.node_connection import ClientError
from ..requests.conversation import Client
from .streams import asks_nothing, say

readline: ModuleType | None
try:
    import readline
except ImportError:  # Windows, and Python builds without it: no line editing
    readline = None

RULE = "-----"
PROMPT = "    >> "
COMPLETED = {*COMMANDS, "exit"}
HELP_LAST = (
    "exit                            or Ctrl-D",
    r"Inside a key a space is written \s; a newline \n, a backslash \\, any byte \xNN.",
)
ELSEWHERE = {word: row for row in COMMANDS.values() for word in row.elsewhere}
HISTORY_LINES = 1000
LIKE_A_COMMAND = 0.7  # difflib ratio: `shwo` is a mistyped `show`; `ada` is an ID
KEYS_OFFERED = 10_000


def run_shell(client: Client, on_terminal: bool, watched: Callable[[Client, str], bool]) -> int:
    """Converse until the input ends, `exit`, or Ctrl-C at an empty line; return the exit code.

    `watched` shows the events of a watch until Ctrl-C; it returns False if the command is not a
    watch.

    The code is 0 even if commands failed, because the screen showed that. It is 4 if Ctrl-C left a
    write without an answer.
    """
    keys: dict[str, None] = {}  # in the order of their first use
    read = _line_editor(keys) if on_terminal else _echoing_reader()
    outcome = RequestOutcome.DONE
    try:
        while True:
            say(f"\n{RULE}\n[*] Type your message:")
            command = read()
            if command.strip() in ("exit", "quit"):
                break
            if command.split()[:1] == ["help"]:
                say("\n" + "\n".join(_help_on(command.split()[1:])))
            elif not asks_nothing(command) and not watched(client, command):
                outcome = RequestOutcome.UNKNOWN  # until the answer arrives
                _remember_key(keys, command)
                reply = _answer(client, command)
                outcome = RequestOutcome.DONE
                _show(command, reply)
    except EOFError:
        say()
    except KeyboardInterrupt:
        say()
        if outcome is RequestOutcome.UNKNOWN and row_of(command).handling.is_read:
            outcome = RequestOutcome.DONE
        if outcome is RequestOutcome.UNKNOWN:
            say("Sorry, outcome unknown: you left before the answer came.")
    say("[*] Closing socket")
    return outcome


def _help_on(verbs: list[str]) -> list[str]:
    """Return the help lines for these commands; for those that a person types if none of the words
    is a command, and for all commands after `help all`."""
    asked = [row for verb, row in COMMANDS.items() if verb in verbs]
    rows = asked or (COMMANDS.values() if verbs == ["all"] else FIRST)
    lines = [f"{row.form:<31} {row.does}" for row in rows]
    return lines if asked else [*lines, *HELP_LAST]


def _answer(client: Client, command: str) -> str:
    say(f"[*] Sending: {without_controls(without_password(command))}")
    try:
        return client.ask(command).text
    except ClientError as error:
        return f"{SORRY}{error.at_the_shell}"


def _show(command: str, reply: str) -> None:
    say("[*] Received:\n\n" + "\n".join(screen_lines(reply)))
    suggestion = _meant(command) if code_of(reply) == NOT_UNDERSTOOD.code else ""
    if suggestion:
        say(f"Did you mean: {suggestion}")


def _meant(command: str, likeness: float = 0.6) -> str:
    """Return the form of the command that was probably meant; "" if none is similar."""
    import difflib  # only needed after a mistake

    verb = command.split(" ", 1)[0].lower()
    if verb in ELSEWHERE:
        return ELSEWHERE[verb].form
    near = difflib.get_close_matches(verb, COMMANDS, 1, likeness)
    return COMMANDS[near[0]].form if near else ""


def point_at_id(name: str) -> None:
    """Warn on standard error if an ID looks like a mistyped command."""
    if suggestion := _meant(name, LIKE_A_COMMAND):
        warning = f"[!] {name} is taken for the ID, not for a command. Did you mean: {suggestion}"
        print(warning, file=sys.stderr, flush=True)


def _echoing_reader() -> Callable[[], str]:
    """Return a reader for a pipe, which shows each command where a user would have typed it."""

    def read() -> str:
        print(PROMPT, end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        command = line.removesuffix("\n").removesuffix("\r")
        say(without_controls(without_password(command)))
        return command

    return read


def _remember_key(keys: dict[str, None], command: str) -> None:
    words = command.split(" ", 2)
    if len(words) > 1 and row_of(words[0]).operands.begins_with_key and len(keys) < KEYS_OFFERED:
        keys[words[1]] = None


def _line_editor(keys: dict[str, None]) -> Callable[[], str]:
    """Return a reader for a terminal, with history and completion if readline exists."""
    if readline is not None:
        readline.set_completer_delims(" ")
        readline.set_completer(lambda text, state: _completion(keys, text, state))
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        _open_history(readline)
    return _read_typed


def _read_typed() -> str:
    """Return the typed line; "" if Ctrl-C cancelled a line that had begun.

    Without readline, a line that has begun can't be detected, so Ctrl-C ends the client.
    """
    try:
        line = input(PROMPT)
        if readline is not None and without_password(line) != line:
            with contextlib.suppress(ValueError):  # editors without a history
                readline.remove_history_item(readline.get_current_history_length() - 1)
        return line
    except KeyboardInterrupt:
        if readline is None or not readline.get_line_buffer():
            raise
        say()
        return ""


def _completion(keys: dict[str, None], text: str, state: int) -> str | None:
    assert readline is not None
    before = readline.get_line_buffer()[: readline.get_begidx()].split()
    if not before:
        matches = [f"{verb} " for verb in sorted(COMPLETED) if verb.startswith(text)]
    elif len(before) == 1 and "KEY" in row_of(before[0]).operands.form:
        matches = [f"{key} " for key in keys if key.startswith(text)]
    else:
        matches = []
    return matches[state] if state < len(matches) else None


def history_path() -> Path:
    """Return the path of the history file, in the XDG state folder; a relative XDG path is
    ignored."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = "~/.local/state"
    return Path(state).expanduser() / "raftline" / "history"


def _open_history(editor: ModuleType) -> None:
    """Load the history of earlier sessions, and save this session's at exit; do neither without a
    folder."""
    import atexit  # only needed on a terminal

    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: no home folder is known
        path = history_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # typed values may be secrets
        editor.read_history_file(path)
        editor.set_history_length(HISTORY_LINES)
        atexit.register(_save_history, editor, path)


def _save_history(editor: ModuleType, path: Path) -> None:
    with contextlib.suppress(OSError):
        editor.write_history_file(path)
