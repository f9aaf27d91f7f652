"""Entries with commands of Redis: each has the same effect at every node, whatever is in it."""

from __future__ import annotations

import decimal
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.node.loop.quota import needs_room
from raftline.raft.log import Entry
from raftline.raft.membership import all_vote
from raftline.redis.resp import entry
from raftline.redis.resp.entry import answers_in, format_answer, format_entry, read_entry
from raftline.redis.resp.forms import ReplyFormatter, value_of
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.limits import REDIS_ARGUMENTS, REDIS_QUEUED
from raftline.redis.resp.replies import OK, Failure, Pairs, Simple, Value, format_reply
from raftline.redis.resp.session import RedisSession
from raftline.state.commands.key_commands import TRIALS, execute
from raftline.state.commands.machines import Machines
from raftline.state.commands.replicated_state import ReplicatedState
from raftline.state.store import Store
from raftline.state.work import is_long, is_quick
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.identity import Identity
from raftline.wire.commands.transaction_line import format_word
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError

pytestmark = pytest.mark.pure
VERIFIER = f"SCRAM-SHA-256$4096:{'A' * 22}==${'A' * 43}=:{'A' * 43}="
BYTES = st.binary(max_size=6).map(lambda data: data.decode("utf-8", "surrogateescape"))
WORDS = st.sampled_from(
    ["a", "b", "1", "-1", "1.5", "1e400", "inf", "x", "", ";", "then", "GT", "XX", "EX", "10",
     "2", "*", "STREAMS", "MAXLEN", "LEFT", "MIN",
     "GET", "KEEPTTL", "REPLACE", "PXAT", "IFEQ", "9" * 30]
) | BYTES  # fmt: skip


class Applied:
    """A store to which entries are applied in order."""

    def __init__(self, *lines: str) -> None:
        self.store = Store(is_at_floor=False)
        self.replies = [self.apply(line) for line in lines]

    def apply(self, line: str) -> str:
        self.store.number += 1
        return execute(self.store, line)

    def answers(self, *commands: str, more: str = "") -> list[Value] | None:
        """Return the replies to commands of one entry."""
        return answers_in(self.apply(f"redis 1000 {more}{' ; '.join(commands)}"))


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    row = FUNCTIONS[draw(st.sampled_from(sorted(FUNCTIONS)))]
    least = abs(row.arity) - 1
    count = least if row.arity > 0 else least + draw(st.integers(0, 3))
    return [row.name, *draw(st.lists(WORDS, min_size=count, max_size=count))]


@given(st.lists(st.lists(commands(), min_size=1, max_size=4), max_size=6))
def test_entries_never_raise_and_lead_to_one_state(entries: list[list[list[str]]]) -> None:
    lines = [format_entry(1000, each) for each in entries]
    one = Applied(*lines)
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP, Emax=9, Emin=-9)):
        other = Applied(*lines)
    assert (one.store.held, one.replies) == (other.store.held, other.replies)
    assert one.store.leased == other.store.leased
    assert not any(reply.startswith("Sorry, raftline") for reply in one.replies)


@given(st.lists(commands(), min_size=1, max_size=4))
def test_an_entry_has_one_form(some: list[list[str]]) -> None:
    line = format_entry(1000, some, ["a unchanged since 5 under none"], {"own-3-10": 200})
    assert read_request("", "", line, Limits()).command == line
    assert read_entry(line.removeprefix("redis ")).commands == some


@pytest.mark.parametrize(
    "line",
    [
        "redis", "redis x GET a", "redis 5", "redis 5 NOPE a", "redis 5 GET", "redis 5 GET a b",
        "redis 5 GET a ;", "redis 5 if then GET a", "redis 5 if a absent", "redis 5 GET a  b",
        "redis 5 if app/ has keys then GET a", "redis 5 own-1-1=0 GET a", r"redis 5 GET \q",
        "redis 5 KEYS a", "redis 5 " + " ; ".join(["GET a"] * (REDIS_QUEUED + 1)),
        "redis 5 DEL " + " ".join(map(str, range(REDIS_ARGUMENTS + 1))),
    ],
)  # fmt: skip
def test_malformed_entry_is_refused_and_changes_nothing(line: str) -> None:
    with pytest.raises(ProtocolError):
        read_request("", "", line, Limits())
    applied = Applied("set a 1", line)
    assert applied.replies[1].startswith("Sorry, ")
    assert dict(applied.store) == {"a": "1"}


