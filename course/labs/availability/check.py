"""Run the availability lab for real and report whether each row holds: `python check.py`.

Prints `ok 001-07 …` or `FAILED 001-07 …` for each row; exits with 1 if any failed. It takes about
two minutes, needs no network and installs nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import contextlib
import itertools
import json
import os
import re
import select
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any

from labs.availability.runs import LAB, Run
from labs.checking import end_with
from raftline.net.line_connection import LineConnection, ask
from raftline.wire.replies.refusals import code_of
from raftline_course.trial import metrics_dictionary
from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.servers import Health
from raftline_course.trial.store_client import StoreClient, Unanswered
from raftline_course.trial.trial import Trial
from raftline_course.trial.trial_messages import MESSAGE_ID, UNKNOWN_LEADER, BadMessage, Message
from raftline_course.trial.verdict import PERFECT, Exit, judge

PATIENCE_S = 20.0
SEED_LINES = (
    "Leaders:",
    "Servers that crashed",
    "Servers that were failed by simulator",
    "Total messages sent",
    "Total client get() requests",
    "Total client put() requests",
    "Total duplicate responses",
    "Total unanswered get()",
    "Total unanswered put()",
    "redirected to leader by followers",
    "Total get() failure",
    "Total put() failures",
    "Total get() with wrong get response",
    "Mean request/response latency",
    "Median request/response latency",
)


class Checks:
    """The findings of each row."""

    def __init__(self) -> None:
        self.failed = False

    def row(self, row: str, claim: str, holds: object, found: object = "") -> None:
        """Print whether a claim holds, with the reason if it doesn't."""
        self.failed |= not holds
        print(f"{'ok' if holds else 'FAILED'} 001-{row} {claim}", flush=True)
        if not holds and found != "":
            print(f"    found: {found}", flush=True)


def eventually(happens: Callable[[], Any]) -> Any:
    """Return the first true answer, or the last one after twenty seconds."""
    end_s = time.monotonic() + PATIENCE_S
    while not (result := happens()) and time.monotonic() < end_s:
        time.sleep(0.02)
    return result


def check_run_1(checks: Checks, folder: Path) -> None:
    run = Run(["simulator.py"], "metrics_1", folder)
    row = checks.row
    row(
        "01",
        "python simulator.py > output.txt runs and reports",
        run.lines and not run.said,
        run.said,
    )
    missing = [line for line in SEED_LINES if line not in run.text]
    row("18", "the report has every line of the course's", not missing, missing)
    row("19", "the verdict is the course's line, at the end", run.lines[-1:] == [PERFECT], run.text)
    one = len(run.leaders) == 2 or say_unasked(run)
    row(
        "20",
        f"run 1: one leader ({run.leaders}), all counters of failure 0, exit 0",
        one and run.leaders[0] == UNKNOWN_LEADER and run.failures == [0] * 6 and run.status == 0,
        run.text,
    )
    history = run.history
    dues = [each["due"] for each in history]
    gaps = {round(after - before, 3) for before, after in itertools.pairwise(dues)}
    row(
        "14",
        "500 requests, evenly spaced, none in the first 5 and the last 2 seconds",
        len(dues) == 500 and dues[0] >= 5 and dues[-1] <= 28 and gaps == {0.046},
        (len(dues), dues[0], dues[-1], gaps),
    )
    puts = [each for each in history if each["req_category"] == "put"]
    mine = {(each["client"], each["key"]) for each in puts}
    gets = [each for each in history if each["req_category"] == "get"]
    prior = run.count("Gets that found no key yet and became puts (prior_get_req)")
    good = all(re.fullmatch("[0-9a-z]{8}", each["key"]) for each in puts) and prior > 0
    row(
        "15",
        f"keys are random, a get takes one of the client's own; {prior} had none yet",
        good and all((each["client"], each["key"]) in mine for each in gets),
    )
    redirects = run.count("Total number of messages are redirected to leader by followers")
    again = [each for each in history if len(each["attempts"]) > 1]
    row(
        "16",
        "clients find the leader: redirected, sent again, under the same Message-ID",
        redirects > 0
        and again
        and all(each["outcome"] == "success" for each in again)
        and not [each for each in history if each["returned"] is None],
        redirects,
    )
    gap = re.search("to a follower: median ([0-9.]+) s", run.text)
    row(
        "08",
        f"a leader's messages to a follower are {gap and gap[1]} s apart, at most 0.30 s",
        gap and float(gap[1]) <= 0.30,
    )


