"""A core in another process, which the virtual world runs instead of `RawNode`.

The world sees a real `State`, maintained here only by the Effects: they append to the log, cut it,
and apply entries. The core itself reports only term, vote, role, leader, commit index and when it
must be woken. So a core can't hold a log that differs from the one that it writes.
"""

from __future__ import annotations

from typing import Any

from raftline.raft import inputs
from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.identity import ClusterIdentity
from raftline.raft.log import Entry, Log, SafetyError
from raftline.raft.membership import Configurations, Membership
from raftline.raft.messages import Message
from raftline.raft.node import StepObserver
from raftline.raft.node_view import NodeView
from raftline.raft.roles import Candidacy, Leading, Role
from raftline.raft.state import State
from raftline_course.grading.isolation import codec
from raftline_course.grading.isolation.servers import HandInError, HandInRun, ServerProcess
from raftline_course.grading.isolation.start import Given

OPTIONS = ("election_timeout_ms", "heartbeat_ms", "batch_entries", "chunk_bytes")
# Inputs that a hand-in doesn't get: it needs no such rules. It serves reads with the entries that
# they must see, and gets no `Applied`: `RemoteNode` keeps the reads until then.
LEFT_OUT = (
    inputs.PeerDisconnected, inputs.PeerBuild, inputs.Transfer, inputs.Stop,
)  # fmt: skip


