"""The first worlds in which disks may be lost: each is the end of a short script.

The servers give each cluster an identity, and their clocks are independent: any timer may fire at
any time, so nothing that a search shows rests on timing. A message dies with the process that it
was sent to, as its connection does, but not with its sender.
"""

from __future__ import annotations

from typing import NamedTuple


class Scene(NamedTuple):
    """The servers of a world, and the acts before it: a choice, with the server that takes it."""

    acts: str
    configured: int = 3  # the members in the configuration files: s1 … sN
    joiners: int = 0  # servers after those, started to join
    is_about_votes: bool = False  # no leader's message ever arrives
    cut: tuple[str, ...] = ()  # two servers that can't reach each other

    @property
    def servers(self) -> int:
        """The number of servers."""
        return self.configured + self.joiners


_UP = "start s1; start s2; start s3"
_FORMED = (
    f"{_UP}; timeout s3; settle; timeout s1; settle; heartbeat s1; settle; heartbeat s1; settle"
)
_WRITTEN = f"{_FORMED}; command s1 w; settle; heartbeat s1; settle"
_TWO = (
    "word s2 s3; timeout s1; settle -s3; lose; command s1 w; settle -s3; heartbeat s1; settle -s3; "
    "lose"
)
_BEHIND = f"{_FORMED}; copy s2; command s1 w; settle -s3; heartbeat s1; settle -s3; lose"
_JOINED = "settle; heartbeat s1; settle; heartbeat s1; settle"

SCENES = {
    # nobody has entries, or knows of the others
    "up": Scene(_UP),
    "votes": Scene(_UP, is_about_votes=True),
    # s1 stands in term 1, and s2 is about to; s3 has lost its disk while its vote for s1 is in
    # flight
    "standing": Scene(
        f"{_UP}; timeout s3; settle; timeout s1; timeout s2; deliver s2 s1; deliver s1 s2; "
        "deliver s1 s2; deliver s3 s1; deliver s3 s1; wipe s3; start s3",
        is_about_votes=True,
    ),
    # s1 leads, and all know that its first entry is committed
    "formed": Scene(_FORMED),
    # it has acknowledged a write, and all are down
    "down": Scene(f"{_WRITTEN}; crash s1; crash s2; crash s3"),
    # s1 and s2 have begun, and committed a write; s3 ran, and heard of nothing
    "deaf": Scene(f"{_UP}; word s1 s3; {_TWO}"),
    # the same, and s3 never ran
    "late": Scene(f"start s1; start s2; word s1 s3; {_TWO}"),
    # s1 and s2 have acknowledged a write that s3 lacks; the copy of s2's files lacks it, too
    "behind": Scene(_BEHIND),
    # the same, s2 has lost its disk, and its leader s1 can't reach s3
    "emptied": Scene(f"{_BEHIND}; wipe s2; start s2; heartbeat s1", cut=("s1", "s3")),
    # the state of the leader s1 is wrong, and it can't reach s3
    "differing": Scene(f"{_FORMED}; corrupt s1; command s1 w", cut=("s1", "s3")),
    # s1 began alone, and s2 and s3 were added; the file of s1 still names it alone
    "grown from one": Scene(
        f"{_UP}; word s1; timeout s1; settle; change s1 s2; {_JOINED}; change s1 s3; {_JOINED}; "
        "lose",
        configured=1,
        joiners=2,
    ),
    # s4 and s5 were added to s1, s2 and s3, whose files do not name them; s1 is down, the disks of
    # s2 and s3 are new, and s4 has asked for PreVotes
    "grown from three": Scene(
        f"{_WRITTEN}; start s4; start s5; change s1 s4; {_JOINED}; change s1 s5; {_JOINED}; lose; "
        "crash s1; wipe s2; wipe s3; start s2; start s3; timeout s4",
        joiners=2,
        is_about_votes=True,
    ),
}
