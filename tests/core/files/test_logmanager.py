"""The LogManager's answers, and its lock: held for the time of each operation."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.node.watches.watch_listing import Lister
from raftline.state.commands.machines import UnknownMachine
from raftline.state.key_pages import PAGE_CHARACTERS
from raftline.state.store import PAUSE_KEYS
from raftline.storage.disk import StateRefused
from raftline.wire.refusal import HALF_APPLIED, STOPPING
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries, known, vote, write


def fresh() -> LogManager:
    return LogManager("s1", MemoryFolder(), MEMBERS)


def after(*commands: str) -> LogManager:
    manager = fresh()
    manager.apply(entries(1, 1, *commands))
    return manager


def shown(reply: str) -> dict[str, str]:
    begin = "SHOW response: "
    assert reply.startswith(begin)
    pairs, _ = json.JSONDecoder().raw_decode(reply[len(begin) :])
    assert isinstance(pairs, dict)
    return pairs


def test_each_command_gets_its_documented_reply() -> None:
    manager = fresh()
    conversation = [
        ("set b 5", "SET response: b set to 5"),
        ("get b", "GET response: 5"),
        ("get c", "GET response, no such key: c"),
        ("set c ", "SET response: c set to "),
        ("get c", "GET response: "),
        ("show", 'SHOW response: {"b": "5", "c": ""}'),
        ("delete b", "DELETE response: b deleted"),
        ("delete b", "DELETE response, no such key: b"),
        ("show", 'SHOW response: {"c": ""}'),
        ("noop", ""),
    ]
    for command, reply in conversation:
        assert manager.read([command])[0] == reply


def test_a_value_is_the_rest_of_the_line() -> None:
    manager = after("set k a b  c @d#1 ")
    assert manager.store == {"k": "a b  c @d#1 "}
    assert manager.read(["get k"])[0] == "GET response: a b  c @d#1 "


def test_client_prefix_does_not_change_a_command() -> None:
    """The name and number of a client before a command do not change its effect."""
    manager = after("client7#12@set b 30", "client@set a x@y z", "set m@n 1")
    assert manager.store == {"b": "30", "a": "x@y z", "m@n": "1"}
    assert manager.read(["get b"]) == ["GET response: 30"]
    assert shown(manager.read(["show"])[0]) == {"a": "x@y z", "b": "30", "m@n": "1"}
    assert manager.read(["get m@n"])[0] == "GET response: 1"


def test_the_course_example_log_yields_its_state() -> None:
    manager = fresh()
    commands = ["set a 4", "set b 30", "get b", "set c 5", "delete b"]
    assert manager.apply(entries(1, 1, *commands)) == [
        "SET response: a set to 4",
        "SET response: b set to 30",
        "GET response: 30",
        "SET response: c set to 5",
        "DELETE response: b deleted",
    ]
    assert manager.store == {"a": "4", "c": "5"}


@pytest.mark.parametrize(
    "command",
    ["set a", "set", "set  v", "get", "get ", "get a b", "delete", "delete  a", "foo", "foo a", "",
     "SET a 1", "c@", "@", "show a b c", "show  x"],
)  # fmt: skip
def test_an_unknown_command_is_refused_and_changes_nothing(command: str) -> None:
    manager = after("set a 4")
    [reply] = manager.apply(entries(2, 1, command))
    assert reply.startswith("Sorry, ")
    assert manager.read([command])[0].startswith("Sorry, ")
    assert manager.store == {"a": "4"}


def test_an_echoed_command_is_cut_and_cannot_forge_a_line() -> None:
    [reply] = fresh().apply(entries(1, 1, "x\x1b[2J\n" + "y" * 5000))
    assert reply.isprintable()
    assert len(reply) < 250


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.builds(
                "{} {} {}".format,
                st.sampled_from(["set", "get", "delete", "show", "c#1@set"]),
                st.text(max_size=5),
                st.text(max_size=5),
            ),
        ),
        max_size=12,
    )
)
def test_apply_takes_any_command_and_agrees_on_every_node(commands: list[str]) -> None:
    first, second = fresh(), fresh()
    log = entries(1, 1, *commands)
    replies = first.apply(log)
    assert replies == [reply for entry in log for reply in second.apply([entry])]
    assert first.store == second.store
    assert len(replies) == len(commands)


def test_reads_are_answered_together_as_of_one_moment() -> None:
    manager = after("set a 1", "set b 2")
    assert manager.read(["get a", "show", "get x", "show b"]) == [
        "GET response: 1",
        'SHOW response: {"a": "1", "b": "2"}',
        "GET response, no such key: x",
        'SHOW response: {"b": "2"}',
    ]


def test_show_is_json_sorted_by_key_with_real_keys_and_values() -> None:
    manager = after(r"set b\sc x\ny", "set a 1", r"set q\\ \xff", "set ä ö")
    reply = manager.read(["show"])[0]
    assert reply == (
        'SHOW response: {"a": "1", "b c": "x\\ny", "q\\\\": "\\udcff", "\\u00e4": "\\u00f6"}'
    )
    assert reply.isascii()


def test_show_takes_a_prefix_and_a_key_to_continue_after() -> None:
    manager = after(*[f"set {key} 1" for key in ("a", "ab", "b", "ba", r"b\sc", "after")])

    def ask(command: str) -> str:
        return manager.read([command])[0]

    assert list(shown(ask("show b"))) == ["b", "b c", "ba"]
    assert list(shown(ask(r"show b\s"))) == ["b c"]
    assert list(shown(ask("show after b"))) == ["b c", "ba"]
    assert list(shown(ask("show a after a"))) == ["ab", "after"]
    assert list(shown(ask("show after"))) == ["after"]
    assert ask("show nothing") == "SHOW response: {}"


def test_show_of_many_keys_comes_in_pages_that_name_the_next() -> None:
    manager = after(*[rf"set k\s{number:04d} {number}" for number in range(2500)])
    found: dict[str, str] = {}
    command, pages = r"show k", 0
    while command:
        reply = manager.read([command])[0]
        page = shown(reply)
        assert len(page) <= 1000
        found |= page
        pages += 1
        command = reply.partition(" more: ")[2]
        if pages == 1:
            assert command == r"show k after k\s0999"
    assert pages == 3
    assert found == {f"k {number:04d}": str(number) for number in range(2500)}
    exactly = after(*[f"set {number} x" for number in range(1000)])
    assert " more: " not in exactly.read(["show"])[0]


def test_page_of_large_values_is_bounded() -> None:
    """A page of large values is cut at a bound."""
    value = "v" * (PAGE_CHARACTERS // 2)
    manager = after(*[f"set {key} {value}" for key in "abcde"])
    reply = manager.read(["show"])[0]
    assert list(shown(reply)) == ["a", "b"]
    assert reply.endswith(" more: show after b")
    huge = after(f"set a {value * 3}", "set b 1")
    assert huge.read(["show"])[0].endswith(" more: show after a")


def test_a_stored_text_with_an_unknown_escape_is_shown_unchanged() -> None:
    manager = after(r"set a\q \z")
    assert shown(manager.read(["show"])[0]) == {r"a\q": r"\z"}


@pytest.mark.needs("threads")
def test_operations_run_one_at_a_time_under_the_client_lock() -> None:
    manager = after("set a 1")
    done: list[str] = []
    calls: Sequence[threading.Thread] = [
        threading.Thread(target=lambda: done.append(manager.read(["set a 2"])[0])),
        threading.Thread(target=lambda: done.extend(manager.apply(entries(2, 1, "set a 3")))),
        threading.Thread(target=lambda: done.extend(manager.read(["get a"]))),
        threading.Thread(target=lambda: done.append(manager.read(["show"])[0])),
    ]
    with manager.client_lock:
        for call in calls:
            call.start()
        for call in calls:
            call.join(0.02)
        assert done == []
        assert manager.store == {"a": "1"}
    for call in calls:
        call.join(60)
    assert len(done) == 4


@pytest.mark.needs("threads")
def test_many_clients_at_once_lose_no_operation() -> None:
    manager = fresh()

    def client(number: int) -> None:
        for turn in range(200):
            manager.read([f"set k{number} {turn}"])[0]

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert manager.store == {f"k{number}": "199" for number in range(8)}


def test_a_restarted_node_rebuilds_its_pairs_from_its_log() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    vote(manager, 1, "s1")
    write(manager, 1, 1, "noop", "set a 4", "client1#1@set b 5", "delete a")
    manager.close()
    manager, recovered = boot(folder)
    assert manager.store == {}
    manager.apply(known(recovered))
    assert manager.store == {"b": "5"}


def test_pairs_of_no_entry_are_neither_frozen_nor_listed() -> None:
    manager = after("set a 1")
    with pytest.raises(UnknownMachine):
        manager.apply(entries(2, 1, "set a 2", "machine of another program"))
    for take in (manager.freeze, manager.hold):
        with pytest.raises(StateRefused, match="an entry failed on this server, which stops"):
            take()
    [listing] = Lister(manager).take([""])
    assert listing.failure == HALF_APPLIED


def test_a_confirmed_read_gets_no_pairs_that_a_failed_entry_left() -> None:
    """Its round was confirmed before the entry that failed, but the pairs are read afterwards."""

    def no_memory() -> None:
        if len(manager.store) == PAUSE_KEYS:
            raise MemoryError

    manager = after(*(f"set k{number} 1" for number in range(2 * PAUSE_KEYS)))
    manager.store.is_at_floor = False
    manager.store.pause = no_memory
    with pytest.raises(MemoryError):
        manager.apply(entries(2 * PAUSE_KEYS + 1, 1, "clear k"))
    assert len(manager.store) == PAUSE_KEYS
    assert manager.read(["get k1", "show"]) == [STOPPING, STOPPING]