class RemoteNode:
    """A core of a hand-in, with the interface of a `RawNode`."""

    def __init__(self, process: ServerProcess, state: State, start: Given) -> None:
        self._process = process
        self._state = state
        self.view = NodeView(state)
        self.observer: StepObserver | None = None
        self.wake_at_ms = 0
        self._timeout_ms = state.pick_timeout_ms()
        self._tokens: dict[int, Any] = {}
        self._refused: list[Any] = []  # refused reads, until time passes
        self._number = 0
        options = {name: getattr(state.options, name) for name in OPTIONS}
        given = {**codec.encode(start), "options": options}
        self._take_report(self._ask({"start": given}, state.now_ms), began=True)

    @property
    def takes_proposals(self) -> bool:
        return self._state.leading is not None

    def accepts(self, message: Message) -> bool:
        return True

    def committed(self, first: int, count: int) -> list[Entry]:
        """Return at most `count` committed entries from `first` on."""
        return self._state.log.entries(first, min(self._state.commit_index, first + count - 1))

    def step(self, taken: inputs.Input, now_ms: int) -> Effects:
        """Pass an input to the core; return its Effects, once they fit the state."""
        state = self._state
        passed, state.now_ms = now_ms > state.now_ms, max(now_ms, state.now_ms)
        if isinstance(taken, LEFT_OUT):
            return Effects()
        if isinstance(taken, inputs.Applied):
            state.applied = taken.index
            return self._observed(taken, Effects(reads=self._served()))
        if isinstance(taken, inputs.AskLeader):
            return Effects(refused=list(taken.tokens))
        asked = self._with_numbers(taken)
        answer = self._ask({"taken": codec.encode(asked)}, state.now_ms)
        effects = self._effects(answer)
        self._take_note(taken)
        self._follow(effects)
        self._take_report(answer)
        state.confirmed_reads += effects.reads
        effects.reads = self._served()
        effects.refused = self._released(effects.refused, passed)
        return self._observed(taken, effects)

    def _observed(self, taken: inputs.Input, effects: Effects) -> Effects:
        if self.observer is not None:
            self.observer.stepped(taken, effects)
        return effects

    def _served(self) -> list[ReadReady]:
        """Remove the reads whose entries are applied."""
        waiting, served = self._state.confirmed_reads, []
        while waiting and waiting[0].index <= self._state.applied:
            served.append(waiting.popleft())
        return served

    def _released(self, refused: list[Any], passed: bool) -> list[Any]:
        """Return the refused reads that may be retried. A node asks its leader at once, so a
        refused read waits until time has passed."""
        if self._state.leading is None or passed:
            held, self._refused = self._refused, []
        else:
            held = []
        if self._state.leading is None:
            return held + refused
        self._refused += refused
        return held

    def _ask(self, question: dict[str, Any], now_ms: int) -> dict[str, Any]:
        asked = {"node": self._state.name, "now": now_ms, "timeout": self._timeout_ms, **question}
        answer = self._process.ask(asked)
        if answer.get("drawn"):
            self._timeout_ms = self._state.pick_timeout_ms()
        return answer

    # --- tokens, which stay here ------------------------------------------------------------

    def _with_numbers(self, taken: inputs.Input) -> inputs.Input:
        if isinstance(taken, inputs.Read):
            return inputs.Read([self._numbered(token) for token in taken.tokens])
        if isinstance(taken, inputs.ChangeMembers):
            return inputs.ChangeMembers(taken.change, self._numbered(taken.token))
        return taken

    def _numbered(self, token: Any) -> int:
        self._number += 1
        self._tokens[self._number] = token
        return self._number

    def _token(self, number: Any) -> Any:
        if type(number) is not int or number not in self._tokens:
            raise HandInError(f"{self._state.name} answers {number!r:.40}, which was not asked")
        return self._tokens.pop(number)

    # --- the answer -------------------------------------------------------------------------

    def _effects(self, answer: dict[str, Any]) -> Effects:
        try:
            effects: Effects = codec.decode(answer.get("effects"), Effects, "Effects")
        except codec.BadValue as error:
            raise HandInError(f"{self._state.name}: {error}") from None
        for message in effects.messages():
            if message.sender != self._state.name:
                raise HandInError(f"{self._state.name} sends as {message.sender!r:.40}")
        effects.reads = [one._replace(token=self._token(one.token)) for one in effects.reads]
        effects.refused = [self._token(number) for number in effects.refused]
        effects.settled = [one._replace(token=self._token(one.token)) for one in effects.settled]
        effects.forgot, effects.recovered = False, False
        return effects

    def _take_note(self, taken: inputs.Input) -> None:
        state = self._state
        if isinstance(taken, inputs.Synced):
            if state.log.term_at(taken.index) == taken.term:
                state.durable_index = max(state.durable_index, taken.index)
        elif isinstance(taken, inputs.SnapshotTaken):
            state.snapshot = taken.snapshot
        elif isinstance(taken, inputs.Compact) and taken.index > state.log.base_index:
            state.log.compact(taken.index)
            state.configurations.compact(taken.index)
        elif isinstance(taken, inputs.SnapshotChecked):
            self._checked = taken

    def _follow(self, effects: Effects) -> None:
        """Apply the Effects to the log that the world sees, as on the disk."""
        state = self._state
        try:
            if effects.install is not None:
                self._install(effects)
            if effects.cut_after is not None:
                state.log.cut_after(effects.cut_after)
                state.configurations.cut_after(effects.cut_after)
                state.durable_index = min(state.durable_index, effects.cut_after)
            for entry in effects.append:
                self._append(entry)
        except SafetyError as error:
            raise HandInError(f"{state.name}: {error}") from None
        if effects.apply:
            state.applying = effects.apply[-1].index

    def _append(self, entry: Entry) -> None:
        state = self._state
        if entry.index != state.log.last_index + 1 or not entry.command.isprintable():
            raise HandInError(
                f"{state.name} appends {entry} after entry {state.log.last_index} of its log"
            )
        state.log.append(entry.term, entry.command)
        state.configurations.append(entry.index, entry.command)

    def _install(self, effects: Effects) -> None:
        state, snapshot = self._state, effects.install
        checked = getattr(self, "_checked", None)
        if snapshot is None or checked is None or checked.snapshot != snapshot:
            raise HandInError(f"{state.name} installs a snapshot that was not checked")
        state.log.reset(snapshot.index, snapshot.term)
        state.configurations = Configurations(snapshot.index, checked.members)
        state.identity = ClusterIdentity(snapshot.index, checked.cluster)
        state.durable_index = min(state.durable_index, snapshot.index)
        state.applying = state.applied = snapshot.index
        state.snapshot = snapshot

    def _take_report(self, answer: dict[str, Any], *, began: bool = False) -> None:
        """Take the rest from the core's report."""
        state, view = self._state, answer.get("view")
        kinds = (int, str, str, str, int, int)
        if not isinstance(view, list) or len(view) != len(kinds):
            raise HandInError(f"{state.name} shows no state")
        names = ("term", "vote", "role", "leader", "commit_index", "wake_at_ms")
        for name, held, kind in zip(names, view, kinds, strict=True):
            if type(held) is not kind and not (held is None and name in ("vote", "leader")):
                raise HandInError(f"{state.name}.{name} is {held!r:.40}, not {kind.__name__}")
        state.term, state.vote, role, state.leader, state.commit_index, self.wake_at_ms = view
        if state.commit_index > state.log.last_index:
            raise HandInError(
                f"{state.name} takes entry {state.commit_index} for committed, "
                f"its log ends at {state.log.last_index}"
            )
        if role not in {one.value for one in Role}:
            raise HandInError(f"{state.name}.role is {role!r:.40}: follower, candidate or leader")
        state.election_at_ms = self.wake_at_ms
        self._be(Role(role))

    def _be(self, role: Role) -> None:
        state = self._state
        if role is not Role.LEADER:
            state.leading = None
            pre_vote = role is Role.PRE_CANDIDATE
            state.candidacy = None if role is Role.FOLLOWER else Candidacy(pre_vote, {})
        elif state.leading is None or state.role is not role:
            state.candidacy = None
            state.leading = Leading({}, {}, 0, 0, 0)


def begin(
    run: HandInRun,
    name: str,
    members: Membership,
    log: Log,
    hard_state: HardState,
    options: Any,
    pick_timeout_ms: Any,
    now_ms: int,
    **others: Any,
) -> RemoteNode:
    """Start a core in its own process, from its disk, and return it. It takes the arguments of
    `node_from_disk`, whose outline alone is in a handout."""
    snapshot, lost = others.get("snapshot"), bool(others.get("recovering"))
    state = State(
        name,
        Configurations(log.base_index, members, log.commands),
        log,
        hard_state.term,
        hard_state.vote,
        options,
        pick_timeout_ms,
        now_ms,
        recovering=lost,
        commit_index=log.base_index,
        applying=log.base_index,
        applied=log.base_index,
        durable_index=log.last_index,
        snapshot=snapshot,
        identity=ClusterIdentity(log.base_index, others.get("base_cluster", ""), log.commands),
        cluster=others.get("cluster", ""),
    )
    start = Given(
        name,
        members,
        log.entries(log.base_index + 1, log.last_index),
        log.base_index,
        log.base_term,
        hard_state.term,
        hard_state.vote,
        snapshot,
        lost,
    )
    return RemoteNode(run.begin(name), state, start)
