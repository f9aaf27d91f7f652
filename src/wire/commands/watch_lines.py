"""The request of a watch in canonical form, and the lines that answer it. Pure.

docs/use/watch.md is the user's view. The node's name precedes each line of a watch, with the
request's id if there is one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...common.text import NUMBER_MAX
from ..protocol import ProtocolError, is_number, shown
from ..refusal import (
    ENTRY_GONE,
    EVENTS_GONE,
    NOT_YET,
    TOO_MANY_OF_USER,
    TOO_MANY_WATCHES,
    WATCH_ENDED,
    WATCH_ENDED_EARLY,
    error,
)

ALL_KEYS = "all keys"
FORM = "watch [PREFIX] [after INDEX]"
MESSAGE: Final = "message"  # the kind of an event that changes no key, and has a topic instead
# They enclose a topic. No key has these characters, which no text in UTF-8 can have.
_BEGIN: Final = chr(0xD800)
_END: Final = chr(0xD801)


class WatchAsked(NamedTuple):
    """The operands of a watch."""

    prefix: str = ""  # in canonical form; "" for all keys
    after: int | None = None  # the entry after which it resumes; None: begin with the keys


def watch_operands(command: str) -> WatchAsked:
    """Return the operands of `watch [PREFIX] [after INDEX]`, with the prefix as typed.

    `watch after` requests the prefix `after`; `watch after 57` requests all changes after entry 57.

    Raises:
        ProtocolError: the words after `watch` are malformed.
    """
    match command.split(" ")[1:]:
        case []:
            return WatchAsked()
        case [prefix] if prefix:
            return WatchAsked(prefix)
        case ["after", index]:
            return WatchAsked("", read_index(index))
        case [prefix, "after", index] if prefix:
            return WatchAsked(prefix, read_index(index))
    raise ProtocolError(rf"the form is: {FORM}; a space inside a prefix is written \s")


def read_index(text: str) -> int:
    """Return the number of an entry from its text.

    Raises:
        ProtocolError: the text is not a number.
    """
    if not is_number(text):
        raise ProtocolError(
            f'"{shown(text)}" is not the index of an entry, a number from 0 to {NUMBER_MAX}: {FORM}'
        )
    return int(text)


def format_watch(options: WatchAsked) -> str:
    """Return the command in canonical form."""
    words = ["watch"]
    if options.prefix:
        words.append(options.prefix)
    if options.after is not None:
        words += ["after", str(options.after)]
    return " ".join(words)


# --- topics of messages --------------------------------------------------------------------------


def topic_of(name: str) -> str:
    """Return what the event of a message has in place of a key. The name is written like a key."""
    return f"{_BEGIN}{name}{_END}"


def topics_under(prefix: str) -> str:
    """Return the prefix of a watch of the messages on all topics whose names have this prefix."""
    return _BEGIN + prefix


def is_of_topics(prefix: str) -> bool:
    """Whether a watch of this prefix gets messages, and no changes of keys."""
    return prefix.startswith(_BEGIN)


def named(topic: str) -> str:
    """Return the name in a topic, or in a prefix of topics; a key as it is."""
    return topic.removeprefix(_BEGIN).removesuffix(_END)


# --- the lines of a watch, without the node's name ----------------------------------------------


def begins(keys: int, number: int) -> str:
    """Return the first line of a watch that begins with the current keys."""
    return f"WATCH response: {keys} key{'s' * (keys != 1)} as of {number}"


def goes_on(number: int) -> str:
    """Return the first line of a watch that resumes after an entry."""
    return f"WATCH response: goes on after {number}"


def has(number: int, key: str, value: str) -> str:
    """Return the line of a key that exists when the watch begins."""
    return f"EVENT {number} has {key} {value}"


def event(number: int, kind: str, key: str, value: str) -> str:
    """Return the line of an event."""
    if kind == "set":
        return f"EVENT {number} set {key} {value}"
    if kind == MESSAGE:
        return f"EVENT {number} {MESSAGE} {named(key)} {value}"
    return f"EVENT {number} {kind} {key}"


def nothing_until(number: int) -> str:
    """Return the line which means that nothing else matches up to this entry."""
    return f"EVENT {number}"


def ended(number: int) -> str:
    """Return the reply to an unwatch."""
    return f"UNWATCH response: ended after {number}"


ENDED_AMID_KEYS = "UNWATCH response: ended before all keys were sent"


def gone(prefix: str, number: int) -> str:
    """Return the line before a watch that begins again because events are gone."""
    return EVENTS_GONE(number, prefix or ALL_KEYS)


def never_was(prefix: str, number: int) -> str:
    """Return the line before a watch that begins again because the cluster lost the entry after
    which it would resume: `raftline recover` or `restore` went back before that entry."""
    return ENTRY_GONE(number, prefix or ALL_KEYS)


def from_the_future(number: int, last: int) -> str:
    """Return the refusal of a watch after an entry that does not exist yet."""
    return NOT_YET(number, last, FORM)


def continue_elsewhere(why: str, prefix: str, number: int) -> str:
    """Return the last line of a watch that this node ends; `why` has the reason, after "this "."""
    return WATCH_ENDED(why, format_watch(WatchAsked(prefix, number)))


def amid_keys(why: str, prefix: str) -> str:
    """Return the last line of a watch that this node ends before all keys were sent."""
    return WATCH_ENDED_EARLY(why, format_watch(WatchAsked(prefix)))


TOO_SLOW = "watch was read too slowly and has ended"
RIGHTS = "watch has ended, since the rights of the user have changed"
IS_STOPPING = "server is stopping, so this watch has ended"
DIFFERS = "server's state differs from that of the others, so this watch has ended"
IS_REMOVED = "server was removed from the cluster, so this watch has ended"


def no_watch(request_id: str) -> str:
    """Return the refusal of an unwatch without a watch."""
    if request_id:
        return error(f"no watch with the id {request_id} runs on this connection.")
    return error("no watch without an id runs on this connection. With one: client4#7@unwatch")


def runs_already(request_id: str) -> str:
    """Return the refusal of a second watch with the same id, or of a second one without an id."""
    if request_id:
        return error(
            f"a watch with the id {request_id} runs on this connection. Nothing was done; "
            f"choose another id, or end it: client4#{request_id}@unwatch"
        )
    return error(
        "a watch without an id runs on this connection. Nothing was done; give this one an "
        "id (client4#7@watch), or end the other: unwatch"
    )


def too_many(limit: int, *, of_user: bool = False) -> str:
    """Return the refusal of a watch beyond the limit of a node, or of one user."""
    if of_user:
        return TOO_MANY_OF_USER(limit)
    return TOO_MANY_WATCHES(limit)
