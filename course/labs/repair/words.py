"""A node's lines in the words of the course's program, as far as their text suffices. Pure
functions.

A line without a counterpart there stays as it is. PreVotes, which that program did not have, are
left out. spoken.py prints the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Say = Callable[[re.Match[str], "Words"], list[str]]


def value_of(command: str) -> str:
    """Return the value that a client submitted, from a command in the log: `44` of `set value
    44`."""
    found = re.fullmatch(r"(?:\S+@)?set value (.*)", command, re.DOTALL)
    return found[1] if found else command


class Words:
    """One node's interpreter: it keeps the facts that some lines need but don't contain."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stood = False  # it is a candidate or leader, not a follower

    def of(self, line: str) -> list[str]:
        """Return the lines that the course's program would have printed for this line."""
        for pattern, say in _TABLE:
            found = pattern.fullmatch(line)
            if found is not None:
                return say(found, self)
        return [line]


def _nothing(_: re.Match[str], __: Words) -> list[str]:
    return []


def _started(found: re.Match[str], words: Words) -> list[str]:
    host, port, seconds = found.groups()
    return [
        f"{words.name} is listening on {host}:{port}",
        f"time out set for {words.name} to {seconds}",
    ]


def _stands(_: re.Match[str], words: Words) -> list[str]:
    words.stood = True
    return [f"{words.name} timeout, starting election."]


def _leads(_: re.Match[str], words: Words) -> list[str]:
    words.stood = True
    return [f"{words.name} is now the leader."]


def _follows(found: re.Match[str], words: Words) -> list[str]:
    if not words.stood:
        return [found[0]]
    words.stood = False
    return [f"{words.name} switching to follower due to received heartbeat."]


def _denied(found: re.Match[str], _: Words) -> list[str]:
    candidate, why = found.groups()
    over = re.fullmatch(r"term (\d+) is over, I am in term (\d+)", why)
    if over is not None:
        why = f"candidate's term {over[1]} is less than current term {over[2]}"
    elif why.startswith("log not up to date"):
        why = f"candidate's log is not up-to-date ({why.partition(': ')[2]})"
    return [f"Vote denied for {candidate}: {why}"]


def _switched(found: re.Match[str], words: Words) -> list[str]:
    state = "enabled" if found[1] == "on" else "disabled"
    return [f"Replication failure simulation {state} on {words.name}."]


def _beats(found: re.Match[str], words: Words) -> list[str]:
    return [f"{words.name} heartbeat interval set to {float(found[1])} seconds."]


def _same(text: str) -> Say:
    """Return a function that fills a template with the groups; {0} is the node's name."""
    return lambda found, words: [text.format(words.name, *found.groups())]


_TABLE: list[tuple[re.Pattern[str], Say]] = [
    (re.compile(pattern), say)
    for pattern, say in (
        (r"\[\*\] Recovering logs\.\.\.", _nothing),
        (r"\[\*\] Current term: \d+", _nothing),
        (r"\[\*\] Server started on \('(.*)', (\d+)\) with timeout (.*) seconds", _started),
        (r"\[\*\] Heard from no leader: asking for PreVotes for term \d+", _nothing),
        (r"\[\*\] \w+ (?:gives|denies) its PreVote .*", _nothing),
        (r"\[\*\] Still no leader: .*", _nothing),
        (r"\[\*\] Starting election\.\.\.", _stands),
        (
            r"\[\*\] \w+ gives its vote to (\w+) for term (\d+)",
            _same("{0} voted for {1} for term {2}"),
        ),
        (r"\[\*\] \w+ denies its vote to (\w+) for term \d+: (.*)", _denied),
        (r"\[\*\] I am Leader", _leads),
        (r"\[\*\] I am Follower of \w+ in term \d+", _follows),
        (
            r"\[\*\] \w+ ignored AppendEntries from \w+: term (\d+) < \d+",
            _same("{0} ignored heartbeat with lower term {1}."),
        ),
        (
            r"\[\*\] \w+ differs from \w+ at entry (\d+)",
            _same("{0}: Log mismatch at index {1}. Truncating to resolve conflict."),
        ),
        (r"\[\*\] \w+: its controller says SKIP-REPLICATION (on|off)", _switched),
        (r"\[\*\] \w+: its controller says HEARTBEAT .*", _nothing),
        (r"\[\*\] \w+: heartbeats are (.*) s apart", _beats),
        (r"\[\*\] (\w+): server is shutting down\.", _same("{1} server is shutting down.")),
        (r"\[\*\] (\w+): has shut down cleanly\.", _same("{1} has shut down cleanly.")),
    )
]
