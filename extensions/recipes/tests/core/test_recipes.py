"""Locks and queues as entries: the keys, what the end of a lease gives to those that wait, rights,
accounts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftline.state.commands.key_commands import execute
from raftline.state.lease_table import format_expiry
from raftline.state.store import Store
from raftline.state.work import LONG_KEYS, count_short
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.redaction import without_values
from raftline.wire.limits import TAKEN_BYTES
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from raftline_testing.doubles.account_machine import ANN, BOB, AccountMachine
from raftline_testing.doubles.lease_machine import TERM, LeaseMachine
from raftline_testing.doubles.user_machine import UserMachine
from raftline_testing.files.node_files import entries
from raftline_testing.linear_work import TIMES_MORE_MAX, times_more

L = "lock/a/"
Q = "queue/q/"


@pytest.fixture
def machine() -> LeaseMachine:
    """A store with lease-57, lease-58 and lease-59; the next entry is 60."""
    machine = LeaseMachine()
    machine.talk("lease 10", "lease 10", "lease 10")
    return machine


def asked(machine: LeaseMachine, command: str) -> dict[str, Any]:
    reply = machine.apply(command)
    head, _, facts = reply.partition(": ")
    assert head == "DEQUEUE response", reply
    answer: dict[str, Any] = json.loads(facts)
    return answer


def numbers(answer: dict[str, Any]) -> list[int]:
    return [job["number"] for job in answer["jobs"]]


def keys(machine: LeaseMachine, prefix: str) -> list[str]:
    return sorted(key.removeprefix(prefix) for key in machine.store if key.startswith(prefix))


def expire(machine: LeaseMachine, *leases: str) -> None:
    assert machine.apply(format_expiry(TERM, leases)) == ""


# --- locks, elections, semaphores ---------------------------------------------------------------


def test_hold_takes_a_free_seat_and_then_a_place_in_line(machine: LeaseMachine) -> None:
    assert machine.talk(
        f"hold {L} alone lease-57/3 web 1",
        f"hold {L} alone lease-58 b",
        f"hold {L} alone lease-57/3 other",
        f"hold {L} alone lease-58 other",
    ) == [
        f"HOLD response: {L}held/alone/lease-57/3 60",
        f"HOLD response, in line: {L}line/0000000000000000061/alone/lease-58",
        f"HOLD response: {L}held/alone/lease-57/3 60",
        f"HOLD response, in line: {L}line/0000000000000000061/alone/lease-58",
    ]
    assert machine.store[f"{L}held/alone/lease-57/3"] == "web 1"
    assert machine.store.lease_of(f"{L}held/alone/lease-57/3") == "lease-57"


def test_unhold_passes_the_seat_with_its_entry_as_token(machine: LeaseMachine) -> None:
    """`unhold` gives the seat to the first in line, with this entry as token."""
    machine.talk(*(f"hold {L} alone lease-{lease} of-{lease}" for lease in (57, 58, 59)))
    assert machine.talk(f"unhold {L} lease-57", f"unhold {L} lease-57") == [
        f"UNHOLD response: {L}held/alone/lease-57",
        "UNHOLD response, no such claim: lease-57",
    ]
    seat = f"{L}held/alone/lease-58"
    assert machine.store[seat] == "of-58"
    facts = machine.store.facts(seat)
    assert facts is not None
    assert (facts.changed, facts.lease) == (63, "lease-58")
    assert machine.apply(f"hold {L} alone lease-58 x") == f"HOLD response: {seat} 63"


def test_a_claim_may_leave_the_line(machine: LeaseMachine) -> None:
    machine.talk(*(f"hold {L} alone lease-{lease} x" for lease in (57, 58, 59)))
    place = f"{L}line/0000000000000000061/alone/lease-58"
    assert machine.apply(f"unhold {L} lease-58") == f"UNHOLD response: {place}"
    machine.apply(f"unhold {L} lease-57")
    assert keys(machine, L) == ["held/alone/lease-59"]


def test_a_claim_that_does_not_wait_writes_nothing(machine: LeaseMachine) -> None:
    machine.apply(f"hold {L} alone lease-57 x")
    before = dict(machine.store)
    assert machine.apply(f"hold {L} alone now lease-58 x") == f"HOLD response, not free: {L}"
    assert dict(machine.store) == before
    machine.apply(f"unhold {L} lease-57")
    seat = f"{L}held/alone/lease-58"
    assert machine.apply(f"hold {L} alone now lease-58 x") == f"HOLD response: {seat} 63"


def test_a_claim_under_no_lease_is_none(machine: LeaseMachine) -> None:
    assert machine.talk(f"hold {L} alone lease-5/1 x", f"dequeue {Q} 1 0 lease-5/1") == [
        "HOLD response, no such lease: lease-5",
        "DEQUEUE response, no such lease: lease-5",
    ]
    assert dict(machine.store) == {}


def test_shared_claims_get_their_seats_together_and_in_order(machine: LeaseMachine) -> None:
    machine.talk(
        f"hold {L} shared lease-57/1 a",
        f"hold {L} shared lease-57/2 b",
        f"hold {L} alone lease-58 c",
        f"hold {L} shared lease-59/1 d",
        f"hold {L} shared lease-59/2 e",
    )
    assert keys(machine, f"{L}held/") == ["shared/lease-57/1", "shared/lease-57/2"]
    machine.apply(f"unhold {L} lease-57/1")
    assert keys(machine, f"{L}held/") == ["shared/lease-57/2"]
    machine.apply(f"unhold {L} lease-57/2")
    assert keys(machine, f"{L}held/") == ["alone/lease-58"]
    machine.apply(f"unhold {L} lease-58")
    assert keys(machine, L) == ["held/shared/lease-59/1", "held/shared/lease-59/2"]


def test_claims_that_go_together_get_their_seats_in_one_entry(machine: LeaseMachine) -> None:
    assert machine.talk(
        f"hold {L} together:3 lease-57/1 a",
        f"hold {L} together:3 lease-57/2 b",
        f"hold {L} together:3 now lease-59 c",
        f"hold {L} together:3 lease-58 c",
        f"hold {L} together:3 lease-57/1 a",
        f"hold {L} together:3 now lease-59 d",
    ) == [
        f"HOLD response, in line: {L}line/0000000000000000060/together:3/lease-57/1",
        f"HOLD response, in line: {L}line/0000000000000000061/together:3/lease-57/2",
        f"HOLD response, not free: {L}",
        f"HOLD response: {L}held/together/0000000000000000063/lease-58 63",
        f"HOLD response: {L}held/together/0000000000000000063/lease-57/1 63",
        f"HOLD response: {L}held/together/0000000000000000063/lease-59 65",
    ]
    assert machine.apply(f"hold {L} alone now lease-58/2 x") == f"HOLD response, not free: {L}"


def test_the_next_round_begins_once_the_last_has_left(machine: LeaseMachine) -> None:
    machine.talk(*(f"hold {L} together:2 lease-{lease} x" for lease in (57, 58)))
    assert machine.apply(f"unhold {L} lease-57") == (
        f"UNHOLD response: {L}held/together/0000000000000000061/lease-57"
    )
    expire(machine, "lease-58")
    assert keys(machine, L) == []
    machine.talk(*(f"hold {L} together:2 lease-{claim} x" for claim in ("57", "59/1")))
    assert keys(machine, L) == [
        f"held/together/0000000000000000065/{claim}" for claim in ("lease-57", "lease-59/1")
    ]


def test_claims_behind_one_alone_go_together_once_it_ends(machine: LeaseMachine) -> None:
    machine.talk(
        f"hold {L} alone lease-57 x",
        f"hold {L} together:2 lease-58 x",
        f"hold {L} together:2 lease-59 x",
    )
    expire(machine, "lease-57")
    assert keys(machine, L) == [
        f"held/together/0000000000000000063/lease-{lease}" for lease in (58, 59)
    ]


@pytest.mark.parametrize("mode", ["together", "together:0", "together:1001", "alone:2"])
def test_a_mode_of_another_form_is_refused(mode: str) -> None:
    with pytest.raises(ProtocolError, match="MODE is alone, shared, a number of seats"):
        read_request("", "", f"hold {L} {mode} lease-57 x", Limits())


def test_leaving_claim_gives_shared_claims_behind_it_seats(machine: LeaseMachine) -> None:
    """Shared claims behind one that leaves the line get their seats."""
    machine.talk(f"hold {L} shared lease-57 a", f"hold {L} alone lease-58 b")
    machine.apply(f"hold {L} shared lease-59 c")
    expire(machine, "lease-58")
    assert keys(machine, L) == ["held/shared/lease-57", "held/shared/lease-59"]


def test_a_semaphore_gives_the_lowest_free_seat(machine: LeaseMachine) -> None:
    machine.talk(*(f"hold {L} 2 lease-57/{claim} x" for claim in (1, 2, 3)))
    assert keys(machine, L) == [
        "held/0001/lease-57/1",
        "held/0002/lease-57/2",
        "line/0000000000000000062/2/lease-57/3",
    ]
    machine.apply(f"unhold {L} lease-57/1")
    assert keys(machine, L) == ["held/0001/lease-57/3", "held/0002/lease-57/2"]
    assert machine.apply(f"hold {L} 3 lease-57/4 x").endswith("held/0003/lease-57/4 64")


def test_seats_of_different_modes_exclude_one_another(machine: LeaseMachine) -> None:
    for first in ("alone", "shared", "5"):
        for then in ("alone", "shared", "5"):
            machine.apply(f"hold {L} {first} lease-57 x")
            reply = machine.apply(f"hold {L} {then} now lease-58 x")
            is_free = first == then != "alone"
            assert reply.startswith("HOLD response: " if is_free else "HOLD response, not free")
            machine.talk(f"unhold {L} lease-57", f"unhold {L} lease-58")


def test_a_claim_in_line_sees_one_event_of_its_seat(machine: LeaseMachine) -> None:
    machine.talk(f"hold {L} alone lease-57 a", f"hold {L} alone lease-58 b")
    machine.store.notes_events = True
    machine.apply(f"unhold {L} lease-57")
    assert [event[:3] for event in machine.store.take_events().events] == [
        (62, "delete", f"{L}held/alone/lease-57"),
        (62, "set", f"{L}held/alone/lease-58"),
        (62, "delete", f"{L}line/0000000000000000061/alone/lease-58"),
    ]


@pytest.mark.parametrize("ends", ["release", "expired"])
def test_the_end_of_a_lease_gives_its_seats_to_those_in_line(
    machine: LeaseMachine, ends: str
) -> None:
    machine.talk(
        *(f"hold lock/{name}/ alone lease-57 x" for name in "ab"),
        *(f"hold lock/{name}/ alone lease-58 y" for name in "ab"),
        "hold lock/c/ alone lease-58 y",
        "hold lock/c/ alone lease-57 x",
    )
    if ends == "release":
        assert machine.apply("release lease-57").endswith("lease-57 released, 3 keys deleted")
    else:
        expire(machine, "lease-57")
    assert keys(machine, "lock/") == [f"{name}/held/alone/lease-58" for name in "abc"]


def test_leases_that_end_together_give_nothing_to_one_another(machine: LeaseMachine) -> None:
    machine.talk(*(f"hold {L} alone lease-{lease} x" for lease in (57, 58, 59)))
    machine.store.notes_events = True
    expire(machine, "lease-57", "lease-58", "lease-57")
    assert keys(machine, L) == ["held/alone/lease-59"]
    events = machine.store.take_events().events
    assert [event[2] for event in events if event[1] == "set"] == [f"{L}held/alone/lease-59"]


def test_seat_of_a_deleted_key_goes_to_the_first_in_line(machine: LeaseMachine) -> None:
    """A seat whose key a person deleted goes to the first in line."""
    machine.talk(*(f"hold {L} alone lease-{lease} x" for lease in (57, 58)))
    machine.apply(f"delete {L}held/alone/lease-57")
    seat = f"{L}held/alone/lease-58"
    assert machine.apply(f"hold {L} alone lease-58 x") == f"HOLD response: {seat} 63"


def test_new_claim_does_not_pass_a_line_without_a_holder(machine: LeaseMachine) -> None:
    """A new claim does not pass a line that a person left without a holder."""
    machine.talk(*(f"hold {L} alone lease-{lease} x" for lease in (57, 58)))
    machine.apply(f"delete {L}held/alone/lease-57")
    assert machine.apply(f"hold {L} alone lease-59 x").startswith("HOLD response, in line")
    assert keys(machine, f"{L}held/") == ["alone/lease-58"]


def test_lock_named_like_a_place_in_line_is_another_lock(machine: LeaseMachine) -> None:
    """A lock whose name looks like a place in line is another lock."""
    machine.talk(f"hold {L} alone lease-57 x", f"hold {L} shared lease-58 x")
    inner = f"{L}line/0000000000000000061/"
    assert machine.apply(f"hold {inner} shared lease-59 x").startswith("HOLD response: ")
    machine.apply(f"unhold {L} lease-57")
    assert keys(machine, f"{L}held/") == ["shared/lease-58"]


# --- queues -------------------------------------------------------------------------------------


def test_a_job_waits_is_taken_and_ends(machine: LeaseMachine) -> None:
    assert machine.talk(f"enqueue {Q} job one", f"enqueue {Q} ") == [
        "ENQUEUE response: 60",
        "ENQUEUE response: 61",
    ]
    job = {"number": 60, "deliveries": 1, "value": "job one"}
    assert asked(machine, f"dequeue {Q} 1 10 lease-57/4") == {
        "index": 62, "ended": [], "jobs": [job], "place": None,
    }  # fmt: skip
    assert keys(machine, Q) == [
        "held/lease-57/4/0000000000000000060",
        "jobs/0000000000000000060",
        "jobs/0000000000000000061",
        "wait/0000000000000000061",
    ]
    answer = asked(machine, f"dequeue {Q} 1 10 lease-57/4 60:62")
    assert (answer["ended"], numbers(answer)) == ([60], [61])
    answer = asked(machine, f"dequeue {Q} 0 10 lease-57/4 61:63 60:62")
    assert (answer["ended"], answer["place"], dict(machine.store)) == ([61], None, {})


def test_idle_worker_gets_a_job_by_the_entry_that_adds_it(machine: LeaseMachine) -> None:
    """An idle worker gets the next job by the entry that adds it."""
    for lease in (58, 57):
        place = asked(machine, f"dequeue {Q} 1 10 lease-{lease}")["place"]
        assert place == f"{Q}idle/{machine.number:019}/1.10/lease-{lease}"
    assert asked(machine, f"dequeue {Q} 1 10 lease-57")["place"] == place
    machine.talk(f"enqueue {Q} a", f"enqueue {Q} b", f"enqueue {Q} c")
    assert keys(machine, Q) == [
        "held/lease-57/0000000000000000064",
        "held/lease-58/0000000000000000063",
        "jobs/0000000000000000063",
        "jobs/0000000000000000064",
        "jobs/0000000000000000065",
        "wait/0000000000000000065",
    ]
    assert asked(machine, f"dequeue {Q} 0 10 lease-57 64:64")["ended"] == [64]


def test_worker_may_wait_as_another_claim_and_take_its_job(machine: LeaseMachine) -> None:
    """A worker may wait as another claim and take its job over."""
    place = asked(machine, f"dequeue {Q} 1 10 as lease-58/1 lease-57/1")["place"]
    assert place == f"{Q}idle/{machine.number:019}/1.10/lease-58/1"
    machine.apply(f"enqueue {Q} a")
    job, token = 61, machine.number
    assert keys(machine, Q)[0] == f"held/lease-58/1/{job:019}"
    for wrong in (f"{job}:{token + 1}:lease-58/1", f"{job}:{token}:lease-58/2", f"{job}:{token}"):
        assert numbers(asked(machine, f"dequeue {Q} 0 10 lease-57/1 {wrong}")) == []
    answer = asked(machine, f"dequeue {Q} 0 10 lease-57/1 {job}:{token}:lease-58/1")
    assert answer["jobs"] == [{"number": job, "deliveries": 1, "value": "a"}]
    assert keys(machine, Q) == [f"held/lease-57/1/{job:019}", f"jobs/{job:019}"]
    asked(machine, f"dequeue {Q} 1 10 as lease-58/1 lease-57/2")
    machine.talk(f"enqueue {Q} b", f"clear {Q}jobs/")
    token = machine.number - 1
    word = f"{token}:{token}:lease-58/1"
    assert numbers(asked(machine, f"dequeue {Q} 0 10 lease-57/2 {word}")) == []
    assert not any("lease-58" in key for key in machine.store)
    machine.apply("release lease-58")
    ended = asked(machine, f"dequeue {Q} 0 10 lease-57/1 {job}:{answer['index']}")["ended"]
    assert (ended, dict(machine.store)) == ([job], {})


def test_job_of_a_worker_dead_in_line_waits_with_its_lease(machine: LeaseMachine) -> None:
    """The job of a worker that died in line waits again with the lease of its place."""
    asked(machine, f"dequeue {Q} 1 10 as lease-58/1 lease-57/1")
    machine.talk(f"enqueue {Q} a", "release lease-58")
    assert numbers(asked(machine, f"dequeue {Q} 1 10 lease-59")) == [61]
    assert machine.apply(f"dequeue {Q} 1 10 as lease-58/1 lease-57/1") == (
        "DEQUEUE response, no such lease: lease-58"
    )


def test_a_job_that_is_taken_over_counts_and_a_reply_stays_short(machine: LeaseMachine) -> None:
    asked(machine, f"dequeue {Q} 3 10 as lease-58/1 lease-57/1")
    long = "x" * 700_000
    machine.talk(f"enqueue {Q} {long}")
    asked(machine, f"dequeue {Q} 3 10 as lease-58/1 lease-57/2")
    machine.talk(f"enqueue {Q} {long}")
    held = [key for key in machine.store if "/held/" in key]
    facts = {key: machine.store.facts(key) for key in held}
    words = [f"{int(key[-19:])}:{each.changed}:lease-58/1" for key, each in facts.items() if each]
    first = asked(machine, f"dequeue {Q} 1 10 lease-57/1 {' '.join(words)}")
    assert len(first["jobs"]) == 1
    second = asked(machine, f"dequeue {Q} 1 10 lease-57/1 {' '.join(words)}")
    assert len(second["jobs"]) == 1
    assert numbers(first) != numbers(second)


def test_a_worker_that_does_not_wait_leaves_the_line(machine: LeaseMachine) -> None:
    assert asked(machine, f"dequeue {Q} 1 0 now lease-57")["place"] is None
    for end in ("1 0 now lease-57", "0 0 lease-57"):
        assert asked(machine, f"dequeue {Q} 1 0 lease-57")["place"]
        assert asked(machine, f"dequeue {Q} {end}")["place"] is None
        assert dict(machine.store) == {}


def test_jobs_of_an_ended_lease_wait_again_or_go_to_workers(machine: LeaseMachine) -> None:
    """The jobs of an ended lease wait again in order or go to idle workers."""
    machine.talk(*(f"enqueue {Q} {value}" for value in "abc"))
    assert numbers(asked(machine, f"dequeue {Q} 3 10 lease-57")) == [60, 61, 62]
    assert asked(machine, f"dequeue {Q} 2 10 lease-58")["place"]
    machine.apply(f"enqueue {Q} d")
    asked(machine, f"dequeue {Q} 2 10 lease-58")
    expire(machine, "lease-57")
    assert keys(machine, f"{Q}held/") == [f"lease-58/{number:019}" for number in (60, 61, 65)]
    assert machine.store[f"{Q}held/lease-58/0000000000000000060"] == "2/10"
    assert machine.store[f"{Q}wait/0000000000000000062"] == "1"
    assert numbers(asked(machine, f"dequeue {Q} 1 10 lease-59")) == [62]


def test_job_delivered_as_often_as_allowed_is_dead_until_requeue(machine: LeaseMachine) -> None:
    """A job that was delivered as often as allowed is dead until `requeue`."""
    machine.apply(f"enqueue {Q} a")
    asked(machine, f"dequeue {Q} 1 2 lease-57")
    expire(machine, "lease-57")
    asked(machine, f"dequeue {Q} 1 2 lease-58")
    expire(machine, "lease-58")
    assert keys(machine, Q) == ["dead/0000000000000000060", "jobs/0000000000000000060"]
    assert machine.store[f"{Q}dead/0000000000000000060"] == "2"
    asked(machine, f"dequeue {Q} 1 2 lease-59")
    assert machine.talk(f"requeue {Q} 60", f"requeue {Q} 60") == [
        "REQUEUE response: 60",
        "REQUEUE response, no such job: 60",
    ]
    assert machine.store[f"{Q}held/lease-59/0000000000000000060"] == "1/2"


def test_worker_gets_no_job_beyond_its_deliveries(machine: LeaseMachine) -> None:
    """A worker gets no job that was delivered as often as it allows."""
    machine.talk(f"enqueue {Q} a", f"enqueue {Q} b")
    asked(machine, f"dequeue {Q} 1 0 lease-57")
    expire(machine, "lease-57")
    assert numbers(asked(machine, f"dequeue {Q} 2 1 lease-58")) == [61]
    assert keys(machine, f"{Q}dead/") == ["0000000000000000060"]


def test_a_job_that_is_given_back_waits_again(machine: LeaseMachine) -> None:
    machine.talk(f"enqueue {Q} a", f"enqueue {Q} b")
    asked(machine, f"dequeue {Q} 2 10 lease-57")
    assert asked(machine, f"dequeue {Q} 0 10 lease-57 60:62:back 61:62")["ended"] == [60, 61]
    assert keys(machine, Q) == ["jobs/0000000000000000060", "wait/0000000000000000060"]
    assert machine.store[f"{Q}wait/0000000000000000060"] == "1"


def test_worker_leaving_the_line_does_not_get_its_job_back(machine: LeaseMachine) -> None:
    """A worker that leaves the line does not get the job that it gives back."""
    machine.apply(f"enqueue {Q} a")
    asked(machine, f"dequeue {Q} 1 10 lease-57")
    assert asked(machine, f"dequeue {Q} 1 10 lease-57")["place"]
    asked(machine, f"dequeue {Q} 0 10 lease-57 60:61:back")
    assert keys(machine, Q) == ["jobs/0000000000000000060", "wait/0000000000000000060"]


def test_a_dead_job_whose_value_a_person_deleted_is_not_a_job(machine: LeaseMachine) -> None:
    machine.talk(f"set {Q}dead/0000000000000000007 3", f"dequeue {Q} 1 10 lease-57")
    assert machine.apply(f"requeue {Q} 7") == "REQUEUE response, no such job: 7"
    assert len(keys(machine, Q)) == 1


def test_a_job_ends_only_by_its_worker_and_its_token(machine: LeaseMachine) -> None:
    machine.apply(f"enqueue {Q} a")
    asked(machine, f"dequeue {Q} 1 10 lease-57")
    for line in ("lease-57 60:60", "lease-58 60:61", "lease-57/1 60:61", "lease-57 61:61"):
        assert asked(machine, f"dequeue {Q} 0 10 {line}")["ended"] == []
    assert f"{Q}jobs/0000000000000000060" in machine.store


def test_a_transaction_ends_a_job_along_with_other_writes_once(machine: LeaseMachine) -> None:
    machine.apply(f"enqueue {Q} a")
    asked(machine, f"dequeue {Q} 1 10 lease-57")
    held, job = f"{Q}held/lease-57/0000000000000000060", f"{Q}jobs/0000000000000000060"
    end = f"if {held} unchanged since 61 then delete {held} ; delete {job} ; incr done"
    for section in ("then", "else"):
        assert machine.apply(f"txn {end}").startswith(f"TXN response, {section}: ")
    assert dict(machine.store) == {"done": "1"}


def test_a_dequeue_takes_fewer_jobs_than_it_may_if_they_are_long(machine: LeaseMachine) -> None:
    for _ in range(3):
        machine.apply(f"enqueue {Q} {'x' * (TAKEN_BYTES // 2)}")
    assert len(asked(machine, f"dequeue {Q} 3 0 lease-57")["jobs"]) == 1
    assert len(asked(machine, f"dequeue {Q} 3 0 lease-57")["jobs"]) == 1


def test_a_job_whose_value_a_person_deleted_is_passed_over(machine: LeaseMachine) -> None:
    machine.talk(f"enqueue {Q} a", f"enqueue {Q} b", f"delete {Q}jobs/0000000000000000060")
    assert numbers(asked(machine, f"dequeue {Q} 2 0 lease-57")) == [61]
    machine.apply(f"delete {Q}jobs/0000000000000000061")
    expire(machine, "lease-57")
    assert dict(machine.store) == {}


def test_a_number_of_a_job_is_never_used_again(machine: LeaseMachine) -> None:
    """Not by a later entry, whose number a transaction of several jobs has used."""
    several = range(60, 65)
    machine.apply(f"txn {' ; '.join(f'enqueue {Q} {number}' for number in several)}")
    assert numbers(asked(machine, f"dequeue {Q} 5 0 lease-57")) == [*several]
    done = " ".join(f"{number}:61" for number in several)
    assert asked(machine, f"dequeue {Q} 0 0 lease-57 {done}")["ended"] == [*several]
    assert keys(machine, Q) == ["last"]
    assert machine.apply(f"enqueue {Q} d") == "ENQUEUE response: 65"
    machine.talk("set a 1", "set a 2")
    assert machine.apply(f"enqueue {Q} e") == "ENQUEUE response: 66"
    assert keys(machine, Q) == [f"{kind}/{n:019}" for kind in ("jobs", "wait") for n in (65, 66)]


def test_put_in_a_transaction_sees_the_operations_before_it(machine: LeaseMachine) -> None:
    """An object is written once for several operations, but before the job."""
    job = f"{Q}jobs/0000000000000000060"
    reply = machine.apply(f'txn object {job} dict.put "a" 1 ; enqueue {Q} b ; get {job}')
    assert reply == r"""TXN response, then: ["null", "61", "{\"a\": 1}"]"""


def test_a_job_never_takes_the_number_of_another(machine: LeaseMachine) -> None:
    machine.talk(f"set {Q}jobs/0000000000000000061 old", f"enqueue {Q} new")
    assert machine.store[f"{Q}jobs/0000000000000000061"] == "old"
    assert machine.store[f"{Q}jobs/0000000000000000062"] == "new"


def test_the_order_stays_when_a_recovery_makes_the_numbers_long(machine: LeaseMachine) -> None:
    machine.talk(f"hold {L} alone lease-57 a", f"enqueue {Q} a")
    for number in (10**15, 10**16, 10**18):
        machine.number = number
        machine.talk(f"hold {L} alone lease-58/{number} x", f"enqueue {Q} b")
    answer = asked(machine, f"dequeue {Q} 4 0 lease-59")
    assert numbers(answer) == [61, 10**15 + 2, 10**16 + 2, 10**18 + 2]
    machine.apply(f"unhold {L} lease-57")
    for number in (10**15, 10**16, 10**18):
        assert keys(machine, f"{L}held/") == [f"alone/lease-58/{number}"]
        machine.apply(f"unhold {L} lease-58/{number}")


# --- claims that are abandoned ------------------------------------------------------------------


def test_abandoned_claim_loses_its_seat_despite_a_late_hold(machine: LeaseMachine) -> None:
    """An abandoned claim gives up its seat, and gets none by a late `hold`."""
    machine.talk(f"hold {L} alone lease-57/3 a", f"hold {L} alone lease-58 b")
    assert machine.talk(f"abandon {L} lease-57/3", f"hold {L} alone lease-57/3 a") == [
        "ABANDON response: lease-57/3",
        "HOLD response, abandoned: lease-57/3",
    ]
    assert keys(machine, L) == ["gone/lease-57/3", "held/alone/lease-58"]
    seat = f"{L}held/alone/lease-58"
    assert machine.apply(f"hold {L} alone lease-58 b") == f"HOLD response: {seat} 62"
    machine.apply(f"unhold {L} lease-58")
    assert machine.apply(f"hold {L} alone lease-57/3 a") == "HOLD response, abandoned: lease-57/3"
    assert machine.apply(f"hold {L} alone lease-57/4 a").startswith("HOLD response: ")


def test_a_claim_without_anything_is_abandoned_before_its_hold(machine: LeaseMachine) -> None:
    assert machine.talk(f"abandon {L} lease-57", f"hold {L} shared lease-57 a") == [
        "ABANDON response: lease-57",
        "HOLD response, abandoned: lease-57",
    ]
    assert keys(machine, L) == ["gone/lease-57"]
    assert machine.store[f"{L}gone/lease-57"] == ""
    assert machine.apply("hold lock/b/ shared lease-57 a").startswith("HOLD response: ")


@pytest.mark.parametrize("mode", ["alone", "shared", "2"])
def test_abandoned_claim_leaves_seat_or_line_in_any_mode(machine: LeaseMachine, mode: str) -> None:
    """An abandoned claim leaves its seat or the line in any mode."""
    other = "alone" if mode == "shared" else "shared"
    machine.talk(f"hold {L} {mode} lease-57 a", f"hold {L} {other} lease-58 b")
    machine.talk(f"hold {L} {mode} lease-59 c", f"abandon {L} lease-58")
    seats = ["0001", "0002"] if mode == "2" else [mode, mode]
    served = [f"held/{seats[0]}/lease-57"]
    served += [] if mode == "alone" else [f"held/{seats[1]}/lease-59"]
    assert [key for key in keys(machine, L) if key.startswith("held/")] == served
    machine.apply(f"abandon {L} lease-57")
    seat = seats[0] if mode == "alone" else seats[1]
    assert keys(machine, L) == ["gone/lease-57", "gone/lease-58", f"held/{seat}/lease-59"]


@pytest.mark.needs("a clock of a thread")
@pytest.mark.parametrize("place", ["line/{}/alone", "idle/{}/1.0", "held/together/{}", "held/{}"])
@pytest.mark.parametrize("verb", ["abandon", "hold", "hold 3", "dequeue"])
def test_work_of_a_claim_is_linear_in_the_places_of_a_line(place: str, verb: str) -> None:
    """Any client that may write there can set such keys: as many of one lease as it likes. Each
    further command of another claim costs the same, and one abandons all of them at once."""

    mode = "3" if verb == "hold 3" else "alone"

    def fill_and_ask(line: bytes) -> None:
        machine = LeaseMachine()
        machine.talk("lease 10", "lease 10", f"hold {L} {mode} lease-57 x")
        for number in range(len(line)):
            digits = f"{number:04}" if place == "held/{}" else f"{number:019}"
            machine.apply(f"under lease-58 set {L}{place.format(digits)}/lease-58 x")
        if verb == "abandon":
            machine.apply(f"abandon {L} lease-58")
            assert keys(machine, L) == ["gone/lease-58", "held/alone/lease-57"]
        for _ in range(0 if verb == "abandon" else len(line)):
            if verb == "dequeue":
                machine.apply(f"dequeue {L} 1 0 now lease-57/1")
            else:
                machine.apply(f"hold {L} {mode} now lease-57/1 x")

    assert times_more(fill_and_ask, b"", b"-", short=400) <= TIMES_MORE_MAX


def test_an_abandoned_worker_gives_back_its_jobs_and_gets_none(machine: LeaseMachine) -> None:
    machine.talk(*(f"enqueue {Q} {value}" for value in "abc"))
    assert numbers(asked(machine, f"dequeue {Q} 1 1 lease-57/1")) == [60]
    assert numbers(asked(machine, f"dequeue {Q} 1 9 lease-57/1")) == [61]
    assert numbers(asked(machine, f"dequeue {Q} 1 9 lease-57")) == [62]
    assert machine.apply(f"abandon {Q} lease-57") == "ABANDON response: lease-57"
    assert keys(machine, f"{Q}held/") == [f"lease-57/1/{number:019}" for number in (60, 61)]
    assert asked(machine, f"dequeue {Q} 1 9 lease-58")["ended"] == []
    assert asked(machine, f"dequeue {Q} 3 9 lease-59")["place"]
    machine.apply(f"abandon {Q} lease-57/1")
    assert keys(machine, f"{Q}held/") == [f"lease-58/{62:019}", f"lease-59/{61:019}"]
    assert machine.store[f"{Q}held/lease-59/{61:019}"] == "2/9"
    assert machine.store[f"{Q}dead/{60:019}"] == "1"
    before = dict(machine.store)
    late = f"dequeue {Q} 1 9 lease-57/1 60:63 61:64"
    assert machine.apply(late) == "DEQUEUE response, abandoned: lease-57/1"
    assert dict(machine.store) == before


def test_an_abandoned_worker_leaves_the_line(machine: LeaseMachine) -> None:
    assert asked(machine, f"dequeue {Q} 1 9 lease-57")["place"]
    machine.talk(f"abandon {Q} lease-57", f"enqueue {Q} a")
    number = f"{machine.number:019}"
    assert keys(machine, Q) == ["gone/lease-57", f"jobs/{number}", f"wait/{number}"]


def test_abandoned_jobs_make_events_in_their_order(machine: LeaseMachine) -> None:
    """The jobs of an abandoned worker make events in the order of their numbers."""
    machine.talk(*(f"enqueue {Q} x" for _ in range(9)))
    assert len(numbers(asked(machine, f"dequeue {Q} 9 0 lease-57"))) == 9
    machine.store.notes_events = True
    machine.apply(f"abandon {Q} lease-57")
    changed = [event[2] for event in machine.store.take_events().events]
    waiting = [f"{Q}wait/{number:019}" for number in range(60, 69)]
    held = [f"{Q}held/lease-57/{number:019}" for number in range(60, 69)]
    assert changed == [*held, f"{Q}gone/lease-57", *waiting]


def test_a_repeated_abandon_writes_nothing(machine: LeaseMachine) -> None:
    machine.apply(f"abandon {L} lease-57")
    before = dict(machine.store.held)
    assert machine.apply(f"abandon {L} lease-57") == "ABANDON response: lease-57"
    assert dict(machine.store.held) == before


def test_an_abandoned_claim_is_forgotten_with_its_lease(machine: LeaseMachine) -> None:
    machine.apply(f"abandon {L} lease-57/3")
    expire(machine, "lease-57")
    assert dict(machine.store) == {}
    assert machine.talk(f"abandon {L} lease-57/3", f"hold {L} alone lease-57/3 a") == [
        "ABANDON response, no such lease: lease-57",
        "HOLD response, no such lease: lease-57",
    ]
    assert dict(machine.store) == {}


# --- the keys decide, whatever came before ------------------------------------------------------


def test_a_state_that_is_read_from_a_snapshot_continues_the_same(machine: LeaseMachine) -> None:
    machine.talk(
        f"hold {L} alone lease-57 a", f"hold {L} alone lease-58 b", f"enqueue {Q} c",
        f"unhold {L} lease-57", f"hold {L} alone lease-59 b",
    )  # fmt: skip
    again = LeaseMachine()
    again.number = machine.number
    store = machine.store
    again.store.replace(dict(store.held), 1, store.leases, store.leased, machine.number)
    commands = [f"unhold {L} lease-58", f"dequeue {Q} 1 0 lease-59"]
    assert machine.talk(*commands) == again.talk(*commands)
    assert dict(machine.store) == dict(again.store)


# --- lines, rights, accounts, work --------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "hold", "hold lock/a/", f"hold {L} alone lease-57", f"hold {L} both lease-57 x",
        f"hold {L} 0 lease-57 x", f"hold {L} 1001 lease-57 x", f"hold {L} alone x lease-57",
        f"hold {L} alone lease-57/0 x", f"hold {L} alone lease-57/ x", "hold lock alone lease-5 x",
        f"abandon {L}", f"abandon {L} lease-57/x", "abandon lock lease-57",
        f"unhold {L}", f"unhold {L} lease", f"unhold {L} lease-57 x", "unhold lock lease-57",
        "enqueue", f"enqueue {Q}", "enqueue queue x", f"requeue {Q}", f"requeue {Q} x",
        f"dequeue {Q} 1 lease-57", f"dequeue {Q} 257 0 lease-57", f"dequeue {Q} 1 0 lease-57 60",
        f"dequeue {Q} 1 0 lease-57 60:x", f"dequeue {Q} 1 0 lease-57 60:61:front",
        f"dequeue {Q} 0 0 lease-57{' 1:1' * 257}", f"hold {'x' * 900}/ alone lease-57 x",
    ],
)  # fmt: skip
def test_a_mistake_is_refused_and_nothing_is_done(line: str) -> None:
    with pytest.raises(ProtocolError, match=r"Nothing was done\."):
        read_request("", "", line, Limits())


def test_a_prefix_has_one_form() -> None:
    request = read_request("", "", r"hold \x6cock/two\swords/ alone now lease-57 web 1 ", Limits())
    assert request.command == r"hold lock/two\swords/ alone now lease-57 web 1 "


def test_a_console_shows_the_prefix_and_no_value() -> None:
    assert without_values(f"c#1@hold {L} alone lease-57 secret") == f"c#1@hold {L} …"
    assert without_values(f"enqueue {Q} secret") == f"enqueue {Q} …"


def test_rights_cover_the_prefix_and_the_keys_of_the_lease() -> None:
    """The rights are those for the prefix and for the keys of the lease."""
    machine = UserMachine()
    _, reply = machine.do("noop", "bob@lease 10 0123456789abcdef")
    lease = reply.split()[2]
    refused = machine.do(
        f"bob@hold db/ alone {lease} x", f"bob@unhold db/ {lease}", f"bob@abandon db/ {lease}",
        "bob@enqueue db/ x",
        "bob@requeue db/ 1", f"bob@dequeue db/ 1 0 {lease}",
    )  # fmt: skip
    assert all("the right to write there" in reply for reply in refused)
    [seated] = machine.do(f"bob@hold app/a/ alone {lease} x")
    assert seated.startswith("HOLD response: app/a/held/alone/")
    machine.do(f"under {lease} set db/x 1")
    for line in (
        f"hold app/b/ alone {lease} x", f"dequeue app/q/ 1 0 {lease}", f"abandon app/a/ {lease}",
    ):  # fmt: skip
        assert "for each of its keys" in machine.do(f"bob@{line}")[0]
    machine.do("role-add adder", "role-grant adder write app/", "user-add eve - adder")
    machine.do("eve@lease 10 1123456789abcdef")
    assert (
        "the right to read there"
        in machine.do(f"eve@dequeue app/q/ 1 0 lease-{machine._index}.1123456789abcdef")[0]
    )
    assert machine.do("eve@enqueue app/q/ x")[0].startswith("ENQUEUE response: ")


def test_keys_count_for_the_user_whose_claim_or_job_they_are() -> None:
    machine = AccountMachine()
    machine.do("lease 10", "lease 10", f"{BOB}#1@hold {L} alone lease-4 x")
    machine.do(f"{ANN}#1@hold {L} alone lease-5 x")
    machine.do("expired 1 lease-4")
    assert set(machine.held) == {"ann"}
    machine.do("lease 10", f"{BOB}#2@enqueue {Q} x", f"{ANN}#2@dequeue {Q} 1 0 lease-9")
    both = dict(machine.held)
    machine.do("expired 1 lease-9")
    after = machine.held
    assert after["bob"] > both["bob"]
    assert after["ann"] < both["ann"]


def test_an_entry_that_looks_at_very_many_keys_or_claims_is_long() -> None:
    store = Store({f"k{number}": "1" for number in range(LONG_KEYS + 1)}, level=1)
    store.leases.add("lease-1", 10, "")
    many = f"txn set a 1 ; enqueue {Q} y"
    for command in (f"hold {L} alone lease-1 x", f"x@enqueue {Q} y", many):
        assert count_short(store, entries(1, 1, command, "set b 1")) == 0
    for key in (f"{L}held/alone/lease-1", f"{Q}held/lease-1/0000000000000000007"):
        assert count_short(store, entries(1, 1, "release lease-1", "set b 1")) == 2
        store.put_under("lease-1", key, "1/0")
        assert count_short(store, entries(1, 1, "release lease-1", "set b 1")) == 0
        store.pop(key)
    execute(store, f"hold {L} alone lease-1 x")
    assert (
        count_short(store, entries(1, 1, f"unhold {L} lease-1", "release lease-1", "set b 1")) == 3
    )
    for number in range(LONG_KEYS + 1):
        store.number = number
        execute(store, f"hold {L} shared lease-1/{number + 1} x")
    assert count_short(store, entries(1, 1, f"unhold {L} lease-1")) == 0
    assert count_short(store, entries(1, 1, "x@abandon lock/b/ lease-1/7")) == 0
    assert count_short(store, entries(1, 1, "abandon lock/b/ lease-2", "abandon ", "set b 1")) == 3
