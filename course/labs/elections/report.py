"""The lines of the report's seven figures, and the lines in which ours may differ.

A figure here has the lines that must appear on each of our screens, in this order. The appendix of
the labs has the reasons for further lines (`…`) and for others (`DIFFERS`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# A line of the report, and ours: the numbers of ports, seconds and rounds, and the leader, vary;
# the other differences are in a table of the appendix.
DIFFERS = (
    (r"(Connecting to localhost port) \d+", r"\1 PORT"),
    (r"Last leader I heard from is: s1", r"Last leader I heard from is: NODE (localhost:PORT)"),
    (r"(Connection from \('127\.0\.0\.1'), \d+\)", r"\1, PORT)"),
    (r"\('localhost', \d+\) with timeout [0-9.]+ seconds",
     r"('localhost', PORT) with timeout SECONDS seconds"),
    (r"(Received from \w+ : Count on me)$", r"\1 term NUMBER"),
    (r"(Received from \w+ : I am up to date)$", r"\1 term NUMBER index NUMBER round NUMBER"),
    (r"^(GiveEntriesAfterIndex \d+)$", r"\1 term NUMBER round NUMBER"),
)  # fmt: skip
MOMENTARY = {
    "PORT": r"\d+",
    "NUMBER": r"\d+",
    "SECONDS": r"[0-9.]+",
    "NODE": r"s\d",
}
MORE = "…"  # any lines of ours, or none

_PROMPT = "\n-----\n[*] Type your message:\n    >> "
_GET_ANA = f"{_PROMPT}get ana\n[*] Sending: get ana\n[*] Received:\n\n"
_GET_D = f"{_PROMPT}get d\n[*] Sending: get d\n[*] Received:\n\n>> GET response:\n8\n"
_ENTRIES = (
    '{"index": 2, "term": 3, "command": "get b"}, {"index": 3, "term": 3, "command": "set b 5"}, '
    '{"index": 4, "term": 3, "command": "get b"}, {"index": 5, "term": 4, "command": "get ana"}, '
    '{"index": 6, "term": 5, "command": "get ana"}, {"index": 7, "term": 5, "command": "set d 8"}, '
    '{"index": 8, "term": 5, "command": "get d"}, {"index": 9, "term": 5, "command…'
)
_NOOP = '{"index": 10, "term": 6, "command": "noop"}'

# By figure, by the title of a screen.
FIGURES: Mapping[str, Mapping[str, str]] = {
    "1": {
        "client 1": "[*] Connecting to localhost port 10000\n"
        + f"{_GET_ANA}>> GET response:\n4\n"
        + f"{_PROMPT}set d 8\n[*] Sending: set d 8\n[*] Received:\n\n>> SET response:\nd set to 8\n"
        + f"{_GET_D}{_PROMPT}\n[*] Closing socket",
        "client 2": "[*] Connecting to localhost port 10000\n"
        f"{_GET_D}{_PROMPT}\n[*] Closing socket",
    },
    "2": {
        "s2, the follower": f"""\
[*] Received from s1 : AppendEntries 6-9-5-[{_NOOP}] commit 0 round NUMBER
…
GiveEntriesAfterIndex 1
Sending message
Last log: 1 2 set b 30
…
[*] Received from s1 : AppendEntries 6-1-2-[{_ENTRIES}
…
Last log: 10 6 noop""",
    },
    "3": {
        "s1, with s2 up: two of four": """\
…
[*] Recovering logs...
…
[*] Current term: 5
…
[*] Server started on ('localhost', 10000) with timeout 15.0 seconds
…
[*] Received from s2 : Count on me term 6 prevote
…""",
        "s1, once s3 is up: three of four": """\
[*] Starting election...
Sending message
Sending message
Sending message
…
[*] Received from s3 : Count on me
…
[*] I am Leader
{'s1': True, 's2': True, 's3': True, 's4': False}
Sending heartbeat...
Sending message
…
[*] Received from s2 : I am up to date""",
    },
    "4": {
        "the leader": """\
[*] Received from client : get ana
Sending heartbeat...
Sending message
Sending message
Sending message""",
    },
    "5": {
        "a client at a follower": "[*] Connecting to localhost port 10001\n"
        f"{_GET_ANA}Sorry, I am not the leader. Last leader I heard from is: s1\n"
        f"{_PROMPT}\n[*] Closing socket",
    },
    "6": {
        "a client at the leader": "[*] Connecting to localhost port 10000\n"
        f"{_GET_D}{_PROMPT}\n[*] Closing socket",
    },
    "7": {
        "s2, a follower": """\
[*] Received from s1 : AppendEntries 7-11-6-[] commit NUMBER round NUMBER
…
GiveEntriesAfterIndex 9
Sending message
Last log: 9 5 get d
…
Last log: 12 7 noop""",
        "a follower that stands": """\
[*] Lost the connection to leader s1
…
[*] Starting election...
…
[*] I am Leader
{'s1': False, 's2': True, 's3': True}""",
    },
}


def differs_from_report(figure: str, shown: Mapping[str, Sequence[str]]) -> str:
    """Return the place where our figure differs from the report's, or ""."""
    for title, block in FIGURES[figure].items():
        missed = _missed(block.split("\n"), shown[title])
        if missed:
            return f"figure {figure}, {title}: {missed}"
    return ""


def _missed(wanted: Sequence[str], lines: Sequence[str]) -> str:
    """Return the first line of the report that is not in its place."""
    place, may_skip = 0, False
    for line in wanted:
        if line == MORE:
            may_skip = True
            continue
        pattern = _pattern(line)
        while may_skip and place < len(lines) and not pattern.fullmatch(lines[place]):
            place += 1
        if place >= len(lines) or not pattern.fullmatch(lines[place]):
            instead = repr(lines[place]) if place < len(lines) else "the end"
            return f"{line!r} does not stand there, but {instead}"
        place, may_skip = place + 1, False
    return "" if may_skip or place == len(lines) else f"{lines[place]!r} is too much"


def _pattern(line: str) -> re.Pattern[str]:
    for theirs, ours in DIFFERS:
        line, count = re.subn(theirs, ours, line)
        if count:
            break
    formatted = re.escape(line)
    for word, pattern in MOMENTARY.items():
        formatted = formatted.replace(word, pattern)
    return re.compile(formatted)
