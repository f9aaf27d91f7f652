"""No user reaches another user's keys and leases, at whatever place of the grammar they stand.

Lines are derived from docs/develop/grammar.abnf by seeded chance, with keys, prefixes, leases and
claims of both users at each place. The state after the entry decides, not the table of rights.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from raftline.access.users import make_verifier
from raftline.logmanager import LogManager
from raftline.raft.log import Entry
from raftline.state.store import Store
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.command_row import Command
from raftline.wire.commands.command_table import COMMANDS, WRITE, read_request
from raftline.wire.commands.rights import (
    COVERED,
    READS_KEY,
    WRITES,
    WRITES_CLAIM,
    WRITES_KEY,
    WRITES_LEASE,
    WRITES_PREFIX,
    Right,
    Touches,
    UserRole,
)
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.operands import ALL_KEYS, Limits, Operands
from raftline.wire.protocol import ProtocolError
from raftline_testing.abnf_grammar import Dealer, Grammar
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS
from raftline_testing.grammar_dealers import DEALERS, GRAMMAR
from raftline_testing.runner.at_night import at_night

VERIFIER = str(make_verifier("correct horse", ITERATIONS_LEAST))
RIGHTS = {"reader": "read", "writer": "write", "both": "readwrite"}
OF_ANN, OF_BOB, EMPTY = "lease-20", "lease-21", "lease-22"
VALUES = {"ann": "5", "bob": "5"}
LINES = 15  # of one verb


def state(values: dict[str, str] = VALUES) -> LogManager:
    """Return a state in which ann and bob have keys, leases, a lock and a queue each. Users with
    each kind of right have it for bob/ alone."""
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    commands = ["cluster 9f86d081884c7d65 level 1", f"user-add root {VERIFIER} admin"]
    for name, right in RIGHTS.items():
        commands += [f"role-add {name}s", f"role-grant {name}s {right} bob/"]
        commands.append(f"user-add {name} {VERIFIER} {name}s")
    commands.append(f"user-add nobody {VERIFIER}")
    commands += ["noop"] * (19 - len(commands)) + ["lease 60", "lease 60", "lease 60"]
    for owner, lease in (("ann", OF_ANN), ("bob", OF_BOB)):
        value = values[owner]
        commands += [
            f"set {owner}/a {value}",
            f'set {owner}/o {{"k":{value}}}',
            f"under {lease} set {owner}/session {value}",
        ]
        if "hold" in COMMANDS:
            commands += [
                f"hold {owner}/l/ alone {lease} {value}",
                f"enqueue {owner}/q/ {value}",
                f"enqueue {owner}/q/ {value}",
                f"dequeue {owner}/q/ 2 0 now {lease}",
            ]
    manager.apply([Entry(place, 1, each) for place, each in enumerate(commands, 1)])
    assert set(manager.store.leased[OF_ANN]) >= {"ann/session"}
    return manager


def named(*choices: str) -> Dealer:
    return lambda grammar, chance: chance.choice(choices)


LEASES = (OF_ANN, OF_BOB, OF_BOB, EMPTY)
KEYS = (
    *["bob/a", "bob/new", "bob/o", "bob/session"] * 3,
    *["ann/a", "ann/new", "ann/o", "ann/session"],
)
PREFIXES = ("bob/q/", "bob/q/", "bob/l/", "bob/new/", "ann/q/", "ann/l/", "ann/new/")
NUMBERS = ("1", "27", "28", "29", "34", "35", "36")  # of the jobs, and their tokens


def on_a_key(grammar: Grammar, chance: random.Random) -> str:
    """Return a condition that often is on the value of a key of bob, so that both branches are
    reached, and now and then on one of ann."""
    if chance.random() < 0.5:
        return f"{chance.choice(['bob/a', 'bob/a', 'ann/a'])} = {chance.choice('57')}"
    return grammar.derive("on-a-key", chance, PLAIN)


PLAIN: dict[str, Dealer] = {
    **DEALERS,
    "key": named(*KEYS),
    "key-prefix": named(*PREFIXES),
    "lease-name": named(*LEASES),
    "claim": named(*LEASES, f"{OF_ANN}/1", f"{OF_BOB}/1"),
    "positive": named(*NUMBERS),
    "value": named("5", "7"),
    "old": named("5", "7"),
    "value-word": named(*KEYS, "5", "7", "1"),
    "seconds": named("9"),
    "operation-name": named('dict.take "k"', 'dict.put "k" 1', "dict.clear"),
    "tx-object-do": named(r'dict.take "k"', r'dict.put "k"\s1', "dict.clear"),
    "machine": named("machine bank 1"),
}  # fmt: skip
HERE: dict[str, Dealer] = {**PLAIN, "on-a-key": on_a_key}


def outcome(line: str, user: str, values: dict[str, str]) -> tuple[str, Store]:
    manager = state(values)
    (reply,) = manager.apply([Entry(100, 1, f"{user}@{line}")])
    return reply, manager.store


def part(store: Store, owner: str) -> dict[str, str]:
    return {key: text for key, text in store.held.items() if key.startswith(f"{owner}/")}


def check(line: str, user: str) -> str:
    """Assert what a line of a user must leave alone; return the reply."""
    before, (reply, after) = state().store, outcome(line, user, VALUES)
    said = f"{user}: {line}: {reply}"
    assert part(after, "ann") == part(before, "ann"), said
    assert after.leased[OF_ANN] == before.leased[OF_ANN], f"a key is under her lease: {said}"
    assert reply == outcome(line, user, {**VALUES, "ann": "7"})[0], f"it shows hers: {said}"
    if user in ("reader", "nobody"):
        assert part(after, "bob") == part(before, "bob"), said
        assert after.leased == before.leased, said
    if user in ("writer", "nobody"):
        assert reply == outcome(line, user, {**VALUES, "bob": "7"})[0], f"it shows a value: {said}"
    return reply


def derived(rule: str, chance: random.Random) -> str:
    return GRAMMAR.derive(rule, chance, HERE)


ENTRIES = [
    verb
    for verb, row in COMMANDS.items()
    if verb not in ("session", "forget")
    and (row.handling.kind == "write" or verb in ("get", "stat", "read"))
    and row.right.role < UserRole.ADMIN
]


@pytest.mark.parametrize("count", [LINES, *at_night(40 * LINES)])
@pytest.mark.parametrize("verb", ENTRIES)
def test_no_entry_reaches_the_keys_of_others(verb: str, count: int) -> None:
    """Each verb, each branch of a transaction and each place of an entry `redis` is tried."""
    chance, kinds = random.Random(f"{verb} {count}"), Counter[str]()
    for _ in range(count * (8 if COMMANDS[verb].right.touches is Touches.PARTS else 1)):
        typed = derived(verb, chance).partition(" read ")[0]
        try:
            line = read_request("c", "", typed, Limits()).command
        except ProtocolError:
            continue
        for user in (*RIGHTS, "nobody"):
            reply = check(line, user)
            kinds[f"{user} {'may not' in reply}"] += 1
    assert kinds["nobody True"] or verb == "lease"
    assert kinds["both False"] or verb == "machine", kinds  # else nothing was tried


SAMPLES = {"INDEX": "7", "SECONDS": "9", "BY": "1", "OLD": "5", "VALUE": "5", "NEW": "5"}


def words_of(verb: str, owner: str) -> list[str]:
    """Return a line of the verb whose operands are of this user."""
    form = COMMANDS[verb].operands.form.replace("[", "").replace("]", "").replace("with index", "")
    of_owner = {"KEY": f"{owner}/a", "PREFIX": f"{owner}/", "LEASE": OF_ANN}
    return [verb, *(of_owner.get(word) or SAMPLES.get(word, word) for word in form.split())]


@pytest.mark.parametrize("verb", ["get", "stat", "read", "ttl", "show", "watch", "renew"])
def test_no_read_names_a_key_of_others(verb: str) -> None:
    store = state().store
    for name in (*RIGHTS, "nobody"):
        identity = store.users.identity(name)
        reply = denial_reason(identity, " ".join(words_of(verb, "ann")), store.keys_of)
        assert f"{name} may not" in reply
    if verb != "renew":
        line = " ".join(words_of(verb, "bob"))
        assert denial_reason(store.users.identity("reader"), line, store.keys_of) == ""
        assert "may not" in denial_reason(store.users.identity("writer"), line, store.keys_of)


def test_each_command_for_users_is_tried() -> None:
    """A command in neither test takes no key, or all of them."""
    rest = {verb for verb, row in COMMANDS.items() if row.right.role < UserRole.ADMIN}
    rest -= {*ENTRIES, "ttl", "show", "watch", "renew"}
    assert {COMMANDS[verb].right.touches for verb in rest} <= {Touches.NOTHING, Touches.EVERY}


@pytest.mark.parametrize(
    ("form", "keys", "right"),
    [
        ("KEY NEW", ALL_KEYS, WRITES_KEY), ("KEY TO VALUE", 2, WRITES_KEY),
        ("KEY [KEY]", ALL_KEYS, WRITES_KEY), ("KEY PREFIX", ALL_KEYS, WRITES_KEY),
        ("KEY LEASE", ALL_KEYS, WRITES_KEY), ("PREFIX CLAIM", ALL_KEYS, WRITES_PREFIX),
        ("PREFIX [as CLAIM] CLAIM", ALL_KEYS, WRITES_CLAIM), ("LEASE KEY", ALL_KEYS, WRITES_LEASE),
        ("KEY", ALL_KEYS, WRITES), ("PREFIX", ALL_KEYS, READS_KEY), ("SECONDS", 0, WRITES_KEY),
    ],
)  # fmt: skip
def test_a_row_names_nothing_without_a_right(form: str, keys: int, right: Right) -> None:
    """A row whose form names a key that its right does not cover can not be made."""
    with pytest.raises(ValueError, match="nothing says which keys"):
        Command("rename", Operands(form, lambda v, o, _: f"{v} {o}", keys), "", WRITE, right)


def test_a_row_with_two_keys_takes_the_right_to_both() -> None:
    operands = Operands("KEY KEY", lambda v, o, _: f"{v} {o}", ALL_KEYS)
    row = Command("rename", operands, "", WRITE, WRITES_KEY)
    assert [name.text for name in row.operands.named_in("rename a/x b/y")] == ["a/x", "b/y"]
    with pytest.raises(ProtocolError):
        row.operands.named_in("rename a/x")


def test_each_way_to_touch_keys_says_what_it_covers() -> None:
    assert {*COVERED, Touches.EVERY} == set(Touches)
