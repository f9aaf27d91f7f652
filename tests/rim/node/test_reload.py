from __future__ import annotations

import functools
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.common.config import ConfigError
from raftline.common.process.console import Console
from raftline.common.process.log_records import LOGGER, Records
from raftline.node.program.boot import parser
from raftline.node.program.service import Reload, Service
from raftline.node.program.settings import load


def test_unreadable_file_keeps_no_other_from_being_read() -> None:
    """If one file cannot be read, the others are still read."""
    said: list[str] = []
    reload = Reload("s1", said.append)

    def broken() -> str:
        raise ConfigError("users.txt:3: no such role")

    def missing() -> str:
        raise FileNotFoundError(2, "No such file or directory", "s1.crt")

    reload.add("users", broken)
    reload.add("certificates", missing)
    reload.add("settings", lambda: "")
    reload.add("secret", lambda: "2 keys")
    reload.read_again()
    assert said == [
        "[!] s1 did not reload users: users.txt:3: no such role",
        "[!] s1 did not reload certificates: s1.crt: No such file or directory",
        "[*] s1 has reloaded: settings, secret (2 keys)",
    ]


PAGES = Path(__file__).parents[3] / "docs" / "operate"
SETTINGS = re.findall(
    r"^cat > \S+\.toml <<END\n(.*?)^END$",
    (PAGES / "three-hosts.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
AWAITED = re.compile(r"`(\[[*!]\] [^`]*)`")


@pytest.mark.parametrize("level", re.findall(r'^log-level = "(\w+)"', "".join(SETTINGS), re.M))
@pytest.mark.parametrize("form", ["console", "text", "json"])
def test_lines_to_wait_for_are_printed_at_the_documented_level(
    tmp_path: Path, level: str, form: str
) -> None:
    """The lines that the pages tell to wait for are printed at the level that they give."""
    file = tmp_path / "s1.toml"
    file.write_text(f'port = 10000\nlog-level = "{level}"\nlog-format = "{form}"\n')
    again = functools.partial(load, parser(), ["s1", "--config", str(file)], {})
    stream = io.StringIO()
    console = Console(stream, verbose=False)
    service = Service(again(), again, console, lambda: "now")
    service.reload.add("secret", lambda: "two, of which the first is used")
    console.traffic("requests", "[*] Received from client : set a 5")
    console.say("[*] I am Leader")
    service.reload.read_again()
    console.close()
    console._printer.join(30)
    if (records := service._records) is not None:
        records.close()
    leads, line = stream.getvalue().splitlines()  # who leads is an event, a request is none
    assert "[*] I am Leader" in leads
    awaited = "[*] s1 has reloaded: settings, secret (two, of which the first is used)"
    assert awaited in line
    assert f"`{awaited}`" in (PAGES / "tls-and-secret.md").read_text(encoding="utf-8")


def test_the_pages_ask_for_no_other_line() -> None:
    found = {
        (page.name, quoted)
        for page in PAGES.glob("*.md")
        for quoted in AWAITED.findall(page.read_text(encoding="utf-8"))
        if quoted.startswith("[*]")
    }
    assert found == {
        (
            "tls-and-secret.md",
            "[*] s1 has reloaded: settings, secret (two, of which the first is used)",
        ),
    }
    assert len(SETTINGS) == 2


@pytest.fixture
def records() -> Iterator[Records]:
    records = Records("json", "s1", lambda: "now", lambda: 7)
    yield records
    records.close()


def test_a_line_becomes_one_record_with_its_level(records: Records) -> None:
    (text,) = records.lines_of('[!] a "quoted" line %s')
    assert json.loads(text) == {
        "time": "now",
        "level": "warning",
        "node": "s1",
        "term": 7,
        "message": '[!] a "quoted" line %s',
    }
    assert json.loads(records.lines_of("[*] well")[0])["level"] == "info"


def test_a_filter_of_the_logger_drops_lines(records: Records) -> None:
    def no_heartbeats(record: logging.LogRecord) -> bool:
        return "heartbeat" not in record.getMessage()

    logger = logging.getLogger(LOGGER)
    logger.addFilter(no_heartbeats)
    try:
        assert records.lines_of("Sending heartbeat...") == []
        assert len(records.lines_of("I am Leader")) == 1
    finally:
        logger.removeFilter(no_heartbeats)


def test_records_that_are_closed_leave_the_logger(records: Records) -> None:
    other = Records("text", "s1", lambda: "now", lambda: None)
    assert other.lines_of("line") == ["now INFO    s1 term -: line"]
    other.close()
    handlers = logging.getLogger(LOGGER).handlers
    assert records in handlers
    assert other not in handlers
