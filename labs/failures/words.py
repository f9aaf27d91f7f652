"""A node's console in the words of the course's program, line by line. Pure.

What has no counterpart there comes out as it is; heartbeats and questions before an election,
which that program did not have or did not print, come out as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Say = Callable[[re.Match[str], "Words"], list[str]]


class Words:
    """One node's interpreter: it remembers the term, which some lines need and don't tell."""

    def __init__(self, name: str, *, has_log: bool) -> None:
        self.name = name
        self.has_log = has_log
        self.term = 0

    def of(self, line: str) -> list[str]:
        """Return what the course's program would have printed for this line."""
        for pattern, say in _TABLE:
            found = pattern.fullmatch(line)
            if found is not None:
                return say(found, self)
        return [line]


def _recovered(found: re.Match[str], words: Words) -> list[str]:
    words.term = int(found[1])
    if not words.has_log:
        return [f"{words.name} log file not found. Starting with an empty log."]
    return [f"{words.name} loaded its log, current term {found[1]}."]


def _started(found: re.Match[str], words: Words) -> list[str]:
    host, port, seconds = found.groups()
    return [
        f"{words.name} is listening on {host}:{port}",
        f"time out set for {words.name} to {seconds}",
    ]


def _asks(found: re.Match[str], words: Words) -> list[str]:
    words.term = int(found[1])
    return []


def _stands(_: re.Match[str], words: Words) -> list[str]:
    return [
        f"{words.name} timeout, starting election.",
        f"{words.name} is requesting votes for term {words.term}",
    ]


def _follows(found: re.Match[str], words: Words) -> list[str]:
    words.term = int(found[1])
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


def _appended(found: re.Match[str], words: Words) -> list[str]:
    index, term, value = found.groups()
    return [f"{words.name}: Appended entry at index {index}: {term},{value}"]


def _same(text: str) -> Say:
    """Return a way to say what the groups fill in; {0} is the node's name."""
    return lambda found, words: [text.format(words.name, *found.groups())]


_TABLE: list[tuple[re.Pattern[str], Say]] = [
    (re.compile(pattern), say)
    for pattern, say in (
        (r"\[\*\] Recovering logs\.\.\.", lambda *_: []),
        (r"\[\*\] Current term: (\d+)", _recovered),
        (r"\[\*\] Server started on \('(.*)', (\d+)\) with timeout (.*) seconds", _started),
        (r"\[\*\] Heard from no leader: asking for PreVotes for term (\d+)", _asks),
        (r"\[\*\] \w+ (?:gives|denies) its PreVote .*", lambda *_: []),
        (r"\[\*\] Received from \w+ : (?:PreVote .*|.* prevote.*)", lambda *_: []),
        (r"\[\*\] Connection from .*", lambda *_: []),
        (r"\[\*\] Starting election\.\.\.", _stands),
        (r"\[\*\] \w+ gives its vote to (\w+) for term (\d+)",
         _same("{0} voted for {1} for term {2}")),
        (r"\[\*\] \w+ denies its vote to (\w+) for term \d+: (.*)", _denied),
        (r"\[\*\] I am Leader", _same("{0} is now the leader.")),
        (r"\[\*\] I am Follower of \w+ in term (\d+)", _follows),
        (r"\[\*\] \w+ ignored AppendEntries from \w+: term (\d+) < \d+",
         _same("{0} ignored heartbeat with lower term {1}.")),
        (r"Last log: (\d+) (\d+) (?:\S+@)?set value (.*)", _appended),
        (r"\[\*\] Received from (\w+) : I am up to date term \d+ index (\d+) .*",
         _same("Successfully updated {1} up to index {2}.")),
        (r"\[\*\] Received from (\w+) : GiveEntriesAfterIndex (\d+) .*",
         _same("Backtracking nextIndex for {1}: its log may agree up to index {2}.")),
        (r"\[\*\] \w+ differs from \w+ at entry (\d+)",
         _same("{0}: Log mismatch at index {1}. Truncating to resolve conflict.")),
        (r"\[\*\] \w+: its controller says SKIP-REPLICATION (on|off)", _switched),
        (r"\[\*\] \w+: its controller says HEARTBEAT (\d+)s.*",
         _same("{0} heartbeat interval set to {1}.0 seconds.")),
        (r"\[\*\] \w+: heartbeats are 0\.1 s apart.*",
         _same("{0} heartbeat interval set to 0.1 seconds.")),
        (r"\[\*\] (\w+): server is shutting down\.", _same("{1} server is shutting down.")),
        (r"\[\*\] (\w+): has shut down cleanly\.", _same("{1} has shut down cleanly.")),
    )
]  # fmt: skip
