"""Messages and commands in a short form, for the console and for observers. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ...raft.log import Entry
from ...raft.messages import AppendEntries, InstallSnapshot, Message
from ..peer_lines import format_append, format_entries, format_message
from .redaction import without_verifiers

COMMAND_CHARACTERS_MAX: Final = 60  # of the command in an entry


def abridged(message: Message) -> str:
    """Return the content of a message, with only the first of its entries and the number of the
    others, and without the data of a snapshot chunk."""
    if isinstance(message, InstallSnapshot):
        return format_message(replace(message, data="")).removesuffix(' data ""')
    if not isinstance(message, AppendEntries) or not message.entries:
        return format_message(message)
    index, term, command = message.entries[0]
    entries = format_entries([Entry(index, term, short(command))])
    if len(message.entries) > 1:
        entries = f"{entries[:-1]}, … {len(message.entries) - 1:,} more]"
    return format_append(message, entries)


def counted(message: Message) -> str:
    """Return the content of a message, with only the number of its entries."""
    if not isinstance(message, AppendEntries) or not message.entries:
        return abridged(message)
    count = len(message.entries)
    return format_append(message, f"[{count:,} {'entry' if count == 1 else 'entries'}]")


def short(command: str) -> str:
    """Return an entry's command without verifiers, truncated if it is long."""
    command = without_verifiers(command)
    if len(command) > COMMAND_CHARACTERS_MAX:
        return command[: COMMAND_CHARACTERS_MAX - 1] + "…"
    return command
