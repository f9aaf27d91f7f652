"""The labs' stories that no other test tells, with real nodes."""

from __future__ import annotations

import pytest

from labs.failures.check import as_in_the_sheet, check_door, check_menu
from labs.failures.scenario import play_settled
from labs.phase5.figures import made
from tests.e2e.wire import eventually


# seed 004-37
def test_of_two_stale_leaders_beside_one_that_works_one_commits() -> None:
    shown = made("leaders")
    assert [fact.partition(": ")[2].partition(",")[0] for fact in shown["who leads"]] == [
        "leader"
    ] * 3
    assert [line.endswith("set a after") for line in shown["the log of each, afterwards"]][-1]


# seed 003-01, seed 003-03, seed 003-04, seed 003-16
def test_three_nodes_start_by_name_and_speak_the_course_s_words() -> None:
    with as_in_the_sheet() as (nodes, _, lab):
        leader = lab.leader()
        nodes[leader].wait_for(f"{leader} is now the leader.")
        for name, node in nodes.items():
            node.wait_for(f"{name} log file not found. Starting with an empty log.")
            node.wait_for(f"{name} is listening on localhost:{lab.members[name].port}")
        voted = f"voted for {leader} for term"
        assert eventually(lambda: [n for n, c in nodes.items() if voted in "\n".join(c.lines)])
        assert nodes[leader].press_ctrl_c() == 0
        nodes[leader].wait_for(f"{leader} server is shutting down.")
        nodes[leader].wait_for(f"{leader} has shut down cleanly.")


# seed 003-07, seed 003-08, seed 003-09, seed 003-10, seed 003-11, seed 003-14
def test_each_choice_of_the_menu_does_what_the_sheet_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with as_in_the_sheet() as (nodes, file, lab):
        lab.leader()
        check_menu(nodes, file, lab)
    assert "FAILED" not in capsys.readouterr().out


# seed 003-02, seed 003-06
def test_the_nine_calls_of_the_course_s_program_work(capsys: pytest.CaptureFixture[str]) -> None:
    check_door()
    assert "FAILED" not in capsys.readouterr().out


# seed 003-05, seed 003-12, seed 003-13, seed 003-15
@pytest.mark.parametrize("name", ["c", "bonus"])
def test_a_scenario_comes_out_as_expected(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    play_settled(name)
    assert capsys.readouterr().out.count("ok  ") > 5
