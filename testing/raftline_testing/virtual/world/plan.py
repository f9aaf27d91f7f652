"""The plan of one schedule: picked from its seed, so that no two plans are alike.

Every schedule has many faults of some kinds and none of other kinds. Together they reach further
than a constant mixture (Groce et al., "Swarm Testing", 2012).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from raftline.node.loop.writer import WAITING_MAX
from raftline.raft.newborn import PATIENCE
from raftline.raft.state import Options
from raftline.wire.limits import QUEUED_BYTES

from .chance import up_to

FAULTS = (
    "cut one way",
    "isolate",
    "deafen",
    "mute",
    "split",
    "bridge",
    "depose",
    "heal",
    "pause",
    "power cut",
    "kill",
    "kill all",
    "lose log",
    "lose storage",
    "lose all",
    "slow disk",
    "failing disk",
    "lose connection",
    "hand over",
    "die writing",
)
CLAIMS_SHARE = 0.5  # of the schedules with holders of leases whose faults are drawn
LOCKERS_SHARE = 1 / 8  # of schedules
RARE_SHARE = 1 / 4  # of schedules have one of the rare faults; the other schedules stay the same
NEVER = 1 << 40
LITTLE_ROOM = 1 << 19  # bytes of waiting requests, in schedules with crowds
LEAP_SHARE = 1 / 24  # of schedules, picked after that
NEWEST_SHARE = 1 / 12  # of schedules have one of the newest faults, picked after that
REFUSED_SHARE = 1 / 36  # of schedules have refused snapshots, picked after that
LOST_SHARE = 1 / 24  # of schedules lose the disks of a majority, picked after that
LITTLE_LOG = 400  # bytes, so that a snapshot is often being written
FEW_STEPS = 30  # steps that may wait for a disk, if disks hang: a schedule is too short for many
LATER_FAULTS = (
    "regain",
    "long pause",
    "failing machine",
    "full disk",
)  # picked last: see `pick_plan`
RARE_FAULTS = (
    "hung disk",
    "slow syncs",
    "gone log",
    "older files",
    "foreign files",
    "crowd",
    "wipe at birth",
    "leap",
)  # picked last
NEWEST_FAULTS = (
    "full beside",
    "hung majority",
    "hung candidate",
    "refused snapshot",
    "lost majority",
)
ALL_FAULTS = FAULTS + LATER_FAULTS + RARE_FAULTS + NEWEST_FAULTS


@dataclass(frozen=True)
class Plan:
    """One schedule's constants. Shares refer to all messages, and times are in milliseconds."""

    nodes: int
    options: Options
    loss: float
    duplicates: float
    late: float  # share that arrives after up to `late_ms`, overtaken by later messages
    late_ms: int
    replays: float  # share of messages with which an old message arrives again
    delay_ms: int
    disk_ms: int
    formatted: bool  # messages travel as lines
    steady_clocks: bool
    fault_every_ms: int
    apply_max: int  # entries applied at a time
    compact_bytes: int = NEVER  # of a log that is not rewritten yet
    faults: list[str] = field(default_factory=list)  # each as often as it must occur
    clients: int = 3
    keys: int = 2
    think_ms: int = 30
    spares: int = 0  # additional nodes that wait to be added
    change_every_ms: int = 0  # members change; 0: they stay
    sessions: float = 0  # the share of clients that number their writes
    sessions_max: int = 4096  # sessions that a cluster keeps
    session_window: int = 128  # numbers that a session keeps
    conditions: float = 0  # the share of sets that are a cas or setnx instead
    restarts_differ: float = 0  # the share of starts with other options than before
    appends: float = 0  # the share of writes that append to the journal, and of reads of it
    late_starts: float = 0  # the share of nodes whose first start comes after the others'
    by_hand: int = 0  # entries of one member's hand-written log
    nonmember_every_ms: int = 0  # a non-member sends to a newborn; 0: never
    said_new: float = 0  # the share of first starts that an operator declares as first
    retries_behind: float = 0  # the share of answered writes after which an older one is repeated
    dealers: int = 0  # clients of transactions; with any, the cluster is above the floor
    slow_entries: bool = False  # each entry takes a slice of applying
    holders: int = 0  # holders of leases; with any, the cluster is above the floor
    claims: bool = False  # these take locks and jobs as well
    searchers: int = 0  # clients that run the search of raftline's own clients
    long_ms: int = 0  # time to apply a long entry; 0: there are none
    lockers: int = 0  # programs that take locks; with any, the cluster is above the floor
    queued_bytes: int = QUEUED_BYTES  # of waiting requests
    waiting_max: int = WAITING_MAX  # steps that may wait for a disk
    logged_reads: float = 0.05  # the share of gets that become entries
    is_mixed: bool = False  # some clients and dealers are those of an extension
    pause_ms: int = 5  # the longest pause after each piece of a snapshot or of a rewritten log

    @property
    def hold_ms(self) -> int:
        """How long a request waits for a leader."""
        return 2 * self.options.election_timeout_ms

    def clock_of(self, name: str, chance: random.Random) -> tuple[int, int]:
        """Return the start of a node's clock, and its pace in permille of the world's."""
        start_ms = chance.randint(0, 10_000)
        return start_ms, 1000 if self.steady_clocks else chance.randint(900, 1100)

    def timeouts_of(self, name: str, chance: random.Random, timeout_ms: int) -> Callable[[], int]:
        """Return the function that draws a node's next election timeout."""
        return lambda: timeout_ms + up_to(timeout_ms - 1, chance)

    def options_of_a_start(self, chance: random.Random) -> Options:
        """Return the options of a node's start: now and then with or without leases, and
        patient."""
        if not self.restarts_differ or chance.random() > self.restarts_differ:
            return self.options
        timeout_ms = self.options.election_timeout_ms * chance.choice([1, 1, 2])
        return replace(self.options, lease=chance.random() < 0.5, election_timeout_ms=timeout_ms)


