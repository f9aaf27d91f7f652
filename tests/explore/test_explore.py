"""Every order of small worlds of the core; and that a search notices faults of the core."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import pytest

from raftline.raft import election, node, reads, replication
from raftline.raft.effects import HardState
from raftline.raft.log import TermRuns
from raftline.raft.messages import RequestVote
from raftline.raft.state import State
from raftline_testing.explore import __main__, campaign, compiled, server
from raftline_testing.explore.budget import HUNTED, QUICK, BudgetError, read
from raftline_testing.explore.ends import Ends, can_end, is_spent
from raftline_testing.explore.facts import Violation
from raftline_testing.explore.frozen import freeze, thaw
from raftline_testing.explore.mutants import lines_changed, lines_run
from raftline_testing.explore.renaming import renamings
from raftline_testing.explore.search import ORDERS, search
from raftline_testing.explore.server import Local, Numbers
from raftline_testing.explore.trace import spell_trace, way_to_violation
from raftline_testing.explore.world import BUDGET_MASK, World
from raftline_testing.mutants.listed import mutants
from raftline_testing.runner.at_night import at_night

# The longest worlds of `make -C testing explore` run with the tests of real nodes.
LONG = [("timeout=2", 3), ("transfer crash command", 3), ("transfer", 5)]
WORLDS = [pytest.param(*world, marks=pytest.mark.slow if world in LONG else ()) for world in QUICK]


def violation_of(text: str, order: str = "random") -> str:
    """Return what a search finds first."""
    return search(World(read(text)), order=order).violation


def commit_by_counting(state: State) -> None:
    """Commit what a quorum holds, of whatever term."""
    held = {name: one.match_index for name, one in state.as_leader.progress.items()}
    held[state.name] = state.durable_index
    state.advance_commit_index(state.membership.reached_by_quorum(held))


def bad_ends(world: World) -> set[str]:
    """Return all violations of a world, each way going on beside them."""
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
    found = campaign.find(world, 1e9)
    if found.violation:
        pytest.fail(spell_trace(world, *way_to_violation(world, "depth", 0, 60)))
    assert found.complete


def test_a_search_comes_to_elections_commits_and_crashes() -> None:
    world = World(read("timeout command"), is_reduced=True)
    search(world)
    histories = world.histories.values
    assert any(dict(history.leaders).get(2) == "s2" for history in histories)
    assert any(dict(history.leaders).get(2) == "s3" for history in histories)
    assert any([entry.term for entry in history.committed] == [1, 1, 2] for history in histories)
    assert any([entry.term for entry in history.committed] == [1, 2] for history in histories)


def test_ways_at_random_come_to_their_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    hunted = (("command", 3, ("c1 is committed",)), ("command", 3, ("s2 leads term 2",)))
    monkeypatch.setattr(__main__, "HUNTED", hunted)
    assert __main__.hunt(0.1, [0]) == ""
    assert __main__.hunt(0.1, [0, 1]) == "no way led there: s2 leads term 2"


@pytest.mark.parametrize("text", ["timeout crash", "transfer crash", *at_night("timeout command")])
def test_what_a_reduced_world_leaves_out_makes_no_difference(text: str) -> None:
    whole, reduced = World(read(text)), World(read(text), is_reduced=True)
    states = search(whole).states, search(reduced).states
    assert states[0] > 1.1 * states[1]
    assert {*whole.histories.values} == {*reduced.histories.values}
    for one, other in zip(whole.servers, reduced.servers, strict=True):
        assert one.goals == other.goals


@pytest.mark.pure
def test_a_reduced_world_has_the_same_bad_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (node, replication):
        monkeypatch.setattr(module, "advance_commit", commit_by_counting)
    whole, reduced = World(read("timeout crash")), World(read("timeout crash"), is_reduced=True)
    assert bad_ends(whole) == bad_ends(reduced) != set()


@pytest.mark.pure
def test_a_start_in_an_earlier_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from_disk = server.node_from_disk
    forgets = HardState(1, "s1")
    monkeypatch.setattr(
        server, "node_from_disk", lambda *given, **more: from_disk(*given[:3], forgets, *given[4:])
    )
    assert " start" in violation_of("timeout crash")


@pytest.mark.pure
def test_a_second_vote_in_a_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    why_not = election.why_not

    def votes_again(state: State, message: object) -> str | None:
        reason = why_not(state, message)
        if reason is None or not reason.startswith("already voted"):
            return reason
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
def test_a_leader_with_a_shorter_log_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TermRuns, "accepts", lambda self, last_index, last_term: True)
    assert " leads term 2 without " in violation_of("timeout command")


@pytest.mark.pure
def test_a_read_without_its_round_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "confirmed_round", lambda state: state.as_leader.round)
    assert " serves a read from entry 1, though entry 2 " in violation_of("timeout read")


@pytest.mark.pure
def test_a_lease_that_takes_clocks_for_equal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "DRIFT_PERCENT", 0)
    assert " holds a lease in term 1, and " in violation_of("timeout lease")


@pytest.mark.pure
def test_a_violation_is_shown_as_the_choices_that_lead_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reads, "confirmed_round", lambda state: state.as_leader.round)
    world = World(read("timeout read"))
    assert search(world).violation
    lines = spell_trace(world, *way_to_violation(world, "depth", 0, 60)).splitlines()
    assert lines[0] == "3 servers, {timeout read}"
    assert lines[1] == "  1. s2 finds that its time is up (timeout)"
    assert "       > s1: PreVote 2-1-1" in lines
    assert lines[-2] == " 12. s1 is asked to read, and must see entry 2"
    assert lines[-1].startswith("  !  s1: InvariantError: serves a read from entry 1")


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


@pytest.mark.parametrize("text", ["timeout crash", "timeout twice"])
def test_machine_code_searches_the_worlds_that_python_does(text: str) -> None:
    loaded = compiled.library()
    if loaded is None:
        pytest.skip("there is no C compiler")
    for is_reduced in (True, False):
        ours, world = (World(read(text), is_reduced=is_reduced) for _ in range(2))
        plain = search(ours)
        for order in ORDERS:
            found = compiled.search(loaded, world, order=order)
            assert found.complete
            assert (found.states, found.steps) == (plain.states, plain.steps)
        assert {*world.histories.values} == {*ours.histories.values}


class Seen:
    """The states of a world but for messages on their way, or that wait for a disk. What makes no
    difference once the budget is spent is not in them either (ends.py)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ends = Ends(world)
        self._servers = Numbers()

    def by(self, loaded: ctypes.CDLL, *, cuts_ends: bool) -> set[tuple[int, ...]]:
        """Search the world, and return the numbers of its states."""
        running = compiled.Search(loaded, self._world, "depth", 0, cuts_ends=cuts_ends)

        @functools.cache
        def numbered(place: int, bare: int, budget: int) -> int:
            return self._number_of(place, running.bare(place, bare), budget)

        try:
            assert running.run(1 << 40, 1e9)
            return {
                (context, *[numbered(*each, context & BUDGET_MASK) for each in enumerate(bares)])
                for context, *bares in running.seen()
            }
        finally:
            running.close()

    def _number_of(self, place: int, local: Local, budget: int) -> int:
        left = self._world.budgets.values[budget]
        local = self._ends.local(place, local, left) if is_spent(left) else local
        works = tuple(work._replace(messages=()) for work in local.queue)
        return self._servers.of((local.core, local.disk, local.cast, works))


