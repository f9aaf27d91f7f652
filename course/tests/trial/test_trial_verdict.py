"""The verdict and the report: what is wrong, what is too little, and what is perfect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from course.tests.trial.trials import asked, pair, record

from raftline_course.trial import report
from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.record import Record, TrialEvent, percentile, standstills
from raftline_course.trial.store_client import ServerAttempt, Tally
from raftline_course.trial.verdict import PERFECT, Exit, judge


def many(count: int, unanswered: int) -> Record:
    requests = [
        asked(0, took=None if number < unanswered else 0.01, key=f"k{number}")
        for number in range(count)
    ]
    return record(requests, server_messages=10_000)


def test_a_perfect_report_ends_in_the_course_line() -> None:
    verdict = judge(record([*pair(1), *pair(3)]))
    assert verdict.exit_status is Exit.GOOD
    assert verdict.lines()[-1] == PERFECT == "No errors, everything is working perfectly:)"
    assert "Service: kept: 4 of 4 requests answered" in verdict.lines()


def test_190_unanswered_of_3367_are_safe_and_not_perfect() -> None:
    verdict = judge(many(3367, 190))
    assert verdict.exit_status is Exit.SERVICE_BROKEN
    assert verdict.lines() == [
        "Safety: kept: the history is linearizable, and no term had two leaders",
        "Service: BROKEN: 190 of 3,367 requests unanswered (5.6%, limit 1.00%)",
    ]


def test_one_unanswered_is_within_the_limit_and_yet_not_perfect() -> None:
    verdict = judge(many(200, 1))
    assert verdict.exit_status is Exit.GOOD
    assert verdict.lines()[-1] == "Within the limits, but not perfect: 1 request unanswered"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"crashed": [("0002", -9)]}, "1 server crashed: 0002 (killed by SIGKILL)"),
        ({"crashed": [("0002", 4)]}, "1 server crashed: 0002 (exit status 4)"),
        ({"leaders": [(0.0, "unkown")]}, "no state: there was never a leader"),
        ({"prior_get_requests": 5}, "too few gets: 5 of 7 found no key to get (limit 10.00%)"),
        ({"server_messages": 1}, "too few messages: 1 between servers, where 2 confirmed puts"),
        ({"broken_off": "more than 9 messages (max packets)"}, "broken off after 30.0 s: more"),
    ],
)
def test_each_broken_course_limit_is_named(more: dict[str, Any], said: str) -> None:
    verdict = judge(record([*pair(1), *pair(3)], **more))
    assert verdict.exit_status is Exit.SERVICE_BROKEN
    [line] = [line for line in verdict.lines() if line.startswith("Service: BROKEN")]
    assert said in line


def test_the_course_limits_hold_for_gets_and_puts_apart() -> None:
    metrics = Metrics(servers=3, maximum_unanswered_fraction=1, maximum_get_reqs_fraction=0.4)
    requests = [*pair(1, took=None), *pair(3), asked(9)]
    [line] = judge(record(requests, metrics=metrics)).broken
    assert line == "1 of 2 get() requests unanswered (50.0%, limit 40.00%)"


def test_refused_requests_break_the_service() -> None:
    requests = [*pair(1), asked(3, outcome="failure")]
    assert judge(record(requests)).broken == ["1 request of 3 refused"]


def test_a_get_of_an_overwritten_value_is_unsafe() -> None:
    requests = [asked(1), asked(2, key="key1", value="newer"),
                asked(3, "get", key="key1", value="value1")]  # fmt: skip
    verdict = judge(record(requests))
    assert verdict.exit_status is Exit.UNSAFE
    assert verdict.lines()[0].startswith(
        "Safety: BROKEN: the history is not linearizable, see key key1:\n"
        "    0003@get key1 -> value1"
    )
    assert PERFECT not in verdict.lines()


def test_a_confirmed_put_that_is_gone_is_unsafe() -> None:
    requests = [asked(1), asked(2, "get", key="key1", value=None, outcome="absent")]
    assert judge(record(requests)).exit_status is Exit.UNSAFE


def test_an_unanswered_put_may_have_happened_or_not() -> None:
    put = asked(1, took=None)
    seen = asked(2, "get", key="key1", value="value1")
    unseen = asked(2, "get", key="key1", value=None, outcome="absent")
    for get in (seen, unseen):
        assert judge(record([put, get])).unsafe == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"two_leaders": "0000 and 0001 both led term 3"}, "0000 and 0001 both led term 3"),
        ({"crashed": [("0002", 70)]}, "0002 stopped because an invariant of its own broke"),
    ],
)
def test_impossible_behaviour_of_a_cluster_is_unsafe(more: dict[str, Any], said: str) -> None:
    verdict = judge(record(pair(1), **more))
    assert (verdict.exit_status, verdict.unsafe) == (Exit.UNSAFE, [said])


def test_a_check_that_gives_up_leaves_safety_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftline_course.trial.verdict.STEPS_MAX", 1)
    verdict = judge(record([*pair(1), *pair(3)]))
    assert verdict.exit_status is Exit.UNDECIDED
    assert verdict.lines()[0].startswith("Safety: not decided: the check gave up after")
    assert PERFECT not in verdict.lines()


def test_a_wrong_get_is_unsafe() -> None:
    requests = pair(1)
    requests[1].wrong = True
    verdict = judge(record(requests))
    assert verdict.unsafe == ["1 get read an impossible value"]
    text = report.lines(record(requests), verdict)
    assert "Total get() with wrong get response: 1" in text


def test_an_action_without_occasion_is_not_perfect() -> None:
    verdict = judge(record(pair(1), not_done=["fail leader at 8", "restart at 9"]))
    assert verdict.exit_status is Exit.GOOD
    said = "Not done, since no occasion came: fail leader at 8, restart at 9"
    assert verdict.lines()[-1] == said
    broken = judge(record(pair(1, took=None), not_done=["fail leader at 26"]))
    assert broken.lines()[-1] == "Not done, since no occasion came: fail leader at 26"


def test_report_has_the_course_lines_in_order() -> None:
    """The report has the course lines in order with their counters."""
    requests = [
        asked(1, took=0.1),
        asked(2, took=None),
        asked(3, outcome="failure", took=0.3),
        asked(3, outcome="failure", took=0.35),
        asked(4, "get", key="key1", value="value1", took=0.2),
        asked(5, "get", key="key1", value=None, outcome="absent", took=0.8),
        asked(6, "get", key="key1", took=None),
        asked(7, "get", key="key1", took=None),
    ]
    made = record(
        requests,
        crashed=[("0002", 1)],
        failed=2,
        tally=Tally(sent=8, received=9, redirects=3, duplicates=4, rejected=5),
    )
    assert report.seed_lines(made) == [
        "Leaders:",
        "['unkown', '0001']",
        "Servers that crashed during execution: 1",
        "Servers that were failed by simulator: 2",
        "Total messages sent: 1017",
        "Total client get() requests: 4",
        "Total client put() requests: 4",
        "Total duplicate responses: 4",
        "Total unanswered get() requests: 2",
        "Total unanswered put() requests: 1",
        "Total number of messages are redirected to leader by followers: 3",
        "Total get() failure: 1",
        "Total put() failures: 2",
        "Total get() with wrong get response: 0",
        "Mean request/response latency: 0.350000",
        "Median request/response latency: 0.300000",
    ]


def test_report_continues_with_percentiles_events_and_verdict() -> None:
    requests = [asked(number, took=number / 1000) for number in range(1, 101)]
    event = TrialEvent(8.0, "fail leader", ("0001",), "0001 was killed")
    made = record(
        requests,
        events=[event],
        heartbeat_gaps=[0.1],
        ended=101.0,
        takeovers=[(7.0, "0002", "0001", 0.6)],
    )
    text = report.lines(made, judge(made))
    assert "Latency percentiles: p50 0.050000, p95 0.095000, p99 0.099000, longest 0.100000" in text
    assert "   8.00 s  0001 was killed" in text
    said = "0002 took over from 0001, after 0.60 s in which no quorum had heard of 0001"
    assert f"   7.00 s  {said}" in text
    assert "   1.00 s  0001 leads" in text
    assert text[-1] == PERFECT


def test_json_report_has_the_same_figures_and_verdict() -> None:
    """The report as JSON has the same figures and the verdict in two parts."""
    made = record(
        [*pair(1), asked(9, took=None)],
        failed=1,
        crashed=[("0002", 70)],
        events=[TrialEvent(8.0, "fail leader", ("0001",), "0001 was killed")],
    )
    found = json.loads(report.as_json(made, judge(made)))
    for line in report.seed_lines(made)[2:-2]:
        name, _, number = line.rpartition(": ")
        assert found[name] == int(number)
    assert found["leaders"] == [{"at": 0.0, "leader": "unkown"}, {"at": 1.0, "leader": "0001"}]
    assert found["latency"]["p99"] == pytest.approx(0.01)
    assert found["without_answers"] == [[9.0, 30.0]]
    assert {"at": 8.0, "text": "0001 was killed"} in found["events"]
    assert (found["safety"], found["service"]) == ("broken", "broken")
    kept = record(pair(1))
    assert json.loads(report.as_json(kept, judge(kept)))["verdict"][-1] == PERFECT


def test_trial_without_requests_is_not_perfect() -> None:
    """A trial without requests has no figures and is not perfect."""
    made = record([])
    text = report.lines(made, judge(made))
    assert "Mean request/response latency: -" in text
    assert "Median request/response latency: -" in text
    assert "Latency percentiles: p50 -, p95 -, p99 -, longest -" in text
    assert text[-1] == "Within the limits, but not perfect: nothing was asked"


def test_leaderless_time_excludes_the_wait_for_the_first() -> None:
    """The time without a leader excludes the wait for the first."""
    leaders = [(0.0, "unkown"), (1.0, "0001"), (3.0, "unkown"), (3.5, "0002"), (29.0, "unkown")]
    made = record(pair(1), leaders=leaders)
    said = "Time without a known leader, once there was one: 1.50 s, longest 1.00 s"
    assert said in report.more_lines(made)
    never = record(pair(1), leaders=leaders[:1])
    assert never.leaderless() == []


def test_a_percentile_is_a_value_that_its_share_does_not_exceed() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.25, 0.5, 0.99)] == [1, 2, 4]
    assert percentile([], 0.5) is None


def test_a_standstill_has_a_waiting_request_and_no_answer() -> None:
    requests = [asked(1), asked(2, took=1.5), asked(3, took=0.5), asked(9, took=0.04)]
    assert standstills(requests, 10.0) == [(2.0, 3.5)]
    assert standstills([*requests, asked(8, took=None)], 10.0) == [
        (2.0, 3.5),
        (8.0, 9.04),
        (9.04, 10.0),
    ]


def test_the_standstill_threshold_grows_with_the_usual_latency() -> None:
    slow = [asked(1, took=0.03), asked(2, took=0.04), asked(3, took=0.35), asked(9, took=0.04)]
    assert record(slow).standstills() == []
    never = [asked(1, took=0.2), asked(2, took=0.2), asked(3, took=0.6)]
    assert record(never).standstills() == [(3.0, 3.6)]
    said = "Time in which requests waited and none was answered (0.50 s and more each): 0.60 s,"
    assert [line for line in report.more_lines(record(never)) if line.startswith(said)]


def test_the_history_tells_each_attempt_of_a_request() -> None:
    attempts = [
        ServerAttempt("0000", "forward2leader", 0.001),
        ServerAttempt("0001", "success", 0.002),
    ]
    assert json.loads(asked(1, attempts=attempts).as_json()) == {
        "client": "0003",
        "req_category": "put",
        "Message-ID": 1,
        "key": "key1",
        "value": "value1",
        "due": 1.0,
        "called": 1.0,
        "returned": 1.01,
        "outcome": "success",
        "wrong": False,
        "attempts": [
            {"server": "0000", "answer": "forward2leader", "seconds": 0.001},
            {"server": "0001", "answer": "success", "seconds": 0.002},
        ],
    }
