"""Every order of small worlds of the core; and that a search notices faults of the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raftline.raft import election, node, reads, replication
from raftline.raft.effects import HardState
from raftline.raft.log import TermRuns
from raftline.raft.messages import Denial, RequestVote
from raftline.raft.state import State
from raftline_testing.explore import __main__, explored_server
from raftline_testing.explore.budget import QUICK, BudgetError, read
from raftline_testing.explore.facts import Violation
from raftline_testing.explore.frozen import freeze, thaw
from raftline_testing.explore.search import search
from raftline_testing.explore.trace import format_trace, way_to_violation
from raftline_testing.explore.world import World

# One world is in the quick lane, and one fault is.
WORLDS = [
    pytest.param(*world, marks=pytest.mark.slow if number else ())
    for number, world in enumerate(QUICK)
]


def violation_of(text: str, order: str = "random") -> str:
    """Return what a search finds first."""
    return search(World(read(text)), order=order).violation


def commit_by_counting(state: State) -> None:
    """Commit what a quorum holds, of whatever term."""
    held = {name: one.match_index for name, one in state.as_leader.progress.items()}
    held[state.name] = state.durable_index
    state.advance_commit_index(state.membership.reached_by_quorum(held))


cut_after = State.cut_after


def keeps_the_durable_index(state: State, index: int) -> None:
    """Drop the tail of the log, and take what comes instead to be on disk."""
    durable_index = state.durable_index
    cut_after(state, index)
    state.durable_index = durable_index


def bad_ends(world: World) -> set[str]:
    """Return all violations of a world, and each way to continue from there."""
    seen, waiting, found = {world.begin}, [world.begin], set()
    while waiting:
        current = waiting.pop()
        for move in world.moves_of(current):
            try:
                after = world.follow(current, move)
            except Violation as violation:
                found.add(str(violation))
                continue
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return found


@pytest.mark.parametrize(("text", "servers"), WORLDS)
def test_no_order_of_what_may_happen_breaks_a_promise(text: str, servers: int) -> None:
    world = World(read(text), servers, is_reduced=True)
    found = search(world)
    if found.violation:
        pytest.fail(format_trace(world, *way_to_violation(world, "depth", 0, 60)))
    assert found.complete


@pytest.mark.slow
def test_a_search_comes_to_elections_commits_and_crashes() -> None:
    world = World(read("timeout command"), is_reduced=True)
    search(world)
    histories = world.histories.values
    pasts = [history.of() for history in histories]
    assert any(dict(past.leaders).get(2) == "s2" for past in pasts)
    assert any(dict(past.leaders).get(2) == "s3" for past in pasts)
    assert any([entry.term for entry in past.committed] == [1, 1, 2] for past in pasts)
    assert any([entry.term for entry in past.committed] == [1, 2] for past in pasts)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["timeout crash", "transfer crash"])
def test_what_a_reduced_world_leaves_out_makes_no_difference(text: str) -> None:
    whole, reduced = World(read(text)), World(read(text), is_reduced=True)
    states = search(whole).states, search(reduced).states
    assert states[0] > 1.1 * states[1]
    assert {*whole.histories.values} == {*reduced.histories.values}


@pytest.mark.slow
@pytest.mark.pure
def test_a_reduced_world_has_the_same_bad_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (node, replication):
        monkeypatch.setattr(module, "advance_commit", commit_by_counting)
    whole, reduced = World(read("timeout crash")), World(read("timeout crash"), is_reduced=True)
    assert bad_ends(whole) == bad_ends(reduced) != set()


@pytest.mark.slow
@pytest.mark.pure
def test_a_start_in_an_earlier_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from_disk: Any = explored_server.node_from_disk
    forgets = HardState(1, "s1")
    monkeypatch.setattr(
        explored_server,
        "node_from_disk",
        lambda *given, **more: from_disk(*given[:3], forgets, *given[4:]),
    )
    assert " start" in violation_of("timeout crash")


@pytest.mark.slow
@pytest.mark.pure
def test_a_second_vote_in_a_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    why_not = election.why_not

    def votes_again(state: State, message: RequestVote) -> tuple[Denial, str] | None:
        denial = why_not(state, message)
        if denial is None or denial[0] is not Denial.VOTED:
            return denial
        state.vote = None
        return None

    monkeypatch.setattr(election, "why_not", votes_again)
    assert "vote" in violation_of("timeout=2")


@pytest.mark.pure
def test_a_commit_by_counting_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (node, replication):
        monkeypatch.setattr(module, "advance_commit", commit_by_counting)
    assert " commits entry 2 of term 1 in term 2" in violation_of("timeout command")


@pytest.mark.pure
def test_entries_that_are_not_on_disk_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict, the entries that replace the dropped ones count as written at once."""
    monkeypatch.setattr(State, "cut_after", keeps_the_durable_index)
    assert " takes entry 2 of term 2 to be on its disk" in violation_of("timeout command")