def test_a_command_that_fails_changes_nothing() -> None:
    """It fails after a part of it was done, and the others do not notice."""
    applied = Applied("set a 1")
    wrong = f"SET a 2 PXAT {1 << 50}"
    done = applied.answers(wrong, "INCR a")
    assert done is not None
    assert (type(done[0]), done[1]) == (Failure, 2)


def test_a_key_keeps_its_lease() -> None:
    applied = Applied("lease 10", "under lease-1 set a 1", "setex b 10 1")
    applied.answers("APPEND a 2", "INCRBYFLOAT a 0.5", "SET a x KEEPTTL", "RENAME b c", "COPY c d")
    leases = {key: applied.store.lease_of(key) for key in applied.store}
    assert leases == {"a": "lease-1", "c": "own-3-10", "d": "own-3-10"}
    applied.apply("expired 0 own-3-10")
    assert list(applied.store) == ["a"]


def test_a_copy_is_under_no_lease_that_others_hold() -> None:
    """A key under it could keep its holder from renewing it."""
    applied = Applied("lease 10", "under lease-1 set a 1")
    applied.answers("COPY a b", more="lease-1=4000 ")
    assert applied.store.lease_of("b") == "own-3-4"
    applied.answers("COPY a b REPLACE")
    assert applied.store.lease_of("b") == "own-4-10", "a lease never ends early"


def test_a_time_is_never_more_than_that_of_the_lease() -> None:
    applied = Applied("setex a 10 1")
    assert applied.answers("PTTL a", more="own-1-10=4000 ") == [4000]
    assert applied.answers("PTTL a", more="own-1-10=40000 ") == [10_000]
    assert applied.answers("PTTL a", "EXPIRETIME a") == [10_000, 11]


def test_each_changed_key_has_one_event() -> None:
    applied = Applied("set a 1")
    applied.store.notes_events = True
    applied.answers("SET b 1", "DEL b", "APPEND a 2", "EXPIRE a 10", "SET c 1", "DEL a")
    events = applied.store.take_events().events
    assert [event[1:3] for event in events] == [("delete", "a"), ("set", "c")]


def test_a_condition_that_does_not_hold_ends_the_entry() -> None:
    applied = Applied("set a 1", "setex b 10 1")
    held = "if a unchanged since 1 under none ; b unchanged since 2 under own-2-10 then "
    assert applied.answers("INCR a", more=held) == [2]
    assert applied.answers("INCR a", more=held) is None
    assert applied.apply("redis 5 if c absent since 2 then").endswith(": []")
    assert applied.apply("redis 5 if c absent since 99 then").startswith("Sorry, ")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "by", "total"),
    [
        ("1", "1e-400", "1"), ("1", "1e999999999999", None), ("1", "-1e" + "9" * 50, None),
        ("0e999999999", "1", "1"), ("1", "1e-" + "9" * 50, "1"), ("1e308", "0", "1" + "0" * 308),
        ("1e308", "1e308", None), ("-0", "-0", "0"), (".5", "1.", "1.5"), ("+1", "+2", "3"),
        ("1", "1E+0002", "101"), ("inf", "-inf", None), ("-Infinity", "1", None),
        ("0.1", "0.2", "0.3"), ("1", "1e-17", "1.00000000000000001"), ("1", "4e-18", "1"),
    ],
)  # fmt: skip
def test_a_sum_is_the_same_with_any_exponent(value: str, by: str, total: str | None) -> None:
    applied = Applied(f"set n {value}")
    problem = Failure("ERR increment would produce NaN or Infinity")
    assert applied.answers(f"INCRBYFLOAT n {by}") == [problem if total is None else total]


@pytest.mark.parametrize(
    "text", ["1_0", "nan", "snan", "e5", "1e", "1e+-5", "0x1", "١", "1 ", "--1"]
)
def test_malformed_number_is_refused(text: str) -> None:
    entry = format_entry(5, [["INCRBYFLOAT", "n", text]])
    assert answers_in(Applied(entry).replies[0]) == [Failure("ERR value is not a valid float")]


