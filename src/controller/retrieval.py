"""The log as a controller sees it: the entries that clients wrote, numbered from 1. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from raftline.raft.effects import Entry
from raftline.raft.election import NOOP
from raftline.raft.membership import PREFIX
from raftline.wire.escapes import unescape

PAGE_ENTRIES = 500
PAGE_BYTES = 40_000  # of text, so that a page fits into one datagram as well


def view(entry: Entry) -> dict[str, object]:
    """Return an entry as the course's log shows it: `{"term": 2, KEY: VALUE}`, both as they were
    before they were spelled for a line; one that is no set of a key of its own as `{"term": 2,
    "command": COMMAND}`, as it stands in the log."""
    command = entry.command
    if "@" in command.partition(" ")[0]:  # client7#12@ before it
        command = command.partition("@")[2]
    verb, _, operands = command.partition(" ")
    key, _, value = operands.partition(" ")
    if verb == "set" and key not in ("term", "command"):
        return {"term": entry.term, unescape(key): unescape(value)}
    return {"term": entry.term, "command": command}


def numbered(entries: Iterable[Entry], first: int = 1) -> dict[int, dict[str, object]]:
    """Return what clients wrote, by its number. What servers write for themselves, the no-op of
    each term and the members, has none."""
    written = [entry for entry in entries if not _is_ours(entry.command)]
    return {number: view(entry) for number, entry in enumerate(written, start=first)}


def page(
    views: Mapping[int, dict[str, object]], after: int
) -> tuple[dict[str, dict[str, object]], int]:
    """Return the entries behind number `after`, as many as one reply holds, by their numbers as
    text; and the number of the last of them if there are more, else 0."""
    found: dict[str, dict[str, object]] = {}
    size = 0
    for number, one in views.items():
        if number <= after:
            continue
        size += len(json.dumps(one)) + 16
        if found and (len(found) >= PAGE_ENTRIES or size > PAGE_BYTES):
            return found, number - 1
        found[str(number)] = one
    return found, 0


def _is_ours(command: str) -> bool:
    return command == NOOP or command.startswith(PREFIX)
