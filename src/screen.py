"""The client's screen, as in the seed's figures 1, 5 and 6; line editing on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from raftline.conversation import READS, Client
from raftline.escapes import without_controls
from raftline.link import Address, ClientError
from raftline.replies import Outcome, screen_lines

readline: ModuleType | None
try:
    import readline
except ImportError:  # Windows, and Pythons built without it: plain typing then
    readline = None

RULE = "-----"
PROMPT = "    >> "
VERBS = (
    "append", "cas", "delete", "exit", "get", "help", "incr", "set", "setnx", "show", "status",
)  # fmt: skip
HELP_LINES = (
    "get KEY                     the value of KEY",
    "set KEY VALUE               VALUE is the rest of the line",
    "delete KEY                  remove KEY",
    "show [PREFIX] [after KEY]   all pairs",
    "status                      what this node knows of the cluster",
    "exit                        or Ctrl-D",
    r"Inside a key a space is written \s; a newline \n, a backslash \\, any byte \xNN.",
)
HISTORY_LINES = 1000
KEYS_OFFERED = 10_000


def say(text: str = "") -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


def say_connecting(address: Address) -> None:
    """Print the figure's first line."""
    say(f"[*] Connecting to {address.host} port {address.port}")


def run_screen(client: Client, on_terminal: bool) -> int:
    """Converse until the input ends, Ctrl-C or `exit`; return the exit code.

    That is 0 however the commands went, for the screen has said it; 4 when Ctrl-C left a write
    without its answer.
    """
    keys: dict[str, None] = {}  # in the order in which they were seen
    read = _line_editor(keys) if on_terminal else _echoing_reader()
    outcome = Outcome.DONE
    try:
        while True:
            say(f"\n{RULE}\n[*] Type your message:")
            command = read()
            if command.strip() in ("exit", "quit"):
                break
            if command.strip() == "help":
                say("\n" + "\n".join(HELP_LINES))
            elif command.strip():
                outcome = Outcome.UNKNOWN  # until the answer is here
                _remember_key(keys, command)
                _converse(client, command)
                outcome = Outcome.DONE
    except EOFError:
        say()
    except KeyboardInterrupt:
        say()
        if outcome is Outcome.UNKNOWN and command.partition(" ")[0] in READS:
            outcome = Outcome.DONE
        if outcome is Outcome.UNKNOWN:
            say("Sorry, outcome unknown: you left before the answer came.")
    say("[*] Closing socket")
    return outcome


def _converse(client: Client, command: str) -> None:
    say(f"[*] Sending: {without_controls(command)}")
    try:
        lines = screen_lines(client.ask(command).text)
    except ClientError as error:
        lines = [f"Sorry, {error}"]
    say("[*] Received:\n\n" + "\n".join(lines))


def _echoing_reader() -> Callable[[], str]:
    """Return a reader for a pipe: it shows each command where a person would have typed it."""

    def read() -> str:
        print(PROMPT, end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        command = line.removesuffix("\n").removesuffix("\r")
        say(without_controls(command))
        return command

    return read


def _remember_key(keys: dict[str, None], command: str) -> None:
    words = command.split(" ", 2)
    if len(words) > 1 and words[0] in ("get", "set", "delete") and len(keys) < KEYS_OFFERED:
        keys[words[1]] = None


def _line_editor(keys: dict[str, None]) -> Callable[[], str]:
    """Return a reader for a terminal, with history and completion where readline is there."""
    if readline is not None:
        readline.set_completer_delims(" ")
        readline.set_completer(lambda text, state: _completion(keys, text, state))
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        _open_history(readline)
    return lambda: input(PROMPT)


def _completion(keys: dict[str, None], text: str, state: int) -> str | None:
    assert readline is not None
    before = readline.get_line_buffer()[: readline.get_begidx()].split()
    if not before:
        found = [f"{verb} " for verb in VERBS if verb.startswith(text)]
    elif len(before) == 1 and before[0] in ("get", "set", "delete", "show"):
        found = [f"{key} " for key in keys if key.startswith(text)]
    else:
        found = []
    return found[state] if state < len(found) else None


def history_path() -> Path:
    """Return where typed lines are kept (XDG base directories: state)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "raftline" / "history"


def _open_history(editor: ModuleType) -> None:
    """Have the history of earlier sessions, and keep this one's; without a place, neither."""
    import atexit  # only a terminal needs it

    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
        path = history_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # typed values may be secrets
        editor.read_history_file(path)
        editor.set_history_length(HISTORY_LINES)
        atexit.register(_save_history, editor, path)


def _save_history(editor: ModuleType, path: Path) -> None:
    with contextlib.suppress(OSError):
        editor.write_history_file(path)