def say_unasked(run: Run) -> bool:
    """Report that there were more elections than the trial caused; return whether this machine was
    the reason: each of these leaders was silent for so long that its followers had to elect."""
    print(f"--  more elections than kills, after {run.silences_s} s of silence", flush=True)
    return run.only_silence_elected


def check_run_2(checks: Checks, folder: Path) -> None:
    run = Run(["-m", "raftline", "simulate"], "metrics_2", folder)
    row = checks.row
    leaders = {each for pair in run.successions for each in pair}
    exact = run.leaders[::2] == [UNKNOWN_LEADER] * 3 and len(run.leaders) == 6
    row(
        "20",
        f"run 2: three leaders, none known between ({run.leaders}), 2 failed, no get wrong",
        (exact or say_unasked(run))
        and run.leaders[0] == UNKNOWN_LEADER
        and len(leaders) >= 3
        and len(run.successions) == 2
        and run.count("Servers that were failed") == 2
        and run.failures == [0] * 6,
        run.text,
    )
    late = run.lateness_s
    row(
        "13",
        "fail leader strikes at its trigger points, 8 and 16, if somebody leads then",
        len(late) == 2 and all(0 <= each <= 1 + run.stalled_s for each in late),
        run.story,
    )
    shares = len([each for each in run.history if each["req_category"] == "get"])
    row(
        "12",
        f"the course's keys are read and kept to: gp ratio 0.2 gave {shares} gets of 500",
        70 <= shares <= 130,
        shares,
    )
    row(
        "21",
        f"what is called perfect left nobody unanswered (exit {run.status})",
        (PERFECT in run.lines) == (run.failures == [0] * 6) and run.status == 0,
        run.text,
    )
    page = run.page.read_text()
    row(
        "18",
        "the page shows timeline and latencies, and loads nothing",
        page.count("<svg") == 2 and "http" not in page and "<script" not in page,
    )


def check_run_3(checks: Checks, folder: Path) -> None:
    run = Run(["simulator.py"], "metrics_3", folder)
    safe = any(line.startswith("Safety: kept") for line in run.lines)
    checks.row(
        "20",
        "run 3: partitions, a pause, losses and a kill: safe, everybody answered",
        safe and run.status == 0 and run.failures == [0] * 6,
        run.text,
    )


def check_messages(checks: Checks, trial: Trial, store: StoreClient) -> None:
    row = checks.row
    put, got = store.put("lamp", "on"), store.get("lamp")
    pairs = raw(trial, leader_of(trial), "teacher@show").partition(": ")[2]
    row(
        "02",
        f"put(key, value) and get(key); the server's pairs are {pairs}",
        put["req_category"] == "success"
        and got.get("value") == "on"
        and json.loads(pairs) == {"lamp": "on"},
        (put, got),
    )
    whole = {
        "source": store.client,
        "destination": "0000",
        "leader": "unkown",
        "req_category": "get",
        MESSAGE_ID: 99,
        "key": "lamp",
    }
    bad: list[Message] = [
        {name: value for name, value in whole.items() if name != left_out} for left_out in whole
    ]
    bad += [
        {**whole, "source": "5"},
        {**whole, "destination": "0077"},
        {**whole, "leader": "me"},
        {**whole, "req_category": "steal"},
    ]
    for message in bad:
        with contextlib.suppress(BadMessage):
            store.ask(message)
    row(
        "03",
        f"all {len(bad)} incomplete or invalid messages are rejected and counted",
        store.tally.rejected == len(bad),
        store.tally.rejected,
    )
    row(
        "04",
        "servers are 0000 … 0004, an unknown leader is spelled unkown, other ids are refused",
        list(trial.ports) == [f"000{number}" for number in range(5)]
        and trial.watch.leaders[0][1] == "unkown",
    )
    missing = store.get("nothing")
    row(
        "07",
        "get gives the value or a failure; a put is confirmed once it is replicated",
        missing["req_category"] == "failure"
        and missing["absent"]
        and eventually(lambda: len(holders(trial, "lamp")) >= 3),
        missing,
    )


