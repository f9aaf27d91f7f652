"""The twelve milestones: the topic, the faults and the points of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from raftline_course.grading import situations as drawn
from raftline_course.grading.situations import Situation
from raftline_course.home import ROOT
from raftline_testing.virtual.world.plan import NEVER

LAB = ROOT / "labs" / "write-raft"
POINTS = 10  # of each milestone: half for its transcripts, half for its schedules
TRANSCRIPT_POINTS = 5
CRASHES = ("kill", "power cut", "kill all", "die writing", "slow disk")
CUTS = ("isolate", "split", "cut one way", "heal", "deafen", "mute")
READS: Mapping[str, object] = {"logged_reads": 0.05}  # the other reads are confirmed by a round
BAD_NETWORK: Mapping[str, object] = {
    "loss": (0, 0.02, 0.1), "duplicates": (0.05, 0.3), "late": (0.02, 0.1, 0.3),
    "replays": (0.05, 0.2), "delay_ms": (10, 30),
}  # fmt: skip


@dataclass(frozen=True)
class Milestone:
    """One milestone. `given` fixes the values that aren't drawn by chance: a tuple is a choice."""

    number: int
    name: str
    section: str
    nodes: tuple[int, ...]
    faults: tuple[str, ...] = ()
    given: Mapping[str, object] = field(default_factory=dict)
    count: int = 100  # schedules
    timeouts: int = 40  # election timeouts of a schedule before the healing
    quorum_check: bool = False
    machine: bool = False  # the state machine is also tested
    situations: tuple[Situation, ...] = ()  # drawn on purpose

    @property
    def transcripts(self) -> list[Path]:
        return sorted((LAB / "transcripts").glob(f"{self.number:02}-*.txt"))

    @property
    def replicates(self) -> bool:
        """Whether entries reach the majority; else a healed cluster only has to elect."""
        return self.number not in (2, 3)

    @property
    def in_order(self) -> bool:
        """Whether the messages from one server to another keep their order, until milestone 6."""
        return self.number < 6

    def nodes_of(self, seed: int) -> int:
        return self.nodes[seed % len(self.nodes)]


MILESTONES = (
    Milestone(1, "a lone server leads", "§5.1, §5.2", (1,), timeouts=10,
        situations=(drawn.lone_with_a_log, drawn.lone_with_a_slow_disk),
    ),
    Milestone(2, "a majority elects", "§5.2", (3, 4, 5), ("isolate", "kill"), {"clients": 0},
        situations=(
            drawn.timeouts_are_drawn, drawn.no_half_is_a_majority, drawn.a_vote_resets_the_timer,
            drawn.nothing_else_resets_the_timer, drawn.a_vote_in_each_term, drawn.split_vote,
        ),
    ),
    Milestone(
        3, "votes last, the better log wins", "§5.1, §5.4.1", (3, 5),
        ("kill", "power cut", "isolate", "kill all"), {"clients": 0},
        situations=(
            drawn.the_better_log, drawn.a_vote_outlives_a_crash,
            drawn.a_denied_vote_resets_no_timer,
        ),
    ),
    Milestone(4, "the leader's log reaches all", "§5.3", (3, 5), timeouts=20,
        situations=(
            drawn.answers_are_counted, drawn.a_minority_is_away, drawn.a_candidate_yields,
        ),
    ),
    Milestone(
        5, "logs that differ become one", "§5.3", (3, 5), ("depose", "isolate", "split"),
        {"clients": 4, "think_ms": (20, 60)},
        situations=(
            drawn.figure_7, drawn.what_comes_before_must_agree, drawn.a_cut_entry_left_the_disk,
        ),
    ),
    Milestone(6, "late and doubled messages", "§5.1, §5.3", (3, 5), CUTS, BAD_NETWORK,
        situations=(
            drawn.a_late_append_cuts_nothing, drawn.words_of_earlier_terms,
            drawn.commit_what_matched,
        ),
    ),
    Milestone(
        7, "only entries of its own term", "§5.4.2", (3, 5), ("depose", "kill", "isolate"),
        {"clients": 4, "think_ms": (20, 60), "delay_ms": (10, 30)},
        situations=(drawn.figure_8,),
    ),
    Milestone(
        8, "crashes and disks", "§5.6, Figure 2", (3, 5), (*CRASHES, "lose log", "lose storage"),
        {"disk_ms": (2, 10, 40), "loss": (0, 0.02)},
        situations=(
            drawn.a_restart_keeps_all, drawn.an_answer_waits_for_the_disk,
            drawn.lost_files_lost_vote,
        ),
    ),
    Milestone(
        9, "clients: reads, and once only", "§8", (3, 5), ("depose", "isolate", "pause", "kill"),
        {**READS, "sessions": 0.5, "conditions": 0.4, "appends": 0.2}, machine=True,
        situations=(
            drawn.a_stale_read, drawn.a_read_without_a_majority, drawn.a_round_before_the_read,
            drawn.a_read_before_the_first_commit,
        ),
    ),
    Milestone(
        10, "a leader that nobody answers", "thesis §6.2", (3, 5), (*CUTS, "bridge", "pause"),
        {**READS, "loss": (0, 0.05), "clients": 1}, quorum_check=True,
        situations=(drawn.a_minority_stays_away, drawn.a_leader_cut_off, drawn.a_later_term),
    ),
    Milestone(
        11, "snapshots", "§7", (3, 5), (*CUTS, *CRASHES),
        {**READS, **BAD_NETWORK, "compact_bytes": (400, 2000), "disk_ms": (2, 10)},
        situations=(drawn.a_snapshot_refills,),
    ),
    Milestone(
        12, "members", "§6, thesis §4.2.2", (1, 3), ("kill", "isolate", "depose"),
        {**READS, "spares": (1, 2), "change_every_ms": (3, 8), "compact_bytes": (NEVER, 2000)},
        timeouts=60,
        situations=(drawn.members_come_and_go,),
    ),
)  # fmt: skip
