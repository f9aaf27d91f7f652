"""The reading of the reports of Redis's own tests."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.redis.harness.redis_suite import STARTS, Proxy, commands_in, main, read_report
from raftline.redis.harness.redis_wire import framed

REPORT = """\x1b[1mTesting unit/type/hash\x1b[0m
[\x1b[32mok\x1b[0m]: HGET (12 ms)
[err]: Big hashes in tests/unit/type/hash.tcl
ERR unknown command 'dump'
[err]: Very big payload in GET/SET in tests/unit/type/hash.tcl
ERR the value has 4000000 bytes
[err]: HLEN in tests/unit/type/hash.tcl
Expected '1' to be equal to '2'
[skip]: ZMPOP
"""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with contextlib.closing(Proxy(0)) as made:
        yield made


def test_a_failure_has_a_reason_or_is_a_finding(proxy: Proxy) -> None:
    proxy.instead_of(["debug", "log", f"{STARTS}Big hashes in tests/unit/type/hash.tcl"])
    proxy.instead_of(["dump", "k"])
    proxy.instead_of(["hget", "k", "f"])
    proxy.instead_of(["client", "unblock", "5"])
    result = read_report(REPORT, proxy)
    assert (result.passed, result.left_out) == (["HGET"], ["ZMPOP"])
    assert [failed.reason for failed in result.failed] == [
        "CLIENT UNBLOCK DUMP: not here", "a value has at most 1 MiB", "",
    ]  # fmt: skip
    assert result.failed[2].text == "Expected '1' to be equal to '2'"


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("FUNCTION FLUSH", "SELECT 0"), ("DEBUG RELOAD", "SELECT 0"), ("DEBUG OBJECT k", ""),
        ("CONFIG SET hash-max-listpack-value 8", "SELECT 0"), ("CONFIG SET maxmemory 1", ""),
        ("MEMORY USAGE k", "EXISTS k"), ("GET k", ""),
    ],
)  # fmt: skip
def test_the_proxy_answers_for_the_test_program(proxy: Proxy, words: str, sent: str) -> None:
    assert proxy.instead_of(words.split()) == (framed(*sent.split()) if sent else b"")


def test_commands_are_read_as_they_are_sent() -> None:
    data = framed("SET", "k", "a\r\nb") + b"PING\r\n"
    assert list(commands_in(io.BytesIO(data))) == [
        (framed("SET", "k", "a\r\nb"), ["SET", "k", "a\r\nb"]), (b"PING\r\n", []),
    ]  # fmt: skip


def test_a_folder_without_the_tests_of_redis_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "is no checkout of Redis: it has no tests/test_helper.tcl" in capsys.readouterr().err
