"""The network between the nodes: it loses, delays, duplicates and reorders messages, as planned or
scripted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from raftline.raft.messages import Message
from raftline.wire.peer_lines import format_message, read

from .chance import up_to
from .plan import Plan
from .world import World

OLD_MAX = 20  # messages of each kind to each node that may be repeated


class Links:
    """The links between nodes; a cut works in one direction, so that partitions can be
    asymmetric."""

    def __init__(self) -> None:
        self._cut: Counter[tuple[str, str]] = Counter()  # the number of cuts of a link
        self.on_change: Callable[[], None] = lambda: None  # called after each cut and mending

    def cut(self, senders: Sequence[str], receivers: Sequence[str]) -> Counter[tuple[str, str]]:
        """Block messages from these to those; messages in flight still arrive.

        Returns the cut, for `mend`.
        """
        cut = Counter((one, other) for one in senders for other in receivers if one != other)
        self._cut += cut
        self.on_change()
        return cut

    def mend(self, cut: Counter[tuple[str, str]]) -> None:
        """Undo one cut."""
        self._cut -= cut
        self.on_change()

    def heal(self) -> None:
        """Pass all messages again, with the planned disturbances."""
        self._cut.clear()
        self.on_change()

    @property
    def loss(self) -> float:
        """The share of lines that are lost."""
        return 0.0

    @property
    def cuts(self) -> list[tuple[str, str]]:
        """The cut links: from, to."""
        return sorted(self._cut)

    @property
    def has_cuts(self) -> bool:
        """Whether any link is cut."""
        return bool(self._cut)

    def are_linked(self, one: str, other: str) -> bool:
        """Whether a connection between these two can stand."""
        return (one, other) not in self._cut and (other, one) not in self._cut

    def is_cut(self, message: Message) -> bool:
        """Whether its sender can't reach its receiver."""
        return (message.sender, message.to) in self._cut


class ScriptedNetwork(Links):
    """A network that keeps messages as lines until the script decides their fate."""

    def __init__(self, world: World, is_up: Callable[[str], bool]) -> None:
        super().__init__()
        self._world = world
        self._is_up = is_up
        self._pending: list[tuple[str, str, str]] = []  # from, to, line

    def send(self, message: Message) -> bool:
        """Accept a message, unless it is lost at once; return whether it may arrive."""
        line, is_lost = format_message(message), self.is_cut(message) or not self._is_up(message.to)
        entry = f"{message.to} <- {message.sender}@{line}"
        self._world.tell("send", entry + " (lost)" * is_lost)
        if not is_lost:
            self._pending.append((message.sender, message.to, line))
        return not is_lost

    def take(self, sender: str = "all", to: str = "all") -> list[tuple[str, str, str]]:
        """Remove the messages that are pending now between these two."""
        before, self._pending = self._pending, []
        taken: list[tuple[str, str, str]] = []
        for line in before:
            fits = sender in ("all", line[0]) and to in ("all", line[1])
            (taken if fits else self._pending).append(line)
        return taken


class Network(Links):
    """A network that carries messages as planned."""

    def __init__(self, world: World, plan: Plan, names: Sequence[str]) -> None:
        super().__init__()
        self._world = world
        self._random, self._draw = world.random, world.random.random
        self._plan = plan
        self._names = names
        self._calm = False
        self.is_quiet = False  # while True, no message is lost, duplicated or late
        # Earlier messages to each node; the sender of a new message may get some of them again.
        self._old: dict[str, dict[type, list[Message]]] = {name: {} for name in names}
        self.deliver: Callable[[Message], None]  # set by the owner of the nodes

    def send(self, message: Message) -> bool:
        """Accept a message, which arrives once, twice or never; return whether it may arrive."""
        world, plan, draw = self._world, self._plan, self._draw
        world.counts["messages sent"] += 1
        if self._calm or self.is_quiet:
            # Broadcast time ≪ election timeout, else no election is sure to end (paper §5.6).
            delay_ms = min(plan.delay_ms, plan.options.election_timeout_ms // 10)
            world.within(delay_ms, self.deliver, message)
            return True
        if (message.sender, message.to) in self._cut or draw() < plan.loss:
            world.counts["messages lost"] += 1
            return False
        if plan.formatted:
            message = self._travelled(message)
        copies = 2 if draw() < plan.duplicates else 1
        for _ in range(copies):
            world.after(self._delay_ms(), self._arrive, message)
        world.counts["messages doubled"] += copies - 1
        if plan.replays:
            self._replay(message)
        return True

    @property
    def loss(self) -> float:
        return 0.0 if self._calm or self.is_quiet else self._plan.loss

    def _replay(self, message: Message) -> None:
        """Repeat an old message where it can do harm: to a node that is waiting for answers."""
        world = self._world
        kept = self._old[message.to].setdefault(type(message), [])
        if len(kept) < OLD_MAX:
            kept.append(message)
        elif self._draw() < 0.2:  # some messages stay for long
            kept[world.up_to(OLD_MAX - 1)] = message
        kinds = list(self._old[message.sender].values())  # votes are as likely as heartbeats
        if kinds and self._draw() < self._plan.replays:
            world.counts["messages replayed"] += 1
            again = world.pick(world.pick(kinds))
            world.after(self._delay_ms(), self._arrive, again)

    def _arrive(self, message: Message) -> None:
        if not self._calm:  # else it would cause trouble long afterwards
            self.deliver(message)

    def _travelled(self, message: Message) -> Message:
        line = format_message(message)
        arrived = read(message.sender, message.to, line)
        if arrived != message:
            raise AssertionError(f"{message} was written {line!r} and read as {arrived}")
        return arrived

    def _delay_ms(self) -> int:
        plan, random = self._plan, self._random
        if self._draw() < plan.late:
            self._world.counts["messages late"] += 1
            return up_to(plan.late_ms, random)
        return up_to(plan.delay_ms, random)

    def split(self, one: Sequence[str]) -> Counter[tuple[str, str]]:
        """Cut these off from all others in both directions; see `cut`."""
        others = [name for name in self._names if name not in one]
        return self.cut(one, others) + self.cut(others, one)

    def calm_down(self) -> None:
        """Stop losing, duplicating and delaying messages."""
        self.heal()
        self._calm = True
