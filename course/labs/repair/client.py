"""The lab's client: `python3 course/labs/repair/client.py`, once three nodes run.

Commands may come from a pipe:
`printf '2\n44\n77\n\n1\nexit\n' | python3 course/labs/repair/client.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import io
import itertools
import os

from labs.checking import end_with
from labs.repair.actions import RepairLab
from labs.repair.arguments import members_of, parser_of
from labs.repair.asking import LabError
from raftline.client import ClientError
from raftline.common.process import signals

MENU = """
To restart election enter "1"
To write values to all nodes through leader enter "2"
To write values to only leader and simulate a failure enter "3"
To delete the log file of a follower enter "4"
To see how far each node is enter "5"
(or "exit" to quit): """
NEXT = """No other node has the value, and its client waits.
To let the leader replicate again enter "1"
To let another node be elected first enter "2"
(nothing is 1): """
ELECTED_FIRST = ("2", "o")
EXIT = "exit"


def ask(prompt: str) -> str:
    """Return the typed line; `exit` at the end of the input."""
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not (line and sys.stdin.isatty()):  # else the terminal shows the typed line
        print(line.rstrip("\n"))
    return line.strip() if line else EXIT


class MenuSession:
    """One person at the menu."""

    def __init__(self, lab: RepairLab, seconds: float) -> None:
        self._lab = lab
        self._seconds = seconds
        self._next = itertools.cycle(lab.members)  # any node may be asked, each in turn

    def choose(self, choice: str) -> bool:
        """Carry out the choice; return whether to continue."""
        match choice.lower():
            case "1":
                self._lab.restart_election(self._seconds)
            case "2":
                self._lab.replicate_again()
                while value := self._value("A value for all, or nothing to go back: "):
                    self._submit(value)
            case "3":
                self._only_leader()
            case "4":
                if follower := self._follower():
                    self._lab.delete_log(follower)
            case "5":
                self._lab.show()
            case "exit":
                return False
            case "":
                pass
            case _:
                print(f"{choice!r} is none of 1, 2, 3, 4, 5 and exit.")
        return True

    def _value(self, prompt: str) -> str:
        value = ask(prompt)
        return "" if value.lower() == EXIT else value

    def _submit(self, value: str) -> None:
        """Submit a value to the next node in turn; an error doesn't end the session."""
        try:
            self._lab.submit(value, next(self._next))
        except (LabError, ClientError) as problem:
            print(f"Sorry, {problem}")

    def _only_leader(self) -> None:
        value = self._value("A value for the leader only, or nothing to go back: ")
        if not value:
            return
        pending = self._lab.write_to_leader_only(value)
        try:
            if ask(NEXT).lower() in ELECTED_FIRST:
                pending.overwrite(self._seconds)
            else:
                pending.commit()
        finally:
            pending.end()  # even after an error: else no later write would succeed

    def _follower(self) -> str:
        """Return the follower chosen by its number or its name, or ""."""
        followers = self._lab.followers()
        if not followers:
            print("No follower answers.")
            return ""
        # The position in the configuration: 2 is node2, whichever node leads.
        places = enumerate(self._lab.members, start=1)
        numbers = {str(place): name for place, name in places if name in followers}
        choices = ", ".join(f"{number} for {name}" for number, name in numbers.items())
        prompt = f"Whose log? Enter {choices}, or nothing to go back: "
        while (chosen := self._value(prompt)) not in (*numbers, *followers, ""):
            print(f"{chosen!r} is none of them.")
        return numbers.get(chosen, chosen)


def main() -> int:
    """Serve the menu until `exit`; return the exit status."""
    parser = parser_of("The repair lab's client.")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="the slow heartbeat of choice 1 (default: 20)"
    )
    arguments = parser.parse_args()
    if not 0 < arguments.seconds <= 3600:  # nan fails this, too
        parser.error("--seconds is a number above 0, up to 3600")
    lab = RepairLab(members_of(parser, arguments.config))
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):  # any bytes may be typed, and any text shown
            stream.reconfigure(errors=errors)
    signals.end_with_starter(lambda: os._exit(1))  # if a checker has started it
    session = MenuSession(lab, arguments.seconds)
    while True:
        try:
            if not session.choose(ask(MENU)):
                return 0
        except (LabError, ClientError) as problem:
            print(f"Sorry, {problem}")
        except KeyboardInterrupt:
            print()
            return 130


if __name__ == "__main__":
    end_with(main)