def test_options_have_letters_of_ascii() -> None:
    """The capitals of other letters depend on the version of Python."""
    entry = format_entry(5, [["SET", "a", "1", "ıfeq", "1"]])
    assert answers_in(Applied(entry).replies[0]) == [Failure("ERR syntax error")]


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "frees"),
    [
        ("DEL a b", True), ("DEL a ; GETDEL b ; GET c", True), ("DELEX a IFEQ ;x", True),
        ("if a absent ; b absent since 4 then DEL a", True), ("DEL a ; SET a 1", False),
        ("RENAME a b", False), ("if a absent then SET a 1", False), ("APPEND DEL a", False),
        ("EVALSHA x 1 a b", False), ("EVALSHA_RO x 1 a b ; DEL a", True),
        ("LMPOP 1 a LEFT ; XTRIM b MAXLEN 0", True), ("XADD a MAXLEN 0 * b 1", False),
        ("EVAL_RO x 1 a", False), ("EVALSHA_RO x 1 a b ; SET a 1", False),
    ],
)  # fmt: skip
def test_an_entry_that_only_frees_needs_no_room(line: str, frees: bool) -> None:
    assert needs_room(f"redis 5 {line}") is not frees
    assert needs_room(f"bob@redis 5 {line}") is not frees


def test_an_entry_that_may_copy_much_is_long() -> None:
    store = Store({"big": "x" * 60_000 + "\0001", "small": "1\0002"}, is_at_floor=False)
    assert is_quick(store, ["redis 5 INCRBYFLOAT small 1", "redis 5 INCR small ; EXPIRE small 9"])
    assert not is_long(store, ["redis 5 APPEND small x"])
    for commands_ in (
        "APPEND big x ; APPEND big x",
        "COPY big k ; APPEND k 1",
        "SETRANGE k 999999 x",
        "EVAL x 0",
        f"EVALSHA {'0' * 40} 90 {' '.join(map(str, range(90)))} {'x' * 9000} 1000",
    ):
        assert is_long(store, [f"redis 5 {commands_}"]), commands_


def state_of_bob(reads: str, writes: str) -> ReplicatedState:
    """Return a state with a user who may read and write these keys."""
    state = ReplicatedState(all_vote({}), Machines())
    commands = [
        f"cluster {'0' * 16} level 1", f"user-add root {VERIFIER} admin", "role-add own",
        f"role-grant own read {reads}", f"role-grant own write {writes}", "user-add bob - own",
    ]  # fmt: skip
    state.apply([Entry(place, 1, each) for place, each in enumerate(commands, 1)])
    return state


def test_an_entry_counts_for_its_user() -> None:
    state = state_of_bob("r/", "w/")
    state.apply([Entry(20, 1, "bob@redis 5 SET w/a 1 EX 5")])
    facts = state.store.facts("w/a")
    assert facts is not None
    assert facts.user == "bob"


def test_trial_of_a_script_has_the_rights_of_its_user() -> None:
    """Whether it is refused would tell what is there."""
    state = state_of_bob("r/", "w/")
    state.store["r/a"] = state.store["x/a"] = "5"
    for key in ("r/a", "x/a"):
        text = f"if redis.call('get', '{key}') == '5' then return string.rep('x', 1e8) end"
        _, _, operands = format_entry(5, [["EVAL", text, "0"]]).partition(" ")
        why = TRIALS["redis"].why_refused(state.store, nullcontext(), operands, "bob")
        assert bool(why) is (key == "r/a"), why


@pytest.mark.parametrize(
    ("call", "is_allowed"),
    [
        ("'set', 'w/' .. 'a', 1", True), ("'set', 'x/' .. 'a', 1", False),
        ("'get', 'r/' .. 'a'", True), ("'get', 'w/' .. 'a'", False),
        ("'set', 'r/a', 1", False), ("'rename', 'x/a', 'w/a'", False),
        ("'mset', 'w/a', 1, 'x/a', 2", False), ("'del', 'x/a'", False), ("'get', 'x/a'", False),
    ],
)  # fmt: skip
def test_script_has_its_user_s_rights_for_keys_that_it_computes(
    call: str, is_allowed: bool
) -> None:
    state = state_of_bob("r/", "w/")
    state.store["x/a"] = "5"
    before = dict(state.store)
    text = f"return redis.pcall({call})"
    (reply,) = state.apply([Entry(20, 1, f"bob@{format_entry(5, [['EVAL', text, '0']])}")])
    (value,) = answers_in(reply) or [None]
    is_refused = isinstance(value, Failure) and value.startswith("NOPERM ")
    assert is_refused is not is_allowed, reply
    changed = {key for key, each in state.store.items() if before.get(key) != each}
    scripts = {key for key in changed if key.startswith("redis-script:")}
    assert changed - scripts <= ({"w/a"} if is_allowed else set())
    assert state.store["x/a"] == "5"


