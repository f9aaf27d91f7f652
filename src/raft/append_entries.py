"""AppendEntries at a follower: match the leader's log, or answer where the two differ.

`snapshot` shares the first and the last step, which are `hear_leader` and `answer`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .agreement import hear_of_sums, own_sums
from .identity import PREFIX, is_foreign, read
from .leader_lease import promise
from .log import Entry
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    PeerError,
)
from .recovering import hear_of_loss, regain_vote
from .state import State

FromLeader = AppendEntries | InstallSnapshot


def check_leader(state: State, message: FromLeader) -> None:
    """Refuse a second leader in one term (§5.2), before anything changes. A correct cluster never
    has one, but a person can type such a message.

    Raises:
        PeerError: another server leads this term.
    """
    if message.term == state.term and state.leader not in (None, message.sender):
        raise PeerError(f"{state.leader} leads term {state.term}, so {message.sender} does not")


def check_append(state: State, message: AppendEntries) -> None:
    """Refuse entries that conflict with committed ones (§5.4.3), and entries of another cluster.

    Raises:
        PeerError: the message holds such an entry.
    """
    for entry in message.entries:
        if entry.command.startswith(PREFIX):
            _check_cluster(state, entry)
    commit_index = state.commit_index
    if message.prev_index > commit_index:
        return
    _check_committed(state, message.prev_index, message.prev_term)
    for index, term, _ in message.entries:
        if index > commit_index:
            return
        _check_committed(state, index, term)


def _check_committed(state: State, index: int, term: int) -> None:
    own_term = state.log.term_at(index)
    if own_term is not None and own_term != term:
        raise PeerError(
            f"entry {index} is committed with term {own_term}, it is never replaced by term {term}"
        )


def _check_cluster(state: State, entry: Entry) -> None:
    """Refuse an entry with an identity other than the known one. Before this server knows an
    identity, its own entry of the same index and term is proof as well: within a cluster the two
    entries would be equal (Log Matching, §5.3).

    Raises:
        PeerError: the entry belongs to another cluster.
    """
    index, term, command = entry
    mine, log = state.cluster, state.log
    if log.base_index < index <= log.last_index and log.term_at(index) == term:
        mine = mine or read(log.commands[index - log.base_index - 1]).cluster
    theirs = read(command).cluster
    if is_foreign(mine, theirs):
        raise PeerError(f"entry {index} is of cluster {theirs}, and this is cluster {mine}")


def refuse_old_leader(state: State, message: FromLeader) -> None:
    """Answer with this server's term, so that the leader of an earlier term steps down."""
    state.note(
        f"[*] {state.name} ignored {type(message).__name__} from {message.sender}: "
        f"term {message.term} < {state.term}"
    )
    answer(state, message, AppendRejected, state.log.last_index)


def hear_leader(state: State, message: FromLeader) -> None:
    """Follow the sender, which leads the term of its message, and restart the election timer."""
    state.follow(message.term, message.sender)
    state.leader_heard_at_ms, state.far_term = state.now_ms, 0
    state.arm_election()


def answer(
    state: State,
    message: FromLeader,
    kind: type[AppendAccepted] | type[AppendRejected],
    index: int,
    lease_ms: int = 0,
    *,
    past_entries: bool = False,
) -> None:
    """Tell a leader that this log equals its own up to `index`, or may do so. With `past_entries`,
    the answer acknowledges no pending disk write, and does not wait for one.

    An answer to a message of an earlier term carries no round. If the leader now also leads the
    current term, a round of the earlier term must not confirm its reads.
    """
    number = message.round if message.term == state.term else 0
    reply = kind(
        state.name,
        message.sender,
        state.term,
        index,
        number,
        state.without_vote,
        lease_ms,
        state.may_be_new,
    )
    is_heartbeat = isinstance(message, AppendEntries) and not message.entries
    if is_heartbeat and isinstance(reply, AppendAccepted):
        reply.sums = own_sums(state)
    (state.send_past_entries if past_entries else state.send)(reply)


def on_append_entries(state: State, message: AppendEntries) -> None:
    """Make this follower's log match the leader's, or answer where the two differ.

    Entries already present are left alone. Only a real conflict cuts the tail, so a late, shorter
    message erases nothing. The answer waits until the changes of this message are saved. Source:
    Figure 2, AppendEntries receiver 1-5; the node has already checked the term (1).
    """
    hear_leader(state, message)
    state.quick_retries_left = 0
    if message.lost_index:
        hear_of_loss(state, message)
    if message.differs is not None or message.agreed_index or state.differs:
        hear_of_sums(state, message)
    if state.vote is None and (state.recovering or state.name not in state.membership.electors):
        # This server may have voted in this term in an incarnation that it forgot, or under a name
        # that is reused. It spends the vote on the leader, which has won already, so it can't vote
        # twice.
        state.save(state.term, message.sender)
    agrees = state.log.term_at(message.prev_index) == message.prev_term
    if not agrees and message.prev_index >= state.log.base_index:  # receiver 2
        _send_missing(state, message)
        return
    new = _without_known(state, message.entries)
    if new:
        if new[0].index <= state.log.last_index:  # receiver 3
            state.cut_after(new[0].index - 1)
        state.append(new)  # receiver 4
    match_index = message.prev_index + len(message.entries)
    # receiver 5: never beyond the entries that this message has matched
    state.advance_commit_index(min(message.commit_index, match_index))
    if state.recovering and not state.differs and message.vote_again == state.incarnation:
        regain_vote(state)
    lease_ms = promise(state) if state.options.lease else 0
    past_entries = not message.entries and state.only_entries_wait
    if past_entries:
        # An answer to a heartbeat shows that this server is alive and follows. The leader's reads
        # and its leadership depend on that (thesis §6.2, §6.4). The answer need not wait for
        # pending writes of entries, so it acknowledges only entries that are committed and on this
        # disk.
        match_index = min(match_index, state.commit_index, state.durable_index)
    answer(state, message, AppendAccepted, match_index, lease_ms, past_entries=past_entries)


def _without_known(state: State, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries from the first one that this log lacks or holds with another term."""
    if not entries or entries[0].index > state.log.last_index:
        return list(entries)
    for position, entry in enumerate(entries):
        if entry.index > state.log.base_index and state.log.term_at(entry.index) != entry.term:
            return list(entries[position:])
    return []


def _send_missing(state: State, message: AppendEntries) -> None:
    """Answer with the last index that may agree: the end of the log, or the entry before the run of
    the conflicting term (§5.3, end). Committed entries always agree."""
    index = state.log.last_index
    if message.prev_index <= index:
        index = state.log.first_index_of_term_at(message.prev_index) - 1
        if state.incoming is None:  # else this is already known
            state.note(
                f"[*] {state.name} differs from {message.sender} at entry {message.prev_index}"
            )
    lease_ms = promise(state) if state.options.lease else 0
    index = max(index, state.commit_index)
    answer(state, message, AppendRejected, index, lease_ms, past_entries=True)
