"""Commands that take several lines: generators that ask for lines and receive the replies. Pure.

A program yields a `RedisAsk` and is sent the replies to its lines. Its result is the reply to the
client. If the node refuses a line, the program ends, and the refusal is the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, TypeVar

from raftline.wire.operands.lease_operands import SECONDS_MAX, format_seconds
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import escape, shown, size_of

from .replies import NOT_INTEGER, Failure, Value
from .request_ledger import RequestLedger
from .session import RedisSession

INTEGER_MAX: Final = (1 << 63) - 1


class NamePattern(Protocol):
    """A pattern of channels."""

    def fits(self, key: str) -> bool:
        """Whether a name matches."""

    def steps(self, key: str) -> int:
        """Return how many bytes of a name are compared one by one, at most."""


_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


class CommandRefused(Exception):
    """A command that is wrong in itself. `failure` is its reply."""

    def __init__(self, failure: Failure | str) -> None:
        super().__init__(failure)
        self.failure = Failure(failure)


@dataclass(slots=True)
class RedisAsk:
    """Lines of one kind. Reads are answered at one moment."""

    lines: list[str]
    # or "write", "timed", "show", "login", "status", "watch", "last", "await"; "rights" asks
    # whether the user may send the lines, and "confirmed" whether this node has applied all that
    # is committed
    kind: str = "read"
    key: str = ""  # for the slot in a redirect
    is_canonical: bool = False  # the lines are written as in the log, and within the limits
    at_leader: bool = False  # also on a connection that reads at a follower
    takes_refusals: bool = False  # the program gets refusals as replies
    takes_codes: tuple[str, ...] = ()  # likewise, those with these codes
    watch_id: str = ""  # of a watch, or another subscription, that begins or ends
    topic: str = ""  # of a watch of messages, in place of the keys of the last line
    held_bytes: int = 0  # that such a subscription takes
    awaited: tuple[str, ...] = ()  # keys, of the kind "await"
    within_s: float = 0.0  # of that kind; 0: any time
    in_line: bool = True  # of that kind: one takes what another one waits for


_Result = TypeVar("_Result")
Steps: TypeAlias = Generator[RedisAsk, list[str], _Result]
Program: TypeAlias = Steps[Value]


class CommandNode(Protocol):
    """The node's own part in a command."""

    @property
    def limits(self) -> Limits: ...

    def now_ms(self) -> int:
        """Return the time of day."""

    def chance(self, count: int) -> int:
        """Return a random number below this one."""

    def keep_cursor(self, key: str) -> int:
        """Return a number under which the key of a scan is kept for a while."""

    def blocked(self) -> int:
        """Return how many connections wait for an element."""

    def cursor(self, number: int) -> str | None:
        """Return the key that was kept under a number; None if it is gone."""

    def script(self, sha: str) -> bool | None:
        """Return whether a script asks for times; None if this node does not know it."""

    def keep_script(self, sha: str, *, takes_times: bool = False) -> None:
        """Note a script that is in the log, or that asks for times. The store decides whether it
        has the text; a note saves a line."""

    def count_subscription(self, name: str, pattern: NamePattern | None, change: int) -> None:
        """Count a subscription more, or less, to a channel or a pattern."""

    def receivers(self, channels: Sequence[str]) -> list[int]:
        """Return how many subscriptions at this node get the messages on each of these channels.
        If that takes many comparisons with patterns, those of the last channels count without."""

    def channels(self) -> Mapping[str, int]:
        """Return how many subscriptions each channel has at this node."""

    def count_patterns(self) -> int:
        """Return how many different patterns have subscriptions at this node."""


@dataclass(slots=True)
class CommandContext:
    """The node and the connection of a command, and the ledger of the present one."""

    node: CommandNode
    session: RedisSession
    ledger: RequestLedger = field(init=False)

    def __post_init__(self) -> None:
        self.open_ledger()

    def open_ledger(self) -> None:
        """Begin to count for a command."""
        self.ledger = RequestLedger(self.node.limits.line_bytes)


# --- words ---------------------------------------------------------------------------------------


def format_key(text: str, limits: Limits) -> str:
    """Return a key as a line writes it.

    Raises:
        Refused: the key is empty or too long.
    """
    return escape(checked_key(text, limits), key=True)


def checked_key(text: str, limits: Limits) -> str:
    """Return a key.

    Raises:
        Refused: it is empty or too long.
    """
    if not text:
        raise CommandRefused("ERR the empty key is not supported")
    return bounded("key", text, limits.key_bytes)


def format_value(text: str, limits: Limits) -> str:
    """Return a value as the end of a line writes it.

    Raises:
        Refused: the value is too long.
    """
    return escape(bounded("value", text, limits.value_bytes), key=False)


def bounded(what: str, text: str, limit: int) -> str:
    """Return a text of at most so many bytes.

    Raises:
        Refused: it has more.
    """
    if 4 * len(text) > limit:
        size = size_of(text)
        if size > limit:
            raise CommandRefused(f"ERR the {what} has {size} bytes; the limit is {limit}")
    return text


def raw(text: str) -> bytes:
    """Return the bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def text_of(data: bytes) -> str:
    """Return bytes as a text."""
    return data.decode("utf-8", "surrogateescape")


def joined(one: str, other: str) -> str:
    """Return the text of the bytes of two texts. Only those at the border are decoded, which may
    make up a character: a decoder takes several times the memory of a long text."""
    border = text_of(raw(one[-3:] + other[:3]))  # of at most four bytes
    return "".join([one[:-3], border, other[3:]])


def integer(text: str, problem: Failure = NOT_INTEGER) -> int:
    """Return the number in an argument.

    Raises:
        Refused: it is not a whole number of 64 bits.
    """
    number = int(text) if _INTEGER.fullmatch(text) else 1 << 64
    if not -INTEGER_MAX - 1 <= number <= INTEGER_MAX:
        raise CommandRefused(problem)
    return number


def seconds_text(time_ms: int) -> str:
    """Return a time as a line writes it.

    Raises:
        Refused: no line takes so long a time.
    """
    if time_ms > 1000 * SECONDS_MAX:
        raise CommandRefused(f"ERR a time of more than {SECONDS_MAX} seconds is not supported")
    return format_seconds(time_ms)


def in_capitals(word: str) -> str:
    """Return a name or an option in capitals. Other letters than those of ASCII are in none, and
    what they are in capitals depends on the version of Python."""
    return word.upper() if word.isascii() else word


Run: TypeAlias = Callable[[CommandContext, list[str]], "Program | Value"]


@dataclass(slots=True)
class RedisCall:
    """A command that the connection's own thread carries out."""

    name: str
    run: Run
    words: list[str]

    def carry_out(self, context: CommandContext) -> Program:
        """Carry out the command; a mistake in it is its reply."""
        try:
            result = self.run(context, self.words)
            if isinstance(result, Generator):
                return (yield from result)
        except CommandRefused as refused:
            return refused.failure
        return result


def choose(
    words: list[str], name: str, functions: Mapping[str, tuple[int, Run]], context: CommandContext
) -> Program | Value:
    """Carry out a subcommand: `functions` has each with its number of words, negative if it is the
    least one."""
    count, function = functions.get(words[1].upper(), (0, None))
    if function is None:
        raise CommandRefused(f"ERR unknown subcommand '{shown(words[1])}'. Try {name} HELP.")
    if not (len(words) == count or (count < 0 and len(words) >= -count)):
        sub = f"{name.lower()}|{words[1].lower()}"
        raise CommandRefused(f"ERR wrong number of arguments for '{sub}' command")
    return function(context, words)
