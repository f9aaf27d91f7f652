"""The codes of refusals: of each sentence as a value and as a text, and their page."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import gettempdir

import pytest

from raftline.access.users import make_verifier
from raftline.logmanager import LogManager
from raftline.net.state_copies import BackupFailed, Backups
from raftline.raft.membership import all_vote
from raftline.state.commands.key_commands import execute
from raftline.state.commands.machines import Machines, Rejected
from raftline.state.sessions import SessionTable
from raftline.state.store import Store
from raftline.storage.disk import StateRefused
from raftline.storage.snapshot_lines import MachineState
from raftline.wire import refusal as sentences
from raftline.wire.commands import watch_lines
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.commands.identity import Identity, identity_of
from raftline.wire.commands.member_commands import change_reply
from raftline.wire.commands.observe_lines import too_many as too_many_observers
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import BACKUPS
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.operands import Limits, not_understood
from raftline.wire.operands.user_operands import MECHANISM
from raftline.wire.protocol import ProtocolError
from raftline.wire.refusal import (
    READ,
    Refusal,
    RequestOutcome,
    Sentence,
    no_leader,
    not_leader,
    outcome_unknown,
)
from raftline.wire.replies.refusals import refusal_in, sentence_of, with_code
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from tests.core.typed import LIMITS, command

PAGE = Path(__file__).resolve().parents[3] / "docs/use/protocol.md"


def mistake(line: str, limits: Limits = LIMITS) -> str:
    with pytest.raises(ProtocolError) as caught:
        command(line, limits)
    return caught.value.refusal


def executed(*commands: str) -> str:
    store = Store(is_at_floor=False)
    return [execute(store, command) for command in commands][-1]


def expired() -> str:
    sessions = SessionTable()
    name = sessions.begin("client4", 17)
    sessions.forget(name)
    reply = sessions.earlier_reply(name, 1, "set a 1")
    assert reply is not None
    return reply


def past() -> str:
    sessions = SessionTable()
    sessions.earlier_reply("c", 1000, "set a 1")
    sessions.remember("c", 1000, "set a 1", "SET response: a set to 1")
    reply = sessions.earlier_reply("c", 1, "set a 1")
    assert reply is not None
    return reply


def denied(identity: Identity) -> str:
    return denial_reason(identity, "set a 1", lambda lease: [])


def unreadable(refusal: Refusal) -> Refusal:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.refuse_reads(refusal)
    with pytest.raises(StateRefused) as caught:
        manager.freeze()
    assert str(caught.value) == refusal.sentence
    return caught.value.refusal


def no_backup(folder: str = "/no such folder", *, spares: bool = True, before: int = 0) -> str:
    state = MachineState(57, 4, all_vote(MEMBERS), [], {})
    backups = Backups(lambda folder, size: spares)
    for _ in range(before):
        backups.make(folder, lambda: state)
    with pytest.raises(BackupFailed) as caught:
        backups.make(folder, lambda: state)
    return caught.value.refusal


def rejected(problem: Exception) -> str:
    class Bank:
        def apply(self, command: object) -> object:
            raise problem

        def snapshot(self) -> object:
            return {}

        def restore(self, state: object) -> None: ...

    return Machines({"bank": Bank()}).execute(Store(), "bank {}")


LONG_LIST = f"[{', '.join(['1'] * 349_525)}]"  # a value of one MiB
LOST = "may be new or may have lost everything. This ends when a leader is elected"
NO_FILES = "s4 has no files, and waits until it hears that {} none either"
VERIFIER = make_verifier("correct horse", ITERATIONS_LEAST)
ZOE = identity_of("zoe", UserRole.READER, ("",))
NOBODY = identity_of("", UserRole.NONE, ())
# Each as a node makes it: the reply, its code and facts.
SENTENCES = [
    (not_leader("s2", "h2", 10000), "not-leader s2 h2:10000"),
    (not_leader("s2", "::1", 10000), "not-leader s2 [::1]:10000"),
    (sentences.NOT_LEADER, "not-leader"),
    (sentences.NO_LEADER, "no-leader"),
    (no_leader(f"s2 has no vote, since it {LOST}", ["s2"]), "no-leader s2"),
    (no_leader(f"s1 and s2 have no vote, since they {LOST}", ["s1", "s2"]), "no-leader s1 s2"),
    (no_leader(f"s1, s2 and s3 have no vote, since they {LOST}", ["s1", "s2", "s3"]),
     "no-leader s1 s3"),
    (no_leader(NO_FILES.format("s1 has"), ["s1"]), "no-leader s1"),
    (no_leader(NO_FILES.format("s2 and s3 have"), ["s2", "s3"]), "no-leader s2 s3"),
    (no_leader("s1 has no files, and its configuration names no other member", ["s1"]),
     "no-leader s1"),
    (sentences.NOT_BEGUN("name the members that never ran: s1 waits for s3"), "not-begun"),
    (sentences.STOPPING, "stopping"),
    (unreadable(sentences.HALF_APPLIED), "stopping"),
    (unreadable(sentences.DIVERGED), "diverged"),
    (sentences.REMOVED, "removed"),
    (sentences.SHUT_DOWN, "down"),
    (sentences.NO_IDENTITY, "identity-unknown"),
    (sentences.FULL, "full"),
    (sentences.TOO_MANY_LOGINS, "full"),
    (sentences.TOO_MUCH_WAITS, "full"),
    (sentences.NO_USERS_YET, "users-unknown"),
    (sentences.OTHER_CLUSTER("0123456789abcdef", "f" * 16), "other-cluster 0123456789abcdef"),
    (sentences.NO_QUORUM("s1"), "no-quorum"),
    (sentences.NOT_REACHED, "full"),
    (sentences.NOT_WRITTEN("/d", "No space left"), "full"),
    (sentences.NOT_LISTED, "full"),
    (sentences.DONE_ONCE, "done-once"),
    (outcome_unknown("it takes long; see: members"), "outcome-unknown"),
    (expired(), "session-expired"),
    (past(), "session-expired"),
    (sentences.INVENTED_NAME("c"), "no-session"),
    (SessionTable().forget("c"), "no-session"),
    (denied(NOBODY), "no-login"),
    (denied(ZOE), "not-allowed"),
    (executed("user-add bob -"), "first-user"),
    (executed(f"user-add root {VERIFIER} admin", "user-remove root"), "last-admin"),
    (sentences.TOO_MANY_USERS("1024 users"), "too-many-users"),
    (sentences.LOGIN_FAILED, "login-failed"),
    (sentences.NOT_PRIVATE(MECHANISM), "not-private"),
    (sentences.NO_USERS, "no-users"),
    (sentences.TLS_ONLY, "tls-only"),
    (sentences.UNHEARD_PART("s3", "the extension redis"), "build-unknown"),
    (sentences.LACKS_PART("s3 (0.2.0)", "the extension redis"), "lacks-extension"),
    (sentences.APPLIES_OTHERWISE("s3 (0.2.0)", "the kernel", "s1"), "lacks-extension"),
    (sentences.AT_FLOOR("its nodes were started with --floor"), "at-floor"),
    (not_understood("pull"), "not-understood"),
    (mistake("set key 12345", Limits(3, 4)), "too-long"),
    (mistake("get key", Limits(2, 4)), "too-long"),
    (mistake("show key", Limits(2, 4)), "too-long"),
    (Limits().line_too_long, "too-long"),
    (executed(f"set a {'x' * (1 << 20)}", "append a y"), "too-long"),
    (sentences.JSON_TOO_LONG("a", 9, 4), "too-long"),
    (executed("set a x", "incr a"), "no-number"),
    (executed(f"set a {2**63}", "incr a"), "no-number"),
    (executed(f"set a {2**63 - 1}", "incr a"), "out-of-range"),
    (watch_lines.gone("web/", 17), "events-gone 17"),
    (watch_lines.never_was("", 17), "events-gone 17"),
    (watch_lines.from_the_future(17, 5), "not-yet 17 5"),
    (watch_lines.continue_elsewhere(watch_lines.TOO_SLOW, "web/", 17), "watch-ended"),
    (watch_lines.continue_elsewhere(watch_lines.IS_REMOVED, "", 17), "watch-ended"),
    (watch_lines.amid_keys(watch_lines.IS_STOPPING, "web/"), "watch-ended"),
    (watch_lines.amid_keys(watch_lines.RIGHTS, ""), "watch-ended"),
    (sentences.NO_LEASES(5), "no-room"),
    (sentences.SHARE_USED("ann holds", "5 bytes", 3, 4, "delete some keys"), "no-room"),
    (sentences.NO_BYTES(9), "no-room"),
    (sentences.NO_DISK, "no-room"),
    (watch_lines.too_many(1000), "too-many"),
    (watch_lines.too_many(750, of_user=True), "too-many"),
    (too_many_observers(16), "too-many"),
    (executed("txn set a x ; incr a"), "transaction 2"),
    (executed("txn set a x ; under lease-9 set b y"), "lease-over 2 lease-9"),
    (executed("set a x", "txn incr a"), "transaction 1"),
    (executed(f"set a {LONG_LIST}", f"txn {' ; '.join(['get a'] * 9)}"), "too-much 8"),
    (executed(f"set a {'x' * ((1 << 20) - 8)}", f"txn {' ; '.join(['append a y'] * 3)}"),
     "too-much 3"),
    (sentences.WRONG_KIND("a", "list"), "wrong-kind"),
    (sentences.SPEAKS_ELSEWHERE("s2"), "speaks-elsewhere"),
    (sentences.NOT_TAKEN_OVER("s2", "s1", 4), "not-taken-over s1 4"),
    (change_reply("add s4 h 1", "refused", "s4 votes already. Nothing was changed"), "not-changed"),
    (change_reply("add s4 h 1", "refused", "s4 is removed before it has caught up"), "not-changed"),
    (no_backup(), "no-backup"),
    (no_backup(gettempdir(), spares=False), "no-backup"),
    (no_backup(gettempdir(), before=BACKUPS), "full"),
    (Machines({}).why_not("bank"), "no-machine"),
    (rejected(Rejected("ann has not got 5")), "rejected"),
    (rejected(ValueError()), "rejected"),
    (mistake("set"), "bad-request"),
    (mistake("machine a {"), "bad-request"),
    (watch_lines.no_watch("7"), "bad-request"),
]  # fmt: skip


OF_THE_CORE = sentences.NO_TRANSFER("s2 does not lead")  # its text alone shows no code


@pytest.mark.parametrize(("reply", "code"), SENTENCES)
def test_a_refusal_has_its_code_as_a_value_and_as_a_text(reply: str, code: str) -> None:
    assert isinstance(reply, Refusal)
    text = str(reply)
    assert type(text) is str
    sentence = text.removeprefix("Sorry, ")
    assert with_code(reply) == with_code(text) == f"Sorry [{code}] {sentence}"
    for form in (text, with_code(text)):
        read = refusal_in(form)
        assert read is not None
        assert (read, read.code, read.facts) == (reply, reply.code, reply.facts)
        assert read.outcome is reply.outcome
    assert sentence_of(reply) == sentence_of(text) == sentence_of(with_code(reply)) == sentence


def test_a_refused_transfer_has_a_code_only_as_a_value() -> None:
    assert OF_THE_CORE == "Sorry, s2 does not lead."
    assert with_code(OF_THE_CORE) == "Sorry [not-taken-over] s2 does not lead."
    assert with_code(str(OF_THE_CORE)) == "Sorry [bad-request] s2 does not lead."


def test_each_sentence_is_one_that_a_node_makes() -> None:
    replies = [OF_THE_CORE, *(reply for reply, _ in SENTENCES)]
    missing = []
    for name, kind in vars(sentences).items():
        if isinstance(kind, Refusal) and kind not in replies:
            missing.append(name)
        elif isinstance(kind, Sentence):
            form = re.escape(kind(*(f"<{field}>" for field in kind.fields)))
            pattern = re.compile(re.sub("<[A-Za-z_]+>", ".*", form), re.DOTALL)
            codes = [one.code for one in replies if pattern.fullmatch(one)]  # type: ignore[attr-defined]
            missing += [name] * (kind.code not in codes)
    assert missing == []


def test_a_sentence_takes_all_of_its_fields() -> None:
    with pytest.raises(ValueError, match="shorter"):
        sentences.NO_SESSION()


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_no_reply_that_is_not_a_refusal_reads_as_one(verb: str) -> None:
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
        *dict.fromkeys(code for code, _ in READ),
        "bad-request",
    ]
