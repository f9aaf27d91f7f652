"""`raftline export` and `raftline import` at real nodes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import raftline
from raftline import cli
from raftline.clients.connections.node_connection import ClientError, Refused
from raftline.clients.kv.shared import ThreadTransport
from raftline.tools.requests.exchange import BadLine, ExchangeRow, format_row, read_row
from raftline.wire.limits import TRANSACTION_ITEMS
from raftline_testing.nodes.cluster import Cluster
from tests.processes.typed import at

HALF = "\udcff"  # a byte that is not UTF-8
ROWS = [
    ExchangeRow("e/a", "1", None),
    ExchangeRow("e/b", "two words\nand \u2028 a line", 1000.5),
    ExchangeRow("e/c", f"\0{HALF}", None),
    ExchangeRow(f"e/{HALF}", "", 99.125),
]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(nodes: Cluster, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str]:
        status = cli.main([*arguments, "--at", at(nodes)])
        return status, capsys.readouterr().err

    return run


def rows_of(file: Path) -> list[ExchangeRow]:
    return [read_row(line) for line in file.read_bytes().splitlines(keepends=True)]


def written(file: Path, *lines: bytes) -> str:
    file.write_bytes(b"".join(lines))
    return str(file)


def test_values_and_times_survive_an_export_and_an_import(
    kv: raftline.KV[str], run: Run, tmp_path: Path
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    written(source, *map(format_row, ROWS))
    assert run("import", str(source)) == (0, "[*] 4 keys imported\n")
    assert run("export", str(copy), "--prefix", "e/") == (0, "[*] 4 keys exported\n")
    rows = rows_of(copy)
    assert [row[:2] for row in rows] == [row[:2] for row in ROWS]
    for row, before in zip(rows, ROWS, strict=True):
        if before.ttl is None:
            assert row.ttl is None
        else:
            assert before.ttl - 60 < (row.ttl or 0) <= before.ttl
    assert copy.stat().st_mode & 0o777 == 0o600
    status, why = run("export", str(copy))
    assert (status, "exists" in why.lower()) == (2, True)
    kv.clear("e/")
    kv.set("e/other", "stays")
    assert run("import", str(copy))[0] == 0
    assert dict(kv.items("e/")) == {"e/other": "stays", **{row.key: row.value for row in ROWS}}


def test_an_export_continues_after_its_last_whole_line(
    kv: raftline.KV[str], run: Run, tmp_path: Path
) -> None:
    kv.update({f"r/{number:04}": str(number) for number in range(1500)})
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run("export", str(whole), "--prefix", "r/")[0] == 0
    written(part, whole.read_bytes()[:20_000])  # in the middle of a line
    assert run("export", str(part), "--prefix", "r/", "--resume")[0] == 0
    assert part.read_bytes() == whole.read_bytes()
    status, why = run("export", written(part, b"nonsense\n"), "--resume")
    assert (status, "its last line can't be resumed: it is not JSON" in why) == (2, True)
    assert run("export", "--resume")[0] == 2


@pytest.mark.parametrize("file", ["lines", "-"])
def test_a_broken_line_ends_an_import_before_anything_after_it(
    kv: raftline.KV[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    lines = [format_row(ExchangeRow(f"b/{number}", "1", None)) for number in range(5)]
    kv.clear("b/")
    place = tmp_path / "lines"
    name = written(place, *lines[:2], b"\n", b'{"key": "b/x"}\n', *lines[2:])
    if file == "-":
        name = file
        stream = io.TextIOWrapper(place.open("rb"))
        monkeypatch.setattr("sys.stdin", stream)
    status, why = run("import", name)
    assert status == 2
    assert "line 4: it has no text as 'value'. The lines before it were imported" in why
    assert why.endswith(f"To continue: raftline import {name} --from 4\n")
    assert sorted(kv.keys("b/")) == ["b/0", "b/1"]
    if file != "-":
        assert run("import", name, "--from", "5")[0] == 0
        assert len(list(kv.keys("b/"))) == 5


def test_the_last_line_of_a_key_counts(kv: raftline.KV[str], run: Run, tmp_path: Path) -> None:
    lines = [format_row(ExchangeRow("k/a", str(number), None)) for number in range(300)]
    assert run("import", written(tmp_path / "lines", *lines))[0] == 0
    assert kv["k/a"] == "299"


def test_refused_import_names_the_line_to_continue_at(
    kv: raftline.KV[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three steps is refused; the third is in flight by then."""
    count, line = 2 * TRANSACTION_ITEMS + 1, TRANSACTION_ITEMS + 1
    lines = [format_row(ExchangeRow(f"l/{number:04}", "1", None)) for number in range(count)]
    send = ThreadTransport.request_together

    def refused(self: ThreadTransport, commands: Sequence[str]) -> list[str | ClientError]:
        first, _, third = send(self, commands)
        return [first, Refused("no room: the store is full"), third]

    monkeypatch.setattr(ThreadTransport, "request_together", refused)
    name = written(tmp_path / "lines", *lines)
    status, why = run("import", name)
    assert status == 5
    assert "no room: the store is full" in why
    again = f"To continue: raftline import {name} --from {line}\n"
    assert why.endswith(f" The lines before line {line} were imported. {again}")
    monkeypatch.undo()
    assert run("import", name, "--from", str(line))[0] == 0
    assert len(list(kv.keys("l/"))) == count


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"x\n", "it is not JSON"),
        (b"\xff\n", "it is not JSON"),
        (b'{"key": "a", "key": "b", "value": "1"}\n', "it is not JSON"),
        (b"[1]\n", "it is not a JSON object"),
        (b'{"value": "1"}\n', "it has no text as 'key'"),
        (b'{"key": "", "value": "1"}\n', "its key is empty"),
        (b'{"key": "a", "value": 1}\n', "it has no text as 'value'"),
        (b'{"key": "a", "value_base64": "?"}\n', "value_base64 is not base64"),
        (b'{"key": "\\udc80", "value": "1"}\n', "half a surrogate pair; use key_base64"),
        (b'{"key": "a", "value": "1", "ttl": 0}\n', "its ttl is not a time: "),
        (b'{"key": "a", "value": "1", "ttl": "5"}\n', "its ttl is not a time: "),
        (b'{"key": "a", "value": "1", "ttl": NaN}\n', "its ttl is not a time: "),
        (b'{"key": "a", "value": "1", "tll": 5}\n', "an unknown or a second field, 'tll'"),
        (b'{"key": "a", "value": "1", "value_base64": "MQ=="}\n', "'value_base64'"),
        (b'{"key": "%s", "value": "1"}\n' % (b"k" * 70_000), "its key has more than "),
    ],
)
def test_a_line_that_is_not_a_row_is_refused_with_the_reason(line: bytes, why: str) -> None:
    with pytest.raises(BadLine) as refusal:
        read_row(line)
    assert why in str(refusal.value)