def pick_plan(chance: random.Random, nodes: int | None = None, faults: Sequence[str] = ()) -> Plan:
    """Return a plan; `nodes` fixes the size of the cluster, and `faults` the kinds of faults."""
    timeout_ms = chance.choice([100, 150, 300])
    options = Options(
        election_timeout_ms=timeout_ms,
        heartbeat_ms=timeout_ms // chance.choice([2, 3, 5]),
        batch_entries=chance.choice([1, 2, 3, 2000]),
        batch_bytes=chance.choice([20, 1 << 20]),
        window=chance.choice([1, 2, 8]),
        read_rounds=chance.choice([1, 2]),
        lease=chance.random() < 0.5,
        lease_drift_percent=20,  # clocks run at 90 to 110 percent
        patience=PATIENCE,
    )
    kinds = chance.sample(FAULTS, chance.choice([1, 2, 3, 5, 8]))
    if chance.random() < 0.4:
        kinds.append("depose")
    fair = chance.random() < 0.4  # the network and the disks are in order until a fault strikes
    plan = Plan(
        nodes=nodes or chance.choice([1, 2, 3, 3, 3, 3, 4, 5, 5]),
        options=options,
        loss=0 if fair else chance.choice([0, 0, 0.02, 0.1, 0.3]),
        duplicates=chance.choice([0, 0, 0.05, 0.3]),
        late=0 if fair else chance.choice([0, 0.02, 0.1, 0.3]),
        late_ms=timeout_ms * chance.choice([1, 3, 10, 30]),
        replays=chance.choice([0, 0, 0.05, 0.2]),
        delay_ms=chance.choice([2, 10] if fair else [2, 10, 30, timeout_ms // 3, timeout_ms]),
        disk_ms=chance.choice([0, 2] if fair else [0, 2, 10, 40]),
        formatted=chance.random() < 0.5,
        steady_clocks=chance.random() < 0.3,
        fault_every_ms=timeout_ms * chance.choice([1, 3, 6, 12]),
        apply_max=chance.choice([1, 3, 4096]),
        faults=[kind for kind in faults or kinds for _ in range(chance.choice([1, 1, 3]))],
        clients=chance.choice([2, 4, 6]),
        keys=chance.choice([1, 2, 3]),
        think_ms=chance.choice([5, 30, 100]),
    )
    # Newer parts are picked last, so the rest of a known seed's plan stays the same.
    options = replace(
        options,
        chunk_bytes=chance.choice([20, 150, 1 << 18]),
        chunk_window=chance.choice([1, 2]),
        trailing_bytes=chance.choice([0, 0, 500, 1 << 20]),
    )
    plan = replace(plan, options=options, compact_bytes=chance.choice([NEVER, 2000, 2000, 400]))
    plan = replace(
        plan,
        spares=chance.choice([0, 0, 1, 2]),
        change_every_ms=timeout_ms * chance.choice([0, 1, 3, 8]),
        sessions=chance.choice([0, 0.5, 1]),
        sessions_max=chance.choice([2, 4096]),
        session_window=chance.choice([2, 128]),
        conditions=chance.choice([0, 0, 0.4]),
    )
    plan = replace(
        plan, appends=chance.choice([0, 0.2, 0.5]), restarts_differ=chance.choice([0, 0, 0.5])
    )
    plan = replace(plan, retries_behind=chance.choice([0, 0.1]))
    plan = replace(
        plan,
        late_starts=chance.choice([0, 0, 0.3, 0.6]),
        by_hand=chance.choice([0, 0, 0, 3]),
        nonmember_every_ms=chance.choice([0, timeout_ms // 4]),
        said_new=chance.choice([0, 0, 0.5]),
    )
    later = ["regain"] * (chance.choice([0, 0, 1]) if not faults else 0)
    plan = replace(plan, holders=chance.choice([0, 0, 3]))
    later += ["long pause"] * (chance.choice([0, 0, 1]) if not faults else 0)
    plan = replace(plan, dealers=chance.choice([0, 0, 0, 2]))
    plan = replace(plan, slow_entries=chance.random() < 0.3)
    later += ["failing machine"] * (chance.choice([0, 0, 1]) if not faults else 0)
    plan = replace(plan, pause_ms=chance.choice([5, 5, timeout_ms]))
    plan = replace(plan, searchers=chance.choice([0, 0, 1]))
    plan = replace(plan, long_ms=chance.choice([0, 0, 0, 1000]))
    later += ["full disk"] * (chance.choice([0, 0, 1]) if not faults else 0)
    plan = replace(plan, faults=plan.faults + later)
    if chance.random() < LOCKERS_SHARE:
        plan = with_lockers(plan, 2)
    if not faults and chance.random() < RARE_SHARE:
        plan = replace(plan, faults=[*plan.faults, chance.choice(RARE_FAULTS[:-1])])
    if not faults and chance.random() < LEAP_SHARE:
        plan = replace(plan, faults=[*plan.faults, "leap"])
    if not faults and chance.random() < NEWEST_SHARE:
        plan = replace(plan, faults=[*plan.faults, chance.choice(NEWEST_FAULTS[:3])])
    if not faults and chance.random() < REFUSED_SHARE:
        plan = replace(plan, faults=[*plan.faults, "refused snapshot"])
    if not faults and chance.random() < LOST_SHARE:
        plan = replace(plan, faults=[*plan.faults, "lost majority"])
    return _with_room_for_faults(plan)


def _with_room_for_faults(plan: Plan) -> Plan:
    """Return a plan in which its faults can strike, and their effects be judged."""
    if "full beside" in plan.faults:
        plan = replace(plan, compact_bytes=LITTLE_LOG)
    if {"hung majority", "hung candidate", "refused snapshot"} & {*plan.faults}:
        plan = _with_calm(plan)
    if "refused snapshot" in plan.faults:
        options = replace(plan.options, trailing_bytes=0, chunk_bytes=1 << 18)
        plan = replace(plan, options=options, compact_bytes=LITTLE_LOG)
    if "lost majority" in plan.faults and "wipe at birth" not in plan.faults and plan.nodes > 2:
        plan = replace(plan, options=replace(plan.options, patience=None))
    if "hung disk" in plan.faults:
        plan = replace(plan, waiting_max=FEW_STEPS)
    if "crowd" in plan.faults:
        # Thousands of entries must not travel, or be applied, one by one.
        options = replace(plan.options, batch_entries=2000, batch_bytes=1 << 20, window=8)
        plan = replace(plan, options=options, queued_bytes=LITTLE_ROOM, apply_max=4096)
        plan = replace(plan, slow_entries=False)
    return plan


def _with_calm(plan: Plan) -> Plan:
    """Return a plan whose network works, so that a leader stays, and without leases, whose promises
    wait for the disks. Another server may join, and nothing else changes the members."""
    options = replace(plan.options, lease=False)
    plan = replace(plan, options=options, loss=0, late=0, delay_ms=min(plan.delay_ms, 10))
    plan = replace(plan, slow_entries=False, long_ms=0, restarts_differ=0)
    plan = replace(plan, spares=1, late_starts=0, change_every_ms=0, by_hand=0)
    every_ms = options.election_timeout_ms
    return replace(plan, think_ms=max(30, plan.think_ms), fault_every_ms=every_ms)


def with_lockers(plan: Plan, count: int) -> Plan:
    """Return a plan in which this many programs take locks, and other clients send fewer
    requests."""
    return replace(
        plan, lockers=count, clients=1, dealers=0, holders=0, by_hand=0, sessions_max=4096
    )


def with_claims(plan: Plan, seed: int) -> Plan:
    """Return a plan in which, in some schedules, the holders of leases take locks and jobs."""
    chance = random.Random(f"claims {seed}")
    return replace(plan, claims=plan.holders > 0 and chance.random() < CLAIMS_SHARE)
