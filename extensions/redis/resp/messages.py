"""`PUBLISH` and `PUBSUB`. Pure.

A message is an entry of the log that changes no key. Each node that applies it sends it to its own
subscribers (notifications.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from raftline.wire.commands.watch_lines import WatchAsked, format_watch
from raftline.wire.protocol import escape

from .keys import Pattern, literal_prefix
from .programs import CommandContext, CommandRefused, Program, RedisAsk, Run, Steps, bounded, choose
from .replies import Failure, Value
from .view import View

PUBLISH: Final = "PUBLISH"
KEYSPACE: Final = "__keyspace@0__:"
KEYEVENT: Final = "__keyevent@0__:"
NO_NAME: Final = Failure("ERR the empty channel is not supported")
SWITCH: Final = "+switch-master"  # the channel on which a sentinel tells of a new leader
# What clients subscribe to at a sentinel. A node sends messages on the first of them alone.
OF_SENTINELS: Final = frozenset(
    f"{SWITCH} +slave +sentinel +sdown -sdown [-+]sdown +odown -odown [-+]odown".split()
)


def is_own(channel: str) -> bool:
    """Whether the node alone sends messages on a channel, or on all channels of such a prefix."""
    return channel.startswith((KEYSPACE, KEYEVENT)) or channel in OF_SENTINELS


def publish(view: View, words: list[str]) -> Value:
    """PUBLISH CHANNEL MESSAGE: each node counts its own receivers, so the state knows none."""
    checked_channel(words[1], view.limits.key_bytes)
    view.publish(words[1], words[2])
    return 0


def checked_channel(name: str, bytes_max: int) -> str:
    """Return the name of a channel to publish on.

    Raises:
        Refused: it is empty or too long, or the node alone sends messages there.
    """
    if not name:
        raise CommandRefused(NO_NAME)
    if is_own(name):
        raise CommandRefused("ERR only the node itself publishes on this channel")
    return bounded("name of the channel", name, bytes_max)


# --- PUBSUB --------------------------------------------------------------------------------------


def _channels(context: CommandContext, words: list[str]) -> Program:
    """PUBSUB CHANNELS [PATTERN]"""
    pattern = words[2] if len(words) > 2 else "*"
    fits = Pattern(pattern).fits
    yield from _may_read([literal_prefix(pattern)])
    found: list[Value] = []
    for name in context.node.channels():
        if fits(name):
            context.ledger.returns(len(name))
            found.append(name)
    return found


def _numsub(context: CommandContext, words: list[str]) -> Program:
    """PUBSUB NUMSUB [CHANNEL ...]"""
    yield from _may_read(words[2:])
    counts = context.node.channels()
    items: list[Value] = []
    for name in words[2:]:
        items += [name, counts.get(name, 0)]
    return items


def _numpat(context: CommandContext, words: list[str]) -> Value:
    """PUBSUB NUMPAT"""
    return context.node.count_patterns()


def _may_read(prefixes: list[str]) -> Steps[None]:
    """End the program unless its user may read the keys with these prefixes."""
    lines = [format_watch(WatchAsked(escape(prefix, key=True))) for prefix in prefixes]
    if lines:
        yield RedisAsk(lines, "rights")


_SUBCOMMANDS: Final[Mapping[str, tuple[int, Run]]] = {
    "CHANNELS": (-2, _channels),
    "NUMSUB": (-2, _numsub),
    "NUMPAT": (2, _numpat),
}


def pubsub(context: CommandContext, words: list[str]) -> Program | Value:
    """PUBSUB CHANNELS|NUMSUB|NUMPAT"""
    return choose(words, "PUBSUB", _SUBCOMMANDS, context)
