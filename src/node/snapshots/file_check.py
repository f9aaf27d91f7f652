"""A check of a node's files, once a second: whether they still have their names.

The thread that writes the files does it between two writes, so that it is not renaming a file at
that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...logmanager import LogManager
from ...storage.disk import DiskFailed
from ...storage.lost_files import FileState, Identity, LossStep, decide, lost_files

RETRY_CHECKS = 10  # until files that can't be written are tried again


class FileCheck:
    """Checks that the files of one node keep their names."""

    def __init__(
        self, logmanager: LogManager, write_again: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        """`write_again` starts a snapshot, after which the log is rewritten."""
        self._logmanager = logmanager
        self._write_again = write_again
        self._say = say
        self._waited = 0
        self.lost: list[str] = []  # files that are missing in the folder at the moment
        self._awaited: list[str] = []  # of these, the ones that are being written again
        self._old_log: Identity | None = None  # the log until they have been

    def look(self) -> bool:
        """Check the files, between two writes, and write lost ones again.

        Raises:
            StorageError: another file has the name of one of them, or it is unknown which of the
                small files were written.
        """
        manager = self._logmanager
        states = manager.file_states()
        if states is None:
            return True
        lost = lost_files(states)
        if manager.log_identity != self._old_log:  # a file that is lost now is lost once more
            self._awaited = []
        step = decide(states, self._awaited if lost else self.lost)
        self.lost = lost
        if step is LossStep.WRITE_AGAIN:
            self._waited = 0
            self._say(f"[!] {manager.name}: {_told(self.lost, manager.folder_path)}")
            self._begin_again(states)
        elif step is LossStep.WAIT:
            self._waited += 1
            if self._waited % RETRY_CHECKS == 0:
                self._begin_again(states)
        elif step is LossStep.DONE:
            self._say(f"[*] {manager.name}: its files in {manager.folder_path} are whole again")
        return True

    def _begin_again(self, states: Mapping[str, FileState]) -> None:
        """Write the small files, and then the others in their own time. While the disk has no room
        for them, the node continues: its memory has what they lack."""
        self._awaited, self._old_log = self.lost, self._logmanager.log_identity
        try:
            self._logmanager.write_small_again(states)
            self._awaited = [name for name in self.lost if name in self._logmanager.long_files]
        except DiskFailed as error:
            if not error.changed_nothing:
                raise
            self._say(
                f"[!] {self._logmanager.name}: could not write its lost files again: "
                f"{error.survived}"
            )
        self._write_again()


def _told(names: list[str], folder: str) -> str:
    is_one = len(names) == 1
    which = f"{', '.join(names)} {'was' if is_one else 'were'}"
    return (
        f"{which} removed, renamed, cut or extended in {folder} by another program. After a crash "
        "this node would lack what it acknowledged since; it now writes "
        f"{'it' if is_one else 'them'} again from memory. Keep other programs (logrotate, log "
        "agents, clean-up jobs) away from this folder. See docs/repair.md"
    )