def holders(trial: Trial, key: str) -> list[str]:
    """Return the servers that hold a key in their own state."""
    servers = []
    for server in trial.servers.active:
        reply = raw(trial, server, f"teacher@get {key} read local")
        if reply.startswith("GET response: "):
            servers.append(server)
    return servers


def raw(trial: Trial, server: str, line: str) -> str:
    """Return a server's answer to one line, as a person with nc would see it."""
    return ask(trial.ports[server], line, PATIENCE_S).partition("@")[2]


def as_peer(trial: Trial, server: str, line: str) -> str:
    """Return the answer to a line in a dead server's name, once its own connection is gone."""

    def answer() -> str:
        reply = raw(trial, server, line)
        return "" if code_of(reply) == "speaks-elsewhere" else reply

    return str(eventually(answer))


def leader_of(trial: Trial) -> str:
    return str(eventually(lambda: trial.watch.leader.isdigit() and trial.watch.leader))


def check_redirects(checks: Checks, trial: Trial) -> None:
    leader = leader_of(trial)
    follower = next(server for server in trial.servers.active if server != leader)
    store = StoreClient("0005", trial.ports)
    message = {
        "source": "0005",
        "destination": follower,
        "leader": "unkown",
        "req_category": "get",
        MESSAGE_ID: 1,
        "key": "lamp",
    }
    store.ask(message)
    categories = [attempt.category for attempt in store.attempts]
    checks.row(
        "05",
        f"{follower} answers forward2leader, naming {leader}",
        categories == ["forward2leader", "success"] and store.attempts[1].server == leader,
        store.attempts,
    )
    store.close()
    trial.network.part(frozenset([follower]))
    # It may have stood before: three times from now on, and it knows no leader any more.
    before = trial.watch.vote_requests.copy()
    others = [other for other in trial.ports if other != follower]
    asked = eventually(
        lambda: all(
            trial.watch.vote_requests[follower, other] >= before[follower, other] + 3
            for other in others
        )
    )
    checks.row("08", f"{follower}, cut off, stands again and again while nobody answers", asked)
    with LineConnection(trial.ports[follower], PATIENCE_S) as connection:
        connection.send("teacher@get lamp")
        is_open = not select.select([connection.socket], [], [], 0.3)[0]
        trial.network.heal()
        answer = connection.read_line()
    checks.row(
        "06",
        f"{follower} kept a request while it knew of no leader, then sent it on",
        is_open and "Last leader I heard from is: s" in answer,
        (is_open, answer),
    )


def check_terms(checks: Checks, trial: Trial) -> None:
    old = leader_of(trial)
    trial.servers.fail(old)
    trial.watch.gone(old, time.monotonic())
    leader = leader_of(trial)
    follower = next(server for server in trial.servers.active if server != leader)
    vote = as_peer(trial, follower, f"s{old}@RequestVote 1-0-0")
    entry = '[{"index": 1, "term": 1, "command": "set stolen 1"}]'
    append = as_peer(trial, follower, f"s{old}@AppendEntries 1-0-0-{entry} commit 1 round 1")
    store = StoreClient("0005", trial.ports)
    checks.row(
        "11",
        "a candidate and a leader of a lower term are refused, nothing is taken",
        vote.startswith("Not this time")
        and append.startswith("GiveEntriesAfterIndex")
        and store.get("stolen").get("absent"),
        (vote, append),
    )
    store.close()


def check_quorum(checks: Checks, trial: Trial, store: StoreClient) -> None:
    while len(trial.servers.active) > 2:
        server = trial.servers.active[0]
        trial.servers.fail(server)
        trial.watch.gone(server, time.monotonic())
    try:
        store.put("half", "1", time.monotonic() + 3.0)
        half = "answered"
    except Unanswered:
        half = "unanswered"
    for server in list(trial.servers.active):
        trial.servers.fail(server)
    for server in list(trial.servers.failed):
        trial.servers.launch(server)
    rebuilt = store.get("lamp", time.monotonic() + PATIENCE_S).get("value")
    checks.row(
        "10",
        "two of five serve nobody; all of them killed, a winner has all from its log",
        (half, rebuilt) == ("unanswered", "on"),
        (half, rebuilt),
    )


