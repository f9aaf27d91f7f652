"""The table of rights: who may have which line done, and what a refusal says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.wire.commands.authorization import (
    KeysUnknownError,
    as_asked,
    denial_reason,
    partial_status,
)
from raftline.wire.commands.command_table import (
    COMMANDS,
    IN_TRANSACTIONS,
    WRITE,
    Command,
    read_request,
)
from raftline.wire.commands.identity import Identity, identity_of, nobody
from raftline.wire.commands.rights import ADMINISTERS_ALL, LeaseKeys, UserRole
from raftline.wire.commands.transaction_line import read_transaction
from raftline.wire.operands import operands as take
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import escape
from raftline.wire.refusal import error
from raftline.wire.replies.refusals import sentence_of
from raftline_course.controller.orders import ORDERS
from tests.core.typed import LIMITS, command

BOB = identity_of("bob", UserRole.READER, ("app/",))
EVE = identity_of("eve", UserRole.WRITER, ("app/", "web/"))
ALL = identity_of("ann", UserRole.WRITER)
READER = identity_of("ron", UserRole.READER)
ADMIN = identity_of("root", UserRole.ADMIN)
LOGGED = "the right to write, as it is an entry of the log; read with get or show"
LOGGED_GET = "the right to write there, as it is an entry of the log; leave read log out"
DONE = "Nothing was done."
ABOUT_USERS = {
    "user-add": "bob -",
    "user-password": "bob -",
    "user-grant": "bob app",
    "user-revoke": "bob app",
    "role-grant": "app read web/",
}
LEASES = {"lease-5": ["app/x"], "lease-6": ["app/x", "db/y"], "lease-7": []}


def refusal(identity: Identity, line: str) -> str:
    """Return why a typed line is refused, as the node reads it."""
    verb = line.partition(" ")[0]
    is_order = verb in ORDERS
    command = line if is_order else as_asked(read_request("c", "", line, Limits()))
    right = ADMINISTERS_ALL if is_order else None
    return sentence_of(denial_reason(identity, command, lambda lease: LEASES.get(lease, []), right))


def test_an_order_of_a_controller_takes_an_admin_for_all_keys() -> None:
    for identity in (READER, EVE, BOB, nobody(UserRole.WRITER)):
        takes = "it takes the role admin for all keys. Nothing was done."
        assert refusal(identity, "SHUTDOWN") == f"{identity} may not SHUTDOWN: {takes}"
    assert refusal(ADMIN, "SHUTDOWN") == ""


def test_a_row_without_a_right_can_not_be_made() -> None:
    with pytest.raises(TypeError, match="right"):
        Command("getdel", take.KEY, "the value, which is removed", WRITE)  # type: ignore[call-arg]


def test_a_verb_without_a_row_is_refused_for_everybody() -> None:
    for identity in (ADMIN, ALL, EVE, BOB, nobody(UserRole.ADMIN)):
        said = f"{identity} may not getdel: no role allows it. Nothing was done."
        assert denial_reason(identity, "getdel app/x", lambda lease: []) == error(said)


@pytest.mark.parametrize(
    "line",
    ["get app/x", "get app/x read index", "stat app/x", "ttl app/x", "show app/", "show app/x",
     "show app/ after app/b", "watch app/", "watch app/ after 7", "unwatch", "status", "help",
     r"get app/two\swords"],
)  # fmt: skip
def test_a_reader_reads_below_its_prefix(line: str) -> None:
    assert refusal(BOB, line) == ""


@pytest.mark.parametrize(
    ("line", "named", "takes"),
    [
        ("get web/x", "get web/x", "the right to read there"),
        ("get app", "get app", "the right to read there"),
        ("set app/x 5", "set app/x", "the right to write there"),
        ("delete app/x", "delete app/x", "the right to write there"),
        ("setnx app/x 5", "setnx app/x", "the right to write there"),
        ("cas app/x 5 6", "cas app/x", "the right to write there"),
        ("incr app/x", "incr app/x", "the right to write there"),
        ("append app/x 5", "append app/x", "the right to write there"),
        ("setex app/x 5 6", "setex app/x", "the right to write there"),
        ("expire app/x 5", "expire app/x", "the right to write there"),
        ("persist app/x", "persist app/x", "the right to write there"),
        ("under lease-5 set app/x 5", "set app/x", "the right to write there"),
        ("clear app/", "clear app/", "the right to write there"),
        ('machine bank {"a": 1}', "machine", "the right to write for all keys"),
        ("txn get app/x ; set app/y 1", "txn", LOGGED),
        ("txn get app/x", "txn", LOGGED),
        ("txn if app/x = 1 then get app/x", "txn", LOGGED),
        ("txn under lease-5 set app/y 1", "txn", LOGGED),
        ("get app/x read log", "get app/x read log", LOGGED_GET),
        ("stat app/x read log", "stat app/x read log", LOGGED_GET),
        ("show", "show all keys", "the right to read for all keys"),
        ("show web/", "show web/", "the right to read there"),
        ("show ap", "show ap", "the right to read there"),
        ("show after app/x", "show all keys", "the right to read for all keys"),
        ("watch", "watch all keys", "the right to read for all keys"),
        ("watch after 7", "watch all keys", "the right to read for all keys"),
        ("watch app", "watch app", "the right to read there"),
        ("leases", "list the leases", "the right to read for all keys"),
        ("lease 10", "lease", "the right to write"),
        ("renew lease-5", "renew", "the right to write"),
        ("release lease-5", "release", "the right to write"),
        ("session", "write, nor begin a session for that", "the right to write"),
        ("transfer", "transfer", "the role admin"),
        ("backup", "make a backup", "the role admin for all keys"),
        ("backup from 0", "make a backup", "the role admin for all keys"),
        ("users", "list the users", "the role admin"),
        ("remove s2", "remove", "the role admin"),
        ("STORE app/x 5", "STORE", "the role admin for all keys"),
        ("SHUTDOWN", "SHUTDOWN", "the role admin for all keys"),
    ],
)  # fmt: skip
def test_what_a_reader_of_one_prefix_may_not(line: str, named: str, takes: str) -> None:
    said = f"bob may not {named}: it takes {takes}. Nothing was done."
    assert refusal(BOB, line) == said


def test_a_reader_lists_the_members() -> None:
    """A reader of one prefix may, too: a status names the members anyway."""
    assert refusal(BOB, "members") == ""
    assert refusal(nobody(UserRole.READER), "members") == ""
    assert refusal(nobody(UserRole.NONE), "members").startswith(
        "a client without a login may not list the members: "
    )


@pytest.mark.parametrize(
    ("line", "named", "takes"),
    [
        ("txn if db/x = 1 then get app/x", "get db/x", "the right to read there"),
        ("txn if db/x absent then get app/x", "get db/x", "the right to read there"),
        ("txn if db/x unchanged since 5 then get app/x", "get db/x", "the right to read there"),
        ("txn if app/x = 1 then get app/x else get db/y", "get db/y", "the right to read there"),
        ("txn if db/x > 1 then get app/x", "get db/x", "the right to read there"),
        ("txn if db/ has none then get app/x", "show db/", "the right to read there"),
        ("txn if app/x < 1 then clear db/", "clear db/", "the right to write there"),
        ("get db/x read log", "get db/x read log", LOGGED_GET),
    ],
)
def test_a_writer_reads_and_writes_no_other_key_in_a_transaction(
    line: str, named: str, takes: str
) -> None:
    said = f"eve may not {named}: it takes {takes}. Nothing was done."
    assert refusal(EVE, line) == said
    assert refusal(EVE, line.replace("db/", "app/")) == ""


def test_nobody_puts_a_key_under_a_lease_of_others() -> None:
    """Otherwise, its holder could neither renew nor release it, since both need the rights for
    every key."""
    said = (
        "eve may not put a key under lease-6: it takes the right to write for each of its "
        "keys. Nothing was done."
    )
    line = "under lease-6 set app/x 1"
    assert refusal(EVE, line) == refusal(EVE, f"txn set app/y 1 ; {line}") == said
    assert refusal(EVE, "under lease-5 set app/x 1") == refusal(ALL, line) == ""
    assert refusal(EVE, "under lease-7 set app/x 1") == ""  # it has no key


def test_a_writer_writes_below_each_of_its_prefixes_alone() -> None:
    for line in ("set app/x 5", "clear web/", "lease 9"):
        assert refusal(EVE, line) == ""
    assert refusal(EVE, "txn if app/x = 5 then set web/y 1 else delete app/x") == ""
    said = "eve may not set db/x: it takes the right to write there. Nothing was done."
    assert refusal(EVE, "set db/x 5") == refusal(EVE, "under lease-5 set db/x 5") == said
    assert refusal(EVE, "txn set app/x 1 ; set db/x 5") == said


def test_lease_needs_the_right_to_write_all_its_keys() -> None:
    """To end or renew a lease, a user must be allowed to write all of its keys."""
    for verb in ("renew", "release"):
        assert refusal(EVE, f"{verb} lease-5") == refusal(EVE, f"{verb} lease-7") == ""
        assert refusal(EVE, f"{verb} lease-6") == (
            f"eve may not {verb} lease-6: it takes the right to write for each of its keys. "
            "Nothing was done."
        )
        assert refusal(ALL, f"{verb} lease-6") == ""


def test_lease_keys_are_checked_once_a_line() -> None:
    """A lease may have very many keys, and a transaction may name it 256 times."""
    looks: list[str] = []

    def keys_of_lease(lease: str) -> list[str]:
        looks.append(lease)
        return LEASES[lease]

    of_both = " ; ".join(["under lease-5 set app/x 1", "under lease-7 set app/y 1"] * 64)
    line = f"txn if app/x = 1 then {of_both} else {of_both}"
    assert denial_reason(EVE, line, keys_of_lease) == ""
    assert looks == ["lease-5", "lease-7"]
    line = "txn under lease-5 set app/x 1 ; under lease-6 set app/x 1 ; under lease-5 set app/x 2"
    assert "put a key under lease-6" in denial_reason(EVE, line, keys_of_lease)


def test_whether_all_keys_of_a_lease_are_held_is_looked_at_once() -> None:
    """Otherwise, each renewal of a lease takes time proportional to the number of its keys."""
    looks = 0

    class Keys(list[str]):
        def __iter__(self) -> Iterator[str]:
            nonlocal looks
            looks += 1
            return super().__iter__()

    keys = LeaseKeys(Keys(["app/x", "app/y"]))
    for _ in range(3):
        assert denial_reason(EVE, "renew lease-5", lambda lease: keys) == ""
    assert looks == 1
    assert not keys.are_held(("db/",))


def test_nobody_owns_a_lease_whose_keys_may_be_unknown() -> None:
    """A node that may not know all keys of a lease treats nobody as its owner."""
    for line in ("release lease-5", "renew lease-5", "under lease-5 set app/x 1"):
        with pytest.raises(KeysUnknownError):
            denial_reason(EVE, line, lambda lease: None)
        assert denial_reason(ALL, line, lambda lease: None) == ""
        assert "may not" in denial_reason(BOB, line, lambda lease: None)
    assert denial_reason(EVE, "set app/x 1", lambda lease: None) == ""


def test_a_writer_of_all_keys_is_not_an_admin() -> None:
    for verb, row in COMMANDS.items():
        lines = {"add": "add s4 h 1", "replace": "replace s2 s4 h 1", "begin": "begin without s2"}
        line = lines.get(verb, f"{verb} s2")
        line = verb if verb in ("members", "backup", "observe", "users", "sum") else line
        if verb in ABOUT_USERS:
            line = f"{verb} {ABOUT_USERS[verb]}"
        if row.right.role is UserRole.ADMIN:
            assert "it takes the role admin" in refusal(ALL, line), verb
            assert refusal(ADMIN, line) == ""


def test_a_reader_of_all_keys_writes_nothing() -> None:
    said = "ron may not set a: it takes the right to write there. Nothing was done."
    assert refusal(READER, "set a 1") == said
    for line in ("txn get b ; set a 1", "txn get b"):
        refused = f"ron may not txn: it takes {LOGGED}. {DONE}"
        assert refusal(READER, line) == refused
    assert refusal(READER, "get a read log") == (
        f"ron may not get a read log: it takes {LOGGED_GET}. {DONE}"
    )
    assert refusal(READER, "show") == refusal(READER, "leases") == refusal(READER, "watch") == ""


def test_an_admin_of_one_prefix_has_no_backup_of_all() -> None:
    admin = identity_of("kim", UserRole.ADMIN, ("app/",))
    assert refusal(admin, "members") == refusal(admin, "set app/x 1") == ""
    assert "it takes the role admin for all keys" in refusal(admin, "backup")
    assert "may not set web/x" in refusal(admin, "set web/x 1")


def test_without_a_login_nothing_but_help_is_there_by_default() -> None:
    for line in ("get a", "status", "show", "watch", "set a 1", "members", "lease 5", "session"):
        assert refusal(nobody(UserRole.NONE), line).startswith("a client without a login may not ")
    assert (
        refusal(nobody(UserRole.NONE), "help") == refusal(nobody(UserRole.NONE), "login a b") == ""
    )
    assert refusal(nobody(UserRole.ADMIN), "remove s2") == ""


@given(st.text(max_size=6), st.text(min_size=1, max_size=6))
def test_a_key_is_below_a_prefix_where_its_bytes_begin_so(prefix: str, key: str) -> None:
    who = identity_of("bob", UserRole.READER, (escape(prefix, key=True),))
    begins = key.encode().startswith(prefix.encode())
    assert (refusal(who, f"get {escape(key, key=True)}") == "") is begins


def test_a_status_in_part_names_the_members_and_no_count() -> None:
    status = '"name": "s1", "members": {"s1": "h:1"}, "term": 2'
    whole = f'STATUS response: {{"last_index": 9, "voters": ["s1"], {status}}}'
    assert partial_status(whole) == f"STATUS response: {{{status}}}"


@pytest.mark.parametrize("verb", IN_TRANSACTIONS)
def test_outline_of_a_transaction_names_the_same_keys(verb: str) -> None:
    """Rights are checked by an outline without values, which must agree with what is applied: each
    operation is a prefix of the whole one, up to the end of its keys."""
    samples = {
        "object": r'object \x6b dict.put "a" 1', "under": r"under lease-5 set \x6b a\sb",
        "setex": r"setex k\s2 1.50 \x41", "cas": r"cas \x3b a b", "incr": "incr k 5",
        "expire": "expire k 5", "append": r"append k \e", "set": r"set \x74hen then\s",
        "enqueue": r"enqueue k\x2f a\sb",
    }  # fmt: skip
    text = samples.get(verb) or f"{verb} {' '.join(['k'] * len(IN_TRANSACTIONS[verb].needed))}"
    entry = command(f"txn if k = x ; k2 absent then {text} ; {text} else {text}")
    operands = entry.partition(" ")[2]
    whole = read_transaction(operands, IN_TRANSACTIONS, LIMITS)
    outline = read_transaction(operands, IN_TRANSACTIONS, LIMITS, with_values=False)
    assert [(one.key, one.test) for one in outline.conditions] == [("k", "="), ("k2", "absent")]
    for ours, its in zip(
        outline.then + outline.otherwise, whole.then + whole.otherwise, strict=True
    ):
        assert f"{its} ".startswith(f"{ours} ")
        count = 4 if verb == "under" else 2
        assert ours.split(" ")[:count] == its.split(" ")[:count]
