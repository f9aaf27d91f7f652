"""A look at a node's files, once a second: whether they still have their names.

It is a job as in snapshots.py: a thread does it, or a schedule. The look itself is an act between
two writes, so that no rename of the node's own is under way.
"""

from __future__ import annotations

from collections.abc import Callable

from ..logmanager import LogManager
from ..storage.lostfiles import LossStep, decide, lost_files
from .snapshots import Turn, Turns, When

LOOK_S = 1.0
RETRY_LOOKS = 10  # until files that can't be written are tried again


class FileCheck:
    """Looks after the names of one node's files."""

    def __init__(
        self, logmanager: LogManager, write_again: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        """`write_again` has a snapshot taken, and the log written again after it."""
        self._logmanager = logmanager
        self._write_again = write_again
        self._say = say
        self._waited = 0
        self.lost: list[str] = []  # files that are not in the folder at the moment

    def look_after(self) -> Turns[None]:
        """Look again and again."""
        while True:
            yield Turn(When.WOKEN, limit_s=LOOK_S)
            yield Turn(When.BETWEEN_WRITES, self.look)

    def look(self) -> bool:
        """Look at the files, between two writes, and do what that leads to.

        Raises:
            StorageError: another file has the name of one, or the small ones can't be written.
        """
        manager = self._logmanager
        states = manager.file_states()
        if states is None:
            return True
        step = decide(states, self.lost)
        self.lost = lost_files(states)
        if step is LossStep.WRITE_AGAIN:
            self._waited = 0
            self._say(f"[!] {manager.name}: {_told(self.lost, manager.folder_path)}")
            manager.write_small_again(states)
            self._write_again()
        elif step is LossStep.WAIT:
            self._waited += 1
            if self._waited % RETRY_LOOKS == 0:
                manager.write_small_again(states)
                self._write_again()
        elif step is LossStep.DONE:
            self._say(f"[*] {manager.name}: its files in {manager.folder_path} are whole again")
        return True


def _told(names: list[str], folder: str) -> str:
    is_one = len(names) == 1
    what = f"{', '.join(names)} {'was' if is_one else 'were'} removed, renamed or cut in {folder}"
    return (
        f"{what} by another program. After a crash this node would lack what it acknowledged "
        f"since; it now writes {'it' if is_one else 'them'} again from memory. Keep other programs "
        "(logrotate, clean-up jobs) away from this folder. See docs/repair.md"
    )
