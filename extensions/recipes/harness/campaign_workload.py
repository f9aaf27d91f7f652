"""Clients that take locks and work on jobs, in a campaign against real nodes."""

from __future__ import annotations

from raftline_testing.nemesis.holders import now_ms
from raftline_testing.nemesis.workload import MachineThread, Workload
from raftline_testing.workloads.holder_machine import LeaseBeliefs

from .claim_machine import ClaimBeliefs, ClaimMachine

CLAIMANTS = 3


def added(workload: Workload) -> ClaimBeliefs:
    """Add clients to a workload; return what judges them."""
    counts, mix, seed = workload.counts, workload.mix, workload.seed
    claims = ClaimBeliefs(counts, f"claims.{mix.prefix}")
    for number in range(1, CLAIMANTS + 1):
        name, chance, _ = workload.parts(f"claimant{number}")
        machine = ClaimMachine(name, chance, now_ms, LeaseBeliefs(), counts, claims)
        workload.add(MachineThread(machine, workload.nodes, mix, seed, workload.pulse))
    return claims
