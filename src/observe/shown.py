"""A message as a line that is short enough to show. Pure."""

from __future__ import annotations

from dataclasses import replace

from raftline.raft.entries import Entry, spell_entries
from raftline.raft.messages import AppendEntries, InstallSnapshot, Message
from raftline.raft.spelling import spell, spell_append

COMMAND_CHARACTERS_MAX = 60  # of an entry that is sent


def abridged(message: Message) -> str:
    """Return what a message says; of entries the first and how many follow, of a snapshot's
    piece all but its data."""
    if isinstance(message, InstallSnapshot):
        return spell(replace(message, data="")).removesuffix(' data ""')
    if not isinstance(message, AppendEntries) or not message.entries:
        return spell(message)
    index, term, command = message.entries[0]
    entries = spell_entries([Entry(index, term, short(command))])
    if len(message.entries) > 1:
        entries = f"{entries[:-1]}, … {len(message.entries) - 1:,} more]"
    return spell_append(message, entries)


def short(command: str) -> str:
    """Return a command of an entry, its end left out where it is long."""
    if len(command) > COMMAND_CHARACTERS_MAX:
        return command[: COMMAND_CHARACTERS_MAX - 1] + "…"
    return command
