"""A journal shows a piece twice, lost or out of its place, and a stale read; and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from raftline.state.commands import key_commands
from raftline.state.store import Store
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.workloads.journal import Append, Journal, Seen

ONE, TWO = "c1.1é;", "c1.2\\n;"  # of 7 bytes and of 6


def journal(
    appends: Sequence[Append] = (), seen: Sequence[Seen] = (), unknown: Sequence[str] = ()
) -> Journal:
    made = Journal()
    made.appends, made.seen, made.unknown = [*appends], [*seen], dict.fromkeys(unknown, 0.0)
    return made


@pytest.mark.parametrize("final", [ONE + TWO, f"{ONE}{TWO}c2.1;", f"{ONE}c2.1;{TWO}"])
def test_what_one_copy_of_the_value_could_answer_passes(final: str) -> None:
    size = 13 if final.startswith(ONE + TWO) else 18
    appends = [Append(1, 2, ONE, 7), Append(3, 6, TWO, size)]
    seen = [Seen(0, 9, ""), Seen(3, 4, ONE), Seen(7, 8, final)]
    journal(appends, seen, ["c2.1;"]).judge(final)


@pytest.mark.parametrize(
    ("final", "why"),
    [
        (ONE + TWO + TWO, "took effect twice"),
        (TWO + ONE, "was answered to end at byte 7, and ends at 13"),
        (ONE, "and ends at None"),
        (f"{ONE}{TWO}c9.1;", "was not requested by any client"),
    ],
)
def test_a_piece_that_is_not_there_once_in_its_place_is_reported(final: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        journal([Append(1, 2, ONE, 7), Append(3, 4, TWO, 13)]).judge(final)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Seen(3, 4, ""), "a read found 0 bytes, though 7 were reported"),
        (Seen(3, 4, "c1.1"), "which does not begin"),
        (Seen(3, 4, TWO), "which does not begin"),
    ],
)
def test_a_read_that_missed_what_was_answered_is_reported(seen: Seen, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        journal([Append(1, 2, ONE, 7)], [seen]).judge(ONE)


def test_an_append_before_what_had_been_answered_is_reported() -> None:
    with pytest.raises(AssertionError, match="an append was answered with 7 bytes, though 13"):
        journal([Append(5, 6, ONE, 7), Append(1, 2, TWO, 13)]).judge(ONE + TWO)
    with pytest.raises(AssertionError, match="an append was answered with 7 bytes, though 7"):
        journal([Append(5, 6, ONE, 7)], [Seen(1, 2, ONE)]).judge(ONE)


def run_all(seeds: Iterable[int]) -> None:
    for seed in seeds:
        run(seed)


def test_an_append_that_takes_effect_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(store: Store, operands: str) -> str | None:
        key_commands._append(store, operands)
        return key_commands._append(store, operands)

    monkeypatch.setitem(key_commands.APPLIED, "append", doubled)
    with pytest.raises(SimulationFailed, match="took effect twice"):
        run_all(range(9, 30))
