"""The rows of the commands for locks and queues, in the order of the help. Pure.

`command_effects.py` applies them, and measures how long that takes.
"""

from __future__ import annotations

from typing import Final

from raftline.wire.commands.command_row import Command, Handling, ReplyForm, Work
from raftline.wire.commands.rights import UPDATES_CLAIM, WRITES_CLAIM, WRITES_PREFIX

from .recipe_operands import DEQUEUE, ENQUEUE, HOLD, ONE_CLAIM, REQUEUE

RECIPE: Final = Handling("write", is_numbered=True, look="show")  # of several keys
NO_PLACE: Final = "[^ ]+ (?:0 [^ ]+|[^ ]+ [^ ]+ now) "  # of a `dequeue`: in line
# The words of replies to requests that were not done.
IN_LINE: Final = "in line"
NOT_FREE: Final = "not free"
ABANDONED: Final = "abandoned"
NO_SUCH_CLAIM: Final = "no such claim"
NO_SUCH_JOB: Final = "no such job"
ROWS: Final = (
    Command("hold", HOLD, "take a seat of a lock, or a place in line", RECIPE,
            WRITES_CLAIM, work=Work.MEASURED, not_met=(IN_LINE, NOT_FREE, ABANDONED)),
    Command("unhold", ONE_CLAIM, "give the seat to the next claim in line", RECIPE,
            WRITES_CLAIM, work=Work.MEASURED, frees="", not_met=(NO_SUCH_CLAIM,)),
    Command("abandon", ONE_CLAIM, "give up all that a claim has or may yet get",
            RECIPE, WRITES_CLAIM, work=Work.MEASURED),
    Command("enqueue", ENQUEUE, "add a job to a queue", RECIPE, WRITES_PREFIX,
            ReplyForm.NUMBER, work=Work.MEASURED, is_part=True),
    Command("requeue", REQUEUE, "let a dead job of a queue wait again", RECIPE,
            WRITES_PREFIX, ReplyForm.NUMBER, work=Work.MEASURED, not_met=(NO_SUCH_JOB,)),
    Command("dequeue", DEQUEUE, "end jobs of a queue, then take others or wait",
            RECIPE, UPDATES_CLAIM, ReplyForm.FACTS, work=Work.MEASURED,
            frees=NO_PLACE, not_met=(ABANDONED,)),
)  # fmt: skip
