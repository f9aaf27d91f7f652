"""The codes of refusals: each row of the table, with and without a code, and its page."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import gettempdir

import pytest

from raftline.access.authorization import denial_reason
from raftline.access.identity import Identity
from raftline.access.login import FAILED, NO_USERS, NOT_PRIVATE
from raftline.common.build_level import LEVEL
from raftline.logmanager import LogManager
from raftline.net.peers.opening import TLS_ONLY
from raftline.net.protocol.admission import no_session
from raftline.net.state_copies import BackupFailed, Backups
from raftline.node.watches.watch_listing import NOT_LISTED
from raftline.raft.membership import all_vote
from raftline.state.commands.key_commands import execute
from raftline.state.commands.machines import Machines, Rejected
from raftline.state.sessions import SessionTable
from raftline.state.store import Store
from raftline.storage.disk import HalfApplied
from raftline.storage.snapshot_lines import MachineState
from raftline.wire import protocol
from raftline.wire.commands import watch_lines
from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.commands.member_commands import change_reply
from raftline.wire.commands.observe_lines import too_many as too_many_observers
from raftline.wire.commands.operands import Limits, not_understood
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import BACKUPS
from raftline.wire.protocol import error, not_leader, outcome_unknown
from raftline.wire.replies.refusals import (
    BAD_REQUEST,
    REFUSALS,
    RequestOutcome,
    refusal_in,
    sentence_of,
    with_code,
)
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from tests.core.typed import LIMITS, refusal

PAGE = Path(__file__).resolve().parents[2] / "docs/use/protocol.md"


def mistake(line: str, limits: Limits = LIMITS) -> str:
    return error(refusal(line, limits))


def executed(*commands: str, level: int = LEVEL) -> str:
    store = Store()
    store.level = level
    return [execute(store, command) for command in commands][-1]


def expired() -> str:
    sessions = SessionTable()
    name = sessions.begin("client4", 17)
    sessions.forget(name)
    reply = sessions.earlier_reply(name, 1, "set a 1")
    assert reply is not None
    return reply


def denied(identity: Identity) -> str:
    return error(denial_reason(identity, "set a 1", lambda lease: []))


def half_applied() -> str:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager._is_half_applied = True
    with pytest.raises(HalfApplied) as caught:
        manager.freeze()
    return error(str(caught.value))


def no_backup(folder: str = "/no such folder", *, spares: bool = True, before: int = 0) -> str:
    state = MachineState(57, 4, all_vote(MEMBERS), [], {})
    backups = Backups(lambda folder, size: spares)
    for _ in range(before):
        backups.make(folder, lambda: state)
    with pytest.raises(BackupFailed) as caught:
        backups.make(folder, lambda: state)
    return error(str(caught.value))


def rejected(problem: Exception) -> str:
    class Bank:
        def apply(self, command: object) -> object:
            raise problem

        def snapshot(self) -> object:
            return {}

        def restore(self, state: object) -> None: ...

    return Machines({"bank": Bank()}).execute(Store(), "bank {}")


LONG_LIST = f"[{', '.join(['1'] * 349_525)}]"  # a value of one MiB
TRANSFERS = (
    "s2 leads already", "s2 does not lead", "s2 is not a member of this cluster",
    "s2 is a learner without a vote", "s2 is about to leave the cluster",
    "s2 can't be reached at the moment", "s2 may be new and catches up without a vote",
    "a transfer to s3 is under way", "no follower can take over",
)  # fmt: skip
LOST = "may be new or may have lost everything. This ends when a leader is elected"
ZOE = Identity("zoe", UserRole.READER, ("",))
NOBODY = Identity("", UserRole.NONE, ())
# Each as a node makes it: the reply, its code and facts.
SENTENCES = [
    (not_leader("s2", "h2", 10000), "not-leader s2 h2:10000"),
    (not_leader("s2", "::1", 10000), "not-leader s2 [::1]:10000"),
    (protocol.NOT_LEADER, "not-leader"),
    (protocol.NO_LEADER, "no-leader"),
    (f"{protocol.NO_LEADER} It is elected yet.", "no-leader"),
    (protocol.no_leader(f"s2 has no vote, since it {LOST}"), "no-leader s2"),
    (protocol.no_leader(f"s1 and s2 have no vote, since they {LOST}"), "no-leader s1 s2"),
    (protocol.no_leader(f"s1, s2 and s3 have no vote, since they {LOST}"), "no-leader s1 s3"),
    (protocol.STOPPING, "stopping"),
    (half_applied(), "stopping"),
    (protocol.REMOVED, "removed"),
    (protocol.SHUT_DOWN, "down"),
    (protocol.RISING, "level-rising"),
    (protocol.FULL, "full"),
    (protocol.TOO_MANY_LOGINS, "full"),
    (protocol.TOO_MUCH_WAITS, "full"),
    (protocol.NOT_REACHED, "full"),
    (error("the keys of this watch can't be written to /d: No space left. Nothing was done."),
     "full"),
    (error(NOT_LISTED), "full"),
    (protocol.DONE_ONCE, "done-once"),
    (outcome_unknown("it takes long; see: members"), "outcome-unknown"),
    (expired(), "session-expired"),
    (error(no_session("c")), "no-session"),
    (SessionTable().forget("c"), "no-session"),
    (denied(NOBODY), "no-login"),
    (denied(ZOE), "not-allowed"),
    (FAILED, "login-failed"),
    (NOT_PRIVATE, "login-failed"),
    (NO_USERS, "no-users"),
    (error(TLS_ONLY), "tls-only"),
    (error("this cluster is at level 1 until s3 (0.1.0) is upgraded. Nothing was done."),
     "low-level 1"),
    (executed("txn if a > 1 then clear b", level=2), "low-level"),
    (error(not_understood("pull")), "not-understood"),
    (mistake("set key 12345", Limits(3, 4)), "too-long"),
    (mistake("show key", Limits(2, 4)), "too-long"),
    (error(Limits().line_too_long), "too-long"),
    (executed(f"set a {'x' * (1 << 20)}", "append a y"), "too-long"),
    (executed(f"set a {LONG_LIST}", 'object a list.append "x"'), "too-long"),
    (executed("set a x", "incr a"), "no-number"),
    (executed(f"set a {2**63 - 1}", "incr a"), "out-of-range"),
    (watch_lines.gone("web/", 17), "events-gone 17"),
    (watch_lines.never_was("", 17), "events-gone 17"),
    (watch_lines.from_the_future(17, 5), "not-yet 17 5"),
    (watch_lines.go_on_elsewhere(watch_lines.TOO_SLOW, "web/", 17), "watch-ended"),
    (watch_lines.go_on_elsewhere(watch_lines.IS_REMOVED, "", 17), "watch-ended"),
    (watch_lines.amid_keys(watch_lines.IS_STOPPING, "web/"), "watch-ended"),
    (watch_lines.amid_keys(watch_lines.RIGHTS, ""), "watch-ended"),
    (error("no room: there are 5 leases. Nothing was done; release some first."), "no-room"),
    (watch_lines.too_many(1000), "too-many"),
    (watch_lines.too_many(750, of_user=True), "too-many"),
    (too_many_observers(16), "too-many"),
    (executed("txn set a x ; incr a"), "transaction 2"),
    (executed("txn set a x ; under lease-9 set b y"), "lease-over 2 lease-9"),
    (executed("set a x", "txn object a list.append 1"), "transaction 1"),
    (executed(f"set a {LONG_LIST}", f"txn {' ; '.join(['get a'] * 9)}"), "transaction 8"),
    (executed("set a x", "object a list.append 1"), "wrong-kind"),
    (error("s2 speaks on another connection; nobody else does for it"), "speaks-elsewhere"),
    (error("s2 did not take over: s1 leads term 4."), "not-taken-over s1 4"),
    *((error(f"{reason}."), "not-taken-over") for reason in TRANSFERS),
    (change_reply("add s4 h 1", "refused", "s4 votes already. Nothing was changed"), "not-changed"),
    (change_reply("add s4 h 1", "refused", "s4 is removed before it has caught up"), "not-changed"),
    (no_backup(), "no-backup"),
    (no_backup(gettempdir(), spares=False), "no-backup"),
    (no_backup(gettempdir(), before=BACKUPS), "full"),
    (error(Machines({}).why_not("bank")), "no-machine"),
    (rejected(Rejected("ann has not got 5")), "rejected"),
    (rejected(ValueError()), "rejected"),
    (mistake("set"), "bad-request"),
    (mistake("object a list.clear {"), "bad-request"),
    (watch_lines.no_watch("7"), "bad-request"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "code"), SENTENCES)
def test_a_refusal_has_its_code_and_is_read_back_from_either_form(reply: str, code: str) -> None:
    sentence = reply.removeprefix("Sorry, ")
    assert with_code(reply) == f"Sorry [{code}] {sentence}"
    assert refusal_in(with_code(reply)) == refusal_in(reply)
    assert sentence_of(reply) == sentence_of(with_code(reply)) == sentence


def test_each_row_has_a_sentence_that_a_node_makes() -> None:
    def row_of(sentence: str) -> object:
        return next((row for row in REFUSALS if re.match(f"(?s){row.form}", sentence)), BAD_REQUEST)

    assert {row_of(sentence_of(reply)) for reply, _ in SENTENCES} == {*REFUSALS, BAD_REQUEST}


def test_rows_of_one_code_have_one_meaning_for_a_client_that_gets_no_facts() -> None:
    outcomes = {row.code: set() for row in REFUSALS}  # type: dict[str, set[RequestOutcome]]
    for row in REFUSALS:
        outcomes[row.code].add(row.outcome)
    assert [code for code, found in outcomes.items() if len(found) > 1] == []


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_no_reply_that_is_no_refusal_reads_as_one(verb: str) -> None:
    reply = f"{verb.upper()} response: Sorry [no-leader] x"
    assert refusal_in(reply) is None
    assert with_code(reply) == reply


def test_a_code_of_a_later_build_is_a_refusal() -> None:
    refusal = refusal_in("Sorry [of-later s3] something new.")
    assert refusal is not None
    assert (refusal.code, refusal.facts) == ("of-later", ("s3",))
    assert refusal.outcome is RequestOutcome.REFUSED


def test_the_page_has_each_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("### Codes of refusals")[2].partition("\n#")[0]
    listed = re.findall(r"(?m)^\| `([a-z-]+)[^|]*` \| (.*) \|$", table)
    assert [code for code, _ in listed] == [
        *dict.fromkeys(row.code for row in REFUSALS),
        "bad-request",
    ]