def check_by_hand(checks: Checks, folder: Path) -> None:
    """Check the rows that need actions on the servers: one cluster, without the simulator's
    clients."""
    print("--  by hand: five servers, one client", flush=True)
    with Trial(Metrics(), folder / "by hand") as trial, StoreClient("0005", trial.ports) as store:
        trial.servers.start()
        check_messages(checks, trial, store)
        check_redirects(checks, trial)
        check_terms(checks, trial)
        check_quorum(checks, trial, store)


def short(**more: Any) -> Metrics:
    parts = {
        "total execution time": 8,
        "only hb": 1,
        "stop requests": 1,
        "client requests": 120,
        **{key.replace("_", " "): more[key] for key in more},
    }
    return metrics_dictionary.understand(parts, "check.py", LAB)


def check_crash_and_tenure(checks: Checks, folder: Path) -> None:
    print("--  a trial of 8 s in which a leader has 2 s, and a server is killed by us", flush=True)
    killed: list[str] = []
    with Trial(short(leader_tenure=2), folder / "crash") as trial:
        record = trial.run(lambda _, leader, now: kill_one(trial, leader, now, killed))
        verdict = judge(record)
        down = sorted({server for server, _ in record.crashed})
        checks.row(
            "17",
            f"the crash of {down} is seen and counted, and not as our doing",
            down == killed
            and len(down) == 1
            and record.failed == 0
            and down[0] not in trial.servers.active
            and trial.servers.health[down[0]] is Health.CRASHED
            and verdict.exit_status is Exit.SERVICE_BROKEN,
            verdict.lines(),
        )
    leaders = [leader for _, leader in record.leaders[1:]]
    checks.row(
        "09",
        f"leader tenure is off unless wanted, and then hands over: {leaders}",
        not Metrics().leader_tenure and len(leaders) >= 3,
        record.leaders,
    )


def kill_one(trial: Trial, leader: str, now: float, killed: list[str]) -> None:
    """Kill a follower once, unknown to the simulator."""
    if now >= 2.5 and leader.isdigit() and not killed:
        victim = next(server for server in trial.servers.active if server != leader)
        killed.append(victim)
        os.kill(trial.servers.process_id(victim), signal.SIGKILL)


def check_limits(checks: Checks, folder: Path) -> None:
    print("--  a trial of 8 s in which three of five followers fail", flush=True)
    fails = [{"category": "fail_follower", "trigger point": at} for at in (3, 3.2, 3.4)]
    with Trial(short(actions=fails), folder / "limits") as trial:
        record = trial.run()
    verdict, followers = judge(record), {event.servers for event in record.events}
    checks.row(
        "13",
        "fail_follower, as the course spells it elsewhere, fails one after the other",
        record.failed == 3 and len(followers) == 3,
        record.events,
    )
    text = "\n".join(verdict.lines())
    checks.row("19", "the verdict names the limit that was broken", "unanswered (" in text, text)
    checks.row(
        "21",
        f"{record.unanswered()} unanswered are not perfect: safe, service broken",
        not verdict.unsafe
        and verdict.broken
        and PERFECT not in text
        and verdict.exit_status is Exit.SERVICE_BROKEN,
        text,
    )


def main() -> int:
    """Check every row and return 0 if all hold."""
    checks = Checks()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="raftline-lab-") as name:
        folder = Path(name)
        for check in (
            check_by_hand,
            check_crash_and_tenure,
            check_limits,
            check_run_1,
            check_run_2,
            check_run_3,
        ):
            check(checks, folder)
    passed = "some rows FAILED" if checks.failed else "all rows hold"
    print(f"{passed}, after {time.monotonic() - began_s:.0f} s")
    return int(checks.failed)


if __name__ == "__main__":
    end_with(main)
