"""A Redis client's connection to a node in memory, whose lines are applied at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raftline.redis.resp.blocking import LATE
from raftline.redis.resp.commands import Answer, plan_of
from raftline.redis.resp.fast import Line
from raftline.redis.resp.forms import value_of
from raftline.redis.resp.programs import CommandContext, NamePattern, RedisAsk
from raftline.redis.resp.replies import Value
from raftline.redis.resp.session import RedisSession
from raftline.state.commands.key_commands import execute
from raftline.state.commands.lease_commands import ms_of
from raftline.state.key_pages import read_selection, take_page
from raftline.state.store import Store
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError
from raftline.wire.refusal import error

NOW_MS = 1_000_000_000
# Replies of a node that no line has.
AT_NODE = {
    "confirmed": "", "rights": "", "watch": "", "status": 'STATUS response: {"role": "leader"}',
}  # fmt: skip


class Node:
    """A node with one client, whose lines are applied at once."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.cursors: list[str] = []
        self.scripts: dict[str, bool] = {}
        self.subscriptions: Counter[str] = Counter()

    def now_ms(self) -> int:
        return NOW_MS

    def chance(self, count: int) -> int:
        return count - 1

    def blocked(self) -> int:
        return 0

    def keep_cursor(self, key: str) -> int:
        self.cursors.append(key)
        return len(self.cursors)

    def cursor(self, number: int) -> str | None:
        return self.cursors[number - 1] if number <= len(self.cursors) else None

    def script(self, sha: str) -> bool | None:
        return self.scripts.get(sha)

    def keep_script(self, sha: str, *, takes_times: bool = False) -> None:
        self.scripts[sha] = takes_times or self.scripts.get(sha, False)

    def count_subscription(self, name: str, pattern: NamePattern | None, change: int) -> None:
        self.subscriptions[name] += change

    def receivers(self, channels: Sequence[str]) -> list[int]:
        return [self.subscriptions[channel] for channel in channels]

    def channels(self) -> Mapping[str, int]:
        return +self.subscriptions

    def count_patterns(self) -> int:
        return 0


class Model:
    """A connection of a Redis client to such a node."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store(is_at_floor=False)
        self.session = RedisSession(7)
        self.context = CommandContext(Node(), self.session)
        self.lines: list[str] = []  # that were carried out
        self.before_write: Callable[[], object] = lambda: None

    def line(self, text: str) -> str:
        """Return the reply to a line."""
        try:
            command = read_request("", "", text, Limits()).command
        except ProtocolError as mistake:
            return error(str(mistake))
        assert command == text, "lines are written as in the log"
        self.lines.append(command)
        verb, _, key = command.partition(" ")
        if verb == "ttl":
            if key not in self.store:
                return f"TTL response, no such key: {key}"
            left_ms = ms_of(self.store, self.store.lease_of(key))
            left = f"TTL response: {left_ms / 1000}"
            return left if left_ms else f"TTL response, no lease: {key}"
        if selection := read_selection(command):
            return take_page(self.store, selection).format()
        if command.startswith("redis "):
            self.before_write()
        self.store.number += 1
        return execute(self.store, command)

    def ask(self, *words: object) -> Value:
        """Return the reply to a command."""
        plan = plan_of([str(word) for word in words], self.context)
        if isinstance(plan, Answer):
            return plan.value
        if isinstance(plan, Line):
            return value_of(plan.form, plan.key, self.line(plan.command))
        return self._carry_out(plan.carry_out(self.context))

    def _carry_out(self, program: Any) -> Value:
        has_waited = False
        try:
            ask: RedisAsk = next(program)
            while True:
                if ask.kind in AT_NODE:
                    ask = program.send([AT_NODE[ask.kind]])
                    continue
                if ask.kind == "await":  # the first turn comes at once, and nothing else does
                    ask, has_waited = program.send([LATE if has_waited else ""]), True
                    continue
                is_last = ask.kind == "last"
                replies = [str(self.store.number)] * is_last + list(map(self.line, ask.lines))
                refused = any(reply.startswith("Sorry") for reply in replies)
                assert not refused or ask.takes_refusals, replies
                ask = program.send(replies)
        except StopIteration as end:
            value: Value = end.value
            return value

    def in_multi(self, *words: object) -> Value:
        """Return the reply to a command in an entry with another one."""
        self.ask("MULTI")
        assert self.ask("DEL", "an absent key") == "QUEUED"
        assert self.ask(*words) == "QUEUED"
        replies = self.ask("EXEC")
        assert isinstance(replies, list)
        return replies[1]