@pytest.mark.parametrize(
    "text",
    [
        "timeout",
        "timeout read",
        "timeout heartbeat",
        "timeout command",
        "command read",
        "heartbeat read",
        *at_night("heartbeat command", "timeout=2"),
        pytest.param("timeout command=2", marks=[pytest.mark.nightly, pytest.mark.timeout(3000)]),
    ],
)
def test_cutting_the_ends_of_a_world_loses_no_state_of_its_servers(text: str) -> None:
    loaded = compiled.library()
    if loaded is None:
        pytest.skip("there is no C compiler")
    world = World(read(text), is_reduced=True)
    seen = Seen(world)
    cut, whole = (seen.by(loaded, cuts_ends=cuts) for cuts in (True, False))
    assert whole == cut
    states = [campaign.find(world, 1e9, cuts_ends=cuts).states for cuts in (False, True)]
    assert states[0] > 2 * states[1]


@pytest.mark.pure
@pytest.mark.parametrize("text", ["timeout command", "timeout=2"])
def test_a_fault_shows_though_the_ends_are_cut(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (node, replication):
        monkeypatch.setattr(module, "advance_commit", commit_by_counting)
    for cuts in (False, True):
        world = World(read(text), is_reduced=True)
        assert " commits entry " in campaign.find(world, 1e9, cuts_ends=cuts).violation


def test_ends_are_cut_only_where_their_rules_hold() -> None:
    assert can_end(World(read("timeout heartbeat command read"), is_reduced=True))
    assert not can_end(World(read("timeout heartbeat command read")))
    for word in ("crash", "lease", "transfer", "change", "break", "twice", "lag"):
        assert not can_end(World(read(f"timeout {word}"), is_reduced=True))


@pytest.mark.parametrize(
    ("text", "servers", "cuts"),
    [
        ("timeout command", 3, False),
        ("timeout command", 3, True),
        ("timeout crash", 3, False),
        ("timeout lease", 3, False),
        ("heartbeat read", 3, True),
        ("transfer", 3, False),
        ("command", 5, False),
        *at_night(("timeout=2", 3, True), ("timeout read", 3, True), ("timeout", 5, False)),
    ],
)
def test_one_of_all_worlds_that_differ_by_names_is_searched(
    text: str, servers: int, cuts: bool
) -> None:
    loaded = compiled.library()
    if loaded is None:
        pytest.skip("there is no C compiler")
    named, world = (World(read(text), servers, is_reduced=True) for _ in range(2))
    whole = compiled.search(loaded, named, cuts_ends=cuts)
    found = compiled.search(loaded, world, cuts_ends=cuts, renames=True)
    assert found.complete
    assert found.stands_for == whole.states
    assert (1.8 if servers == 3 else 7) * found.states < whole.states
    other_names = [each.history for each in renamings(world)]
    kept = {*world.histories.values}
    assert kept | {name(each) for name in other_names for each in kept} == {*named.histories.values}
    assert [each.goals for each in world.servers] == [each.goals for each in named.servers]


@pytest.mark.pure
def test_a_fault_shows_whatever_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (node, replication):
        monkeypatch.setattr(module, "advance_commit", commit_by_counting)
    monkeypatch.setattr(reads, "confirmed_round", lambda state: state.as_leader.round)
    for text, why in (("timeout command", " commits entry "), ("timeout read", " serves a read ")):
        world = World(read(text), is_reduced=True)
        assert why in campaign.find(world, 1e9, renames=True).violation


@pytest.mark.pure
def test_a_core_that_asks_for_the_order_of_names_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if compiled.library() is None:
        pytest.skip("there is no C compiler")
    why_not = election.why_not

    def prefers_s2(state: State, message: RequestVote) -> str | None:
        return "not s2" if message.sender > "s2" else why_not(state, message)

    monkeypatch.setattr(election, "why_not", prefers_s2)
    assert __main__.main(["timeout", "--names"]) == 1
    assert "differs under other names" in capsys.readouterr().err


def test_a_mutant_is_hunted_where_its_line_runs() -> None:
    source = "src/raft/transfer.py"
    runs = [lines_run(number, 0.1) for number in (0, [w[0] for w in HUNTED].index("transfer"))]
    assert not any(file == source for file, _ in runs[0])
    assert any(file == source for file, _ in runs[1])
    by_name = {mutant.name: mutant for mutant in mutants()}
    assert lines_changed(by_name["pieces-of-two-snapshots"]).isdisjoint(runs[0] | runs[1])
    assert lines_changed(by_name["up-to-date-by-length"]) & runs[0]


def test_a_night_prints_a_row_of_each_world(capsys: pytest.CaptureFixture[str]) -> None:
    states, is_well = campaign.run([("timeout", 3), ("timeout command", 3)], 2, 1, 1000)
    printed = capsys.readouterr().out
    assert is_well
    assert 1_373 < states < 373 + 36_807
    assert "| 3 | `timeout` | 373 | 1,048 | " in printed
    assert " | complete |" in printed
    assert " | more is left |" in printed


def test_a_state_is_the_same_when_it_was_data() -> None:
    world = World(read("timeout transfer lease"))
    search(world, seconds=0.5)
    for each in world.servers:
        for core in each.cores:
            assert freeze(thaw(core.frozen)) == core.frozen


def test_a_text_that_is_no_budget_is_refused() -> None:
    assert read("timeout=2 crash").name == "timeout=2 crash"
    for text in ("crashes", "crash=x", "passed"):
        with pytest.raises(BudgetError, match="is not a part of a budget"):
            read(text)