@pytest.mark.slow
@pytest.mark.pure
def test_a_leader_with_a_shorter_log_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TermRuns, "accepts", lambda self, last_index, last_term: True)
    assert " leads term 2 without " in violation_of("timeout command")


@pytest.mark.slow
@pytest.mark.pure
def test_a_read_without_its_round_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "confirmed_round", lambda state: state.as_leader.round)
    assert " serves a read from entry 1, though entry 2 " in violation_of("timeout read")


@pytest.mark.slow
@pytest.mark.pure
def test_a_lease_that_takes_clocks_for_equal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "DRIFT_PERCENT", 0)
    assert " holds a lease in term 1, and " in violation_of("timeout lease")


@pytest.mark.slow
@pytest.mark.pure
def test_a_violation_is_shown_as_the_choices_that_lead_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reads, "confirmed_round", lambda state: state.as_leader.round)
    world = World(read("timeout read"))
    assert search(world).violation
    lines = format_trace(world, *way_to_violation(world, "depth", 0, 60)).splitlines()
    assert lines[0] == "3 servers, {timeout read}"
    assert lines[1] == "  1. s2 finds that its time is up (timeout)"
    assert "       > s1: PreVote 2-1-1" in lines
    assert lines[-2] == " 12. s1 is asked to read, and must see entry 2"
    assert lines[-1].startswith("  !  s1: InvariantError: serves a read from entry 1")


@pytest.mark.slow
@pytest.mark.pure
def test_a_trace_is_replayed_with_the_core_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(reads, "confirmed_round", lambda state: state.as_leader.round)
        assert __main__.main(["timeout read"]) == 1
        trace = tmp_path / "trace.txt"
        trace.write_text(capsys.readouterr().out, encoding="utf-8")
        assert __main__.main(["--replay", str(trace)]) == 1
        assert capsys.readouterr().out in trace.read_text(encoding="utf-8")
    assert __main__.main(["--replay", str(trace)]) == 0
    assert capsys.readouterr().out.endswith("nothing is bad\n")


def test_a_trace_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trace.txt").write_text("1. s1 starts\n", encoding="utf-8")
    assert __main__.main(["--replay", str(tmp_path / "trace.txt")]) == 2
    assert capsys.readouterr().err.startswith("explore: a trace begins with a line such as: ")
    assert __main__.main(["--replay", str(tmp_path / "none.txt")]) == 2


@pytest.mark.slow
def test_a_state_is_the_same_when_it_was_data() -> None:
    world = World(read("timeout transfer lease"))
    search(world, seconds=0.5)
    for each in world.servers:
        for core in each.cores:
            assert freeze(thaw(core.frozen)) == core.frozen


def test_a_text_that_is_not_a_budget_is_refused() -> None:
    assert read("timeout=2 crash").name == "timeout=2 crash"
    assert read("down: wipe=2 timeout").name == "down: timeout wipe=2"
    for text, why in (
        ("crashes", "is not a part of a budget"),
        ("crash=x", "is not a part of a budget"),
        ("passed", "is not a part of a budget"),
        ("dawn: wipe", "dawn is not a scene: up "),
        ("timeout wipe", "wipe needs a scene, such as down: wipe"),
        ("down: lease", "lease needs no scene"),
    ):
        with pytest.raises(BudgetError, match=why):
            read(text)
