"""One trial: what is made of a crash and of the clients' requests, and how it is reported."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import cast

import pytest
from course.tests.trial.trials import asked, pair, record

from raftline_course import simulate_command
from raftline_course.trial.load import LoadClient
from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.record import RequestRecord
from raftline_course.trial.servers import Health
from raftline_course.trial.store_client import Tally
from raftline_course.trial.trial import Trial
from raftline_course.trial.verdict import Exit, judge


def test_a_leader_that_ends_by_itself_is_unknown_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Trial(Metrics(servers=3), tmp_path) as trial:
        trial.watch.start_at(0.0)
        trial.watch.saw("0001", "0000", b"s0001@AppendEntries 1-0-0-[]", True, 0.5)
        monkeypatch.setattr(trial.servers, "newly_crashed", lambda: [("0001", -9)])
        trial._tick(1.0, 0.0)
        assert trial.watch.leaders == [(0.0, "unkown"), (0.5, "0001"), (1.0, "unkown")]
        [event] = trial.record.events
    assert event.text == "0001 ended by itself (killed by SIGKILL)"
    assert trial.record.health == [(1.0, "0001", Health.CRASHED)]


class Finished:
    """A client that has made these requests."""

    problem = None
    prior_get_requests = 2
    tally = Tally(sent=3)

    def __init__(self, *requests: RequestRecord) -> None:
        self.requests = list(requests)

    def join(self, _: float) -> None: ...


def test_interrupted_trial_reports_and_judges_its_requests(tmp_path: Path) -> None:
    """An interrupted trial reports its requests, and judges each get."""
    wrong = asked(2, "get", key="key1", value="of nobody")
    later = asked(1 << 20, took=None, called=None)
    with Trial(Metrics(servers=3), tmp_path) as trial:
        assert not trial.has_begun
        trial._start_s = time.monotonic() - 10
        clients = Finished(wrong, later), Finished(asked(1))
        trial._clients = [cast(LoadClient, each) for each in clients]
        for _ in range(2):  # asked to stop twice, it collects everything once
            made = trial.break_off("interrupted")
            assert [each.due for each in made.requests] == [1.0, 2.0]
    assert [each.wrong for each in made.requests] == [False, True]
    assert (made.prior_get_requests, made.tally.sent, made.broken_off) == (4, 6, "interrupted")
    assert 10 <= made.ended < 1 << 20


@pytest.mark.parametrize(
    ("more", "history", "status"),
    [
        ({}, None, Exit.GOOD),
        ({}, "/dev/full", Exit.USAGE),
        ({"broken_off": "interrupted"}, None, 130),
        ({"two_leaders": "0000 and 0001 both led term 3"}, "/dev/full", Exit.UNSAFE),
        ({"two_leaders": "0000 and 0001 both led term 3", "broken_off": "interrupted"}, None,
         Exit.UNSAFE),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_reported_next_to_other_failures(
    more: dict[str, str], history: str | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made = record(pair(1), **more)
    options = argparse.Namespace(json=False, history=history, html=None)
    assert simulate_command._report(made, judge(made), options) == status
    printed = capsys.readouterr()
    assert "Leaders:" in printed.out
    assert ("/dev/full: can't be written" in printed.err) == (history is not None)


@pytest.mark.parametrize(("option", "drawn_from"), [(None, 5), (0, 0), (7, 7)])
def test_a_given_seed_overrides_that_of_the_metrics(
    option: int | None, drawn_from: int, tmp_path: Path
) -> None:
    (tmp_path / "m.json").write_text('{"seed": 5}')
    options = argparse.Namespace(metrics=str(tmp_path / "m.json"), seed=option)
    assert simulate_command._metrics(options).seed == drawn_from
