"""Locks and queues as entries, besides what their model shows (`test_recipes_model.py`): events,
keys set by hand, long replies, rights, accounts."""

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
from raftline_testing.runner.parts import with_part

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


@pytest.mark.parametrize("mode", ["together", "together:0", "together:1001", "alone:2"])
def test_a_mode_of_another_form_is_refused(mode: str) -> None:
    with pytest.raises(ProtocolError, match="MODE is alone, shared, a number of seats"):
        read_request("", "", f"hold {L} {mode} lease-57 x", Limits())


def test_a_claim_in_line_sees_one_event_of_its_seat(machine: LeaseMachine) -> None:
    machine.talk(f"hold {L} alone lease-57 a", f"hold {L} alone lease-58 b")
    machine.store.notes_events = True
    machine.apply(f"unhold {L} lease-57")
    assert [event[:3] for event in machine.store.take_events().events] == [
        (62, "delete", f"{L}held/alone/lease-57"),
        (62, "set", f"{L}held/alone/lease-58"),
        (62, "delete", f"{L}line/0000000000000000061/alone/lease-58"),
    ]


def test_leases_that_end_together_give_nothing_to_one_another(machine: LeaseMachine) -> None:
    machine.talk(*(f"hold {L} alone lease-{lease} x" for lease in (57, 58, 59)))
    machine.store.notes_events = True
    expire(machine, "lease-57", "lease-58", "lease-57")
    assert keys(machine, L) == ["held/alone/lease-59"]
    events = machine.store.take_events().events
    assert [event[2] for event in events if event[1] == "set"] == [f"{L}held/alone/lease-59"]


def test_lock_named_like_a_place_in_line_is_another_lock(machine: LeaseMachine) -> None:
    """A lock whose name looks like a place in line is another lock."""
    machine.talk(f"hold {L} alone lease-57 x", f"hold {L} shared lease-58 x")
    inner = f"{L}line/0000000000000000061/"
    assert machine.apply(f"hold {inner} shared lease-59 x").startswith("HOLD response: ")
    machine.apply(f"unhold {L} lease-57")
    assert keys(machine, f"{L}held/") == ["shared/lease-58"]


# --- queues -------------------------------------------------------------------------------------


def test_job_to_take_over_whose_value_was_deleted_is_dropped(machine: LeaseMachine) -> None:
    asked(machine, f"dequeue {Q} 1 10 as lease-58/1 lease-57/2")
    machine.talk(f"enqueue {Q} b", f"clear {Q}jobs/")
    token = machine.number - 1
    word = f"{token}:{token}:lease-58/1"
    assert numbers(asked(machine, f"dequeue {Q} 0 10 lease-57/2 {word}")) == []
    assert not any("lease-58" in key for key in machine.store)


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


def test_a_dead_job_whose_value_a_person_deleted_is_not_a_job(machine: LeaseMachine) -> None:
    machine.talk(f"set {Q}dead/0000000000000000007 3", f"dequeue {Q} 1 10 lease-57")
    assert machine.apply(f"requeue {Q} 7") == "REQUEUE response, no such job: 7"
    assert len(keys(machine, Q)) == 1


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


@with_part("objects")
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
    store = Store({f"k{number}": "1" for number in range(LONG_KEYS + 1)}, is_at_floor=False)
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