# --- rights ---------------------------------------------------------------------------------------


def denied(line: str, reads: tuple[str, ...], writes: tuple[str, ...]) -> str:
    identity = Identity("bob", reads=reads, writes=writes)
    return denial_reason(identity, f"redis 5 {line}", lambda lease: [])


@pytest.mark.parametrize(
    ("line", "reads", "writes"),
    [
        ("DEL a b", "", "a b"), ("MSET a 1 b 2", "", "a b"), ("APPEND a 1", "", "a"),
        ("SET a 1 EX 5", "", "a"), ("SET a 1 GET", "a", "a"), ("GETSET a 1", "a", "a"),
        ("COPY a b", "a", "b"), ("RENAME a b", "a", "a b"), ("GET a ; DEL b", "a", "b"),
        ("if a absent then DEL b", "a", "b"), ("EVAL x 1 a b", "a", "a"),
        ("EVALSHA x 2 a b c", "a b", "a b"),
        ("EVALSHA_RO x 1 a x ; DEL b", "a", "b"),
    ],
)  # fmt: skip
def test_an_entry_takes_the_rights_of_its_keys(line: str, reads: str, writes: str) -> None:
    may_read, may_write = tuple(reads.split()), tuple(writes.split())
    assert not denied(line, may_read, may_write)
    for key in may_read:
        others = tuple([each for each in may_read if each != key])
        assert "bob may not" in denied(line, others, may_write)
    for key in may_write:
        others = tuple([each for each in may_write if each != key])
        assert "bob may not" in denied(line, may_read, (*others, "z"))


def test_rights_are_checked_where_an_entry_is_applied() -> None:
    """A right may have ended since the line was admitted."""
    (reply,) = state_of_bob("r/", "w/").apply([Entry(20, 1, "bob@redis 5 COPY r/a r/b")])
    assert "bob may not" in reply


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "text",
        "\udcff\n",
        OK,
        Simple("none"),
        Failure("ERR no"),
        [None, "a", [1]],
        Pairs("keyed", [("a", [["1-1", ["b", "c"]]])]),
    ],
)
def test_replies_round_trip(value: Value) -> None:
    (found,) = answers_in(f"REDIS response: [{format_answer(value)}]") or []
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "commands_",
    [
        "INCR n ; EXPIRE n 60", "SET k v", "MSET a 1 b 2", "DEL if then", "GET =", "INCR n ;",
        "INCR n ; ; INCR m", "; INCR n", "INCR", "INCR n m", "SET k  v", "SET k ", "", "incr n",
        "NOPE n", "SET k ;", r"SET k \e", r"SET k \x3b", "lease-1=5 INCR n", "SET k v=1",
        " ; ".join(["DEL k"] * 600),
    ],
)  # fmt: skip
def test_short_entry_is_read_as_a_long_one(commands_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short one without escapes is read in another way."""

    def outcome() -> object:
        try:
            return read_entry(f"5 {commands_}")
        except ProtocolError as problem:
            return problem.refusal

    short = outcome()
    monkeypatch.setattr(entry, "_PLAIN", 0)
    assert outcome() == short


@given(st.lists(st.sampled_from(["a", "b c", "", ";", "then", "\\", "é", "\n", "1"]), min_size=1))
def test_command_is_written_word_by_word(words: list[str]) -> None:
    formatted = format_entry(5, [["DEL", *words]])
    assert formatted == f"redis 5 DEL {' '.join(map(format_word, words))}"


@pytest.mark.parametrize("form", ["redis", "exec:", "exec::", "exec:3:", "publish:2"])
@pytest.mark.parametrize(
    "answers", ["[1]", "[-5, 70]", '["1"]', "[1, null]", "[]", "[[1]]", '[{"status": "OK"}]']
)
def test_numbers_are_written_as_any_reply(form: str, answers: str) -> None:
    """The replies to commands that all returned numbers are written without reading each."""
    reply = f"REDIS response: {answers}"
    count = form.count(":") if form.startswith("exec") else 1
    if len(answers_in(reply) or []) != count:
        return
    formatted = ReplyFormatter(RedisSession(1), lambda: None).format("s1", f"{form} k", reply)
    assert formatted == format_reply(value_of(form, "k", reply), 2)
