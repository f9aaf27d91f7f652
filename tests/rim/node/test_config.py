"""server-configuration.txt: found, read, refused with file and line, and added to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from raftline.common import config
from raftline.common.address import Address
from raftline.common.config import ConfigError
from raftline.node.program import joining
from raftline_testing.extensions import joined

PATH = Path("logs/server-configuration.txt")


def members_of(text: str) -> dict[str, Address]:
    return dict(config.parse(PATH, text).members)


def refusal_of(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        config.parse(PATH, text)
    message = str(refused.value)
    assert "\n" not in message
    assert message.isprintable()
    return message


def test_a_configuration_line_of_two_words_means_localhost() -> None:
    assert members_of("s1 10000\ns2 10001\n") == {
        "s1": Address("localhost", 10000),
        "s2": Address("localhost", 10001),
    }


def test_a_configuration_line_of_three_words_names_the_host() -> None:
    assert members_of("s1 db1.example.org 10000\ns2 ::1 10000") == {
        "s1": Address("db1.example.org", 10000),
        "s2": Address("::1", 10000),
    }


def test_members_keep_the_order_of_the_file() -> None:
    assert list(members_of("b 3\na 2\nc 1\n")) == ["b", "a", "c"]


def test_comments_and_blank_lines_are_ignored() -> None:
    text = "# the lab\n\n   \n  s1\tlocalhost   10000  # the old laptop\n"
    assert members_of(text) == {"s1": Address("localhost", 10000)}


def test_a_byte_order_mark_and_crlf_are_tolerated(tmp_path: Path) -> None:
    path = tmp_path / config.FILE_NAME
    path.write_bytes(b"\xef\xbb\xbfs1 localhost 10000\r\ns2 localhost 10001\r\n")
    assert list(config.read(path).members) == ["s1", "s2"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("s1 localhost 0", "'0' is not a port: a number from 1 to 65535"),
        ("s1 localhost 70000", "'70000' is not a port"),
        ("s1 localhost 65536", "'65536' is not a port"),
        ("s1 localhost abc", "'abc' is not a port"),
        ("s1 localhost -1", "'-1' is not a port"),
        ("s1 localhost +1", "'+1' is not a port"),
        ("s1 localhost 1_000", "'1_000' is not a port"),
        ("s1 localhost 010000", "'010000' is not a port"),
        ("s1 localhost \uff11\uff10", "is not a port"),  # full-width digits
        ("s1 localhost", "'localhost' is not a port"),
        # Python's resolver raises no OSError for these four.
        ("s1 a..b 10000", "'a..b' is not a host name or address"),
        ("s1 .a 10000", "'.a' is not a host name or address"),
        (f"s1 {'a' * 64}.b 10000", "is not a host name or address"),
        (f"s1 a.{'b' * 64} 10000", "is not a host name or address"),
        ("s1 h\u00f6st 10000", "is not a host name or address"),
        ("s1 \u0663.0.0.1 10000", "is not a host name or address"),
        ("\u00e91 localhost 10000", "is not a name"),
        ("s\u00b2 localhost 10000", "is not a name"),
        ("1s localhost 10000", "'1s' is not a name"),
        ("s@1 localhost 10000", "'s@1' is not a name"),
        ("s/1 localhost 10000", "'s/1' is not a name"),
        ("s" * 65 + " localhost 10000", "is not a name"),
        ("s1 local\x1bhost 10000", r"'local\x1bhost' is not a host"),
        ("s1", "1 words, not NAME HOST PORT"),
        ("s1 localhost 10000 voter", "4 words, not NAME HOST PORT"),
    ],
)
def test_a_wrong_line_is_named_with_file_and_number(line: str, said: str) -> None:
    message = refusal_of("# lab\ns9 localhost 9\n" + line + "\n")
    assert message.startswith(f"{PATH}:3: ")
    assert said in message


def test_a_name_cannot_leave_the_folder() -> None:
    assert "'../../x' is not a name" in refusal_of("../../x localhost 10000")


def test_the_largest_port_and_the_longest_name_are_accepted() -> None:
    assert members_of("s" * 64 + " localhost 65535") == {"s" * 64: Address("localhost", 65535)}


def test_two_equal_names_are_refused() -> None:
    assert refusal_of("s1 1\ns1 2") == (
        f"{PATH}:2: s1 appears twice; every node needs its own name"
    )


def test_two_names_that_differ_by_case_are_refused() -> None:
    """The disks of macOS and Windows fold case, so that both would write the same files."""
    assert refusal_of("s1 1\nS1 2") == (
        f"{PATH}:2: S1 and s1 differ by case only, so on some disks they share their files; "
        "choose another name"
    )


@pytest.mark.parametrize("second", ["localhost 1", "LOCALHOST 1", "127.0.0.1 1", "1"])
def test_two_nodes_on_one_address_are_refused(second: str) -> None:
    assert "s2 and s1 share" in refusal_of(f"s1 localhost 1\ns2 {second}")


def test_one_port_on_two_hosts_is_fine() -> None:
    assert len(members_of("s1 red 10000\ns2 blue 10000")) == 2


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody yet\n"])
def test_file_without_members_is_refused_with_a_line_to_write(text: str) -> None:
    """The refusal of a file without members shows a line to add."""
    assert "write one line per node: s1 localhost 10000" in refusal_of(text)


def test_a_missing_file_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is missing; write one line per node into it: s1"):
        config.load(tmp_path)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / config.FILE_NAME).mkdir()
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        config.load(tmp_path)


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / config.FILE_NAME).write_bytes(b"s1 1\ns2 \xff 2\n")
    with pytest.raises(ConfigError, match=r"txt:2: is not UTF-8 text"):
        config.load(tmp_path)


def test_a_huge_file_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    with (tmp_path / config.FILE_NAME).open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ConfigError, match="is larger than 1,048,576 bytes"):
        config.load(tmp_path)


@pytest.mark.parametrize("place", ["logs", "."])
def test_the_file_is_found_by_walking_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / place / config.FILE_NAME
    path.parent.mkdir(exist_ok=True)
    path.write_text("s1 10000\n")
    below = tmp_path / "src" / "raft"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = config.load()
    assert found.path.samefile(path)
    assert found.folder.samefile(path.parent)


def test_the_nearest_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in ((tmp_path, "far"), (tmp_path / "lab", "near")):
        (folder / "logs").mkdir(parents=True)
        (folder / "logs" / config.FILE_NAME).write_text(f"{name} 10000\n")
    monkeypatch.chdir(tmp_path / "lab")
    assert list(config.load().members) == ["near"]


def test_a_named_folder_is_not_searched_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / config.FILE_NAME).write_text("s1 10000\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is missing"):
        config.load("empty")


def test_a_node_registers_itself_in_a_file_that_was_not_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "logs" / config.FILE_NAME
    joining.register(path, "s1", 10000)
    joining.register(path, "s2", 10001)
    assert config.read(path).members == {
        "s1": Address("localhost", 10000),
        "s2": Address("localhost", 10001),
    }
    assert "s2 localhost 10001\n" in path.read_text()


def test_a_node_registers_where_it_advertises(tmp_path: Path) -> None:
    path = tmp_path / config.FILE_NAME
    joining.register(path, "s1", 10000, Address("door", 7))
    assert config.read(path).members == {"s1": Address("door", 7)}
    with pytest.raises(ConfigError, match="s1 is there with port 7, not 10000"):
        joining.register(path, "s1", 10000)


def test_registering_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / config.FILE_NAME
    joining.register(path, "s1", 10000)
    before = path.read_bytes()
    joining.register(path, "s1", 10000)
    assert path.read_bytes() == before


def test_registering_with_another_port_is_refused(tmp_path: Path) -> None:
    """If a name is registered with another port, the file stays unchanged."""
    path = tmp_path / config.FILE_NAME
    joining.register(path, "s1", 10000)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="s1 is there with port 10000, not 10001"):
        joining.register(path, "s1", 10001)
    with pytest.raises(ConfigError, match="s2 and s1 share localhost:10000"):
        joining.register(path, "s2", 10000)
    assert path.read_bytes() == before


def test_registering_leaves_an_unfinished_last_line_whole(tmp_path: Path) -> None:
    path = tmp_path / config.FILE_NAME
    path.write_text("s1 10000")
    joining.register(path, "s2", 10001)
    assert path.read_text() == "s1 10000\ns2 localhost 10001\n"


def test_nodes_that_register_at_the_same_time_see_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / config.FILE_NAME
    path.touch()
    lock, waits = fcntl.flock, threading.Event()

    def tell_and_lock(file: IO[bytes], how: int) -> None:
        waits.set()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", tell_and_lock)
    refused: list[ConfigError] = []

    def register() -> None:
        try:
            joining.register(path, "s2", 10000)
        except ConfigError as error:
            refused.append(error)

    second = threading.Thread(target=register)
    with path.open("ab") as first:
        lock(first, fcntl.LOCK_EX)
        second.start()
        assert waits.wait(30)
        first.write(b"s1 localhost 10000\n")
    second.join(30)
    assert [str(error) for error in refused] == [
        f"{path}:2: s2 and s1 share localhost:10000; give each its own"
    ]


def test_a_withdrawal_keeps_later_registrations(tmp_path: Path) -> None:
    path = tmp_path / config.FILE_NAME
    path.write_text("# mine\n")
    first = joining.register(path, "s1", 10000)
    second = joining.register(path, "s2", 10001)
    joining.withdraw(first)
    assert path.read_text() == "# mine\ns2 localhost 10001\n"
    joining.withdraw(second)
    assert path.read_text() == "# mine\n"


def test_a_registration_in_a_withdrawn_file_makes_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / config.FILE_NAME
    first = joining.register(path, "s1", 10000)
    lock, waits = fcntl.flock, threading.Event()

    def tell_and_lock(file: IO[bytes], how: int) -> None:
        waits.set()
        lock(file, how)

    with path.open("ab") as held:
        lock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", tell_and_lock)
        second = threading.Thread(target=lambda: joining.register(path, "s2", 10001))
        second.start()
        assert waits.wait(30)
        monkeypatch.setattr(fcntl, "flock", lambda file, how: None)  # this thread has the lock
        joining.withdraw(first)
        monkeypatch.setattr(fcntl, "flock", lock)
    second.join(30)
    assert list(config.read(path).members) == ["s2"]


def test_a_reader_of_an_unfilled_file_waits_for_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / config.FILE_NAME
    lock, waits = fcntl.flock, threading.Event()

    def tell_and_lock(file: IO[bytes], how: int) -> None:
        waits.set()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", tell_and_lock)
    begun: list[config.Configuration] = []
    second = threading.Thread(
        target=lambda: begun.append(joining.begun(path, "# mine\ns1 10000\ns2 10001\n"))
    )
    with path.open("xb") as first:  # of no bytes as yet
        lock(first, fcntl.LOCK_EX)
        second.start()
        assert waits.wait(30)
        first.write(b"s1 10000\ns2 10001\n")
    second.join(30)
    assert [list(configuration.members) for configuration in begun] == [["s1", "s2"]]
    assert path.read_text() == "s1 10000\ns2 10001\n"


BEGINS: list[Callable[[Path], object]] = [
    lambda path: joining.register(path, "s1", 10000),
    lambda path: joining.begun(path, "s1 localhost 10000\n"),
    *(begin for module in joined("beginnings") for begin in module.BEGINS),
]


@pytest.mark.parametrize("begin", BEGINS)
def test_a_reader_finds_a_new_file_whole_or_absent(
    begin: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / config.FILE_NAME
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            found.append(file.read())

    def and_look(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any, **named: Any) -> Any:
            done = step(*arguments, **named)
            look()
            return done

        return stepped

    monkeypatch.setattr(Path, "open", and_look(Path.open))
    for module, name in ((fcntl, "flock"), (os, "fsync"), (os, "link")):
        monkeypatch.setattr(module, name, and_look(getattr(module, name)))
    begin(path)
    monkeypatch.undo()
    assert set(found) == {path.read_text()}
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_file_of_a_dead_node_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / config.FILE_NAME
    assert list(joining.begun(path, "s1 10000\n").members) == ["s1"]
    path.write_text("")
    assert list(joining.begun(path, "s2 10000\n").members) == ["s2"]
    assert path.read_text() == "s2 10000\n"


def test_registering_in_a_read_only_folder_names_the_line_to_add(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, no folder")
    with pytest.raises(ConfigError, match="add by hand: s1 localhost 10000"):
        joining.register(tmp_path / "logs" / config.FILE_NAME, "s1", 10000)


@pytest.mark.parametrize("pace", config.PACES.values())
def test_heartbeat_is_many_times_faster_than_an_election(pace: config.Pace) -> None:
    """The heartbeat interval is a small part of the election timeout."""
    assert pace.heartbeat_ms * 3 <= pace.election_timeout_ms
    assert pace.election_spread_ms * 2 >= pace.election_timeout_ms  # or votes are split


def test_the_human_pace_has_timeouts_of_ten_to_eighteen_seconds() -> None:
    pace = config.PACES["human"]
    latest_ms = pace.election_timeout_ms + pace.election_spread_ms
    assert (pace.election_timeout_ms, latest_ms) == (10_000, 18_000)


@pytest.mark.parametrize("there", [None, "", "s9 localhost 9\n"])
def test_a_line_is_on_the_disk_before_the_node_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str | None
) -> None:
    path = tmp_path / "server-configuration.txt"
    if there is not None:
        path.write_text(there)
    synced: list[tuple[int, int]] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        real(descriptor)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):  # and not a folder
            synced.append((found.st_ino, found.st_size))

    monkeypatch.setattr(os, "fsync", record)
    joining.register(path, "s1", 1)
    assert synced == [(path.stat().st_ino, path.stat().st_size)]
    assert "s1 localhost 1\n" in path.read_text()
