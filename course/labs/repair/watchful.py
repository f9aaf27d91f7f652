"""A node that notices when its log is deleted under it.

The course's program then reads its log again, forgets its acknowledgements, and continues to vote.
A node of ours has the log in memory and writes it again. In the lab the loss is the lesson: the
node stops, and returns as a node that lost its log, without a vote.
"""

from __future__ import annotations

import threading
import time

from raftline.wire.commands.command_table import Request
from raftline_course.controlled_server import ControlledServer

CHECK_S = 0.2


class WatchfulServer(ControlledServer):
    """A server that restarts without its log when the log is deleted."""

    checks_files = False  # else the log might be complete again before the loss is noticed

    def start(self) -> None:
        found = self.node.view.durable_index
        super().start()
        threading.Thread(
            target=self._watch, args=(found,), name=f"{self.name} log", daemon=True
        ).start()

    def _watch(self, found: int) -> None:
        """Wait until the log of this start is gone, and then restart; the new start watches again.
        `found` is the last entry that this start found in its files: the log has held any later
        durable entry, however shortly."""
        node, log = self.node, self._startup.configuration.folder / f"{self.name}.log"
        was_there = log.exists()
        missing = 0
        while missing < 2:  # once may be a controller's DELETE-LOG, which is about to stand down
            time.sleep(CHECK_S)
            if self.node is not node:
                return
            is_there = log.exists()
            was_there = was_there or is_there or node.view.durable_index > found
            missing = 0 if is_there or self.is_down or not was_there else missing + 1
        self._console.say(
            f"[!] {self.name}: {log.name} was deleted while it ran. It starts anew, without a vote "
            "until it has caught up"
        )
        for verb in ("SHUTDOWN", "RESTART"):
            self.control.obey(Request("Controller", "", verb, verb), "127.0.0.1")
