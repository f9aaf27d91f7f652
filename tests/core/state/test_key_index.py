"""The keys with a prefix, found in order; what a look at all keys would find."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raftline.state import key_index
from raftline.state.commands.key_commands import execute
from raftline.state.key_index import KeyIndex
from raftline.state.store import Store
from raftline.wire.protocol import real

KEYS = st.text("ab/", min_size=1, max_size=4)
FORMATTED = st.sampled_from([r"\xe4a", r"\xe4", "a\U0010ffff", "ab", r"a\\b"])


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "RUN_KEYS", 4)


class SameAsALook(RuleBasedStateMachine):
    """Keys come and go in any order, also several by one transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(is_at_floor=False)
        self.store.number = 1

    @rule(key=KEYS | FORMATTED)
    def put(self, key: str) -> None:
        execute(self.store, f"set {key} 1")

    @rule(key=KEYS | FORMATTED)
    def drop(self, key: str) -> None:
        execute(self.store, f"delete {key}")

    @rule(prefix=KEYS)
    def clear(self, prefix: str) -> None:
        count = len([key for key in self.store if key.startswith(prefix)])
        assert execute(self.store, f"clear {prefix}").startswith(f"CLEAR response: {count} key")

    @rule(added=KEYS, gone=KEYS, prefix=KEYS)
    def change_together(self, added: str, gone: str, prefix: str) -> None:
        keys = {*self.store, added} - {gone}
        count = len([key for key in keys if key.startswith(prefix)])
        reply = execute(self.store, f"txn set {added} 1 ; delete {gone} ; clear {prefix}")
        assert f"{count} key" in reply.rpartition('", "')[2]

    @rule(prefix=KEYS | FORMATTED)
    def look(self, prefix: str) -> None:
        expected = [key for key in self.store if key.startswith(prefix)]
        if "\\" in prefix:
            expected = [key for key in expected if real(key).startswith(real(prefix))]
        assert self.store.has_keys_under(prefix) == bool(expected)
        assert sorted(self.store.keys_under(prefix)) == sorted(expected)

    @invariant()
    def is_bounded(self) -> None:
        assert self.store.unsorted <= 2 * len(self.store) + 5001


TestSameAsALook = SameAsALook.TestCase


def test_a_look_at_few_keys_leaves_the_others_alone() -> None:
    """Otherwise, one client's conditions on a prefix take time proportional to the keys of all
    others."""

    class Asked(dict[str, str]):
        count = 0

        def __contains__(self, key: object) -> bool:
            self.count += 1
            return super().__contains__(key)

    held = Asked({f"ann/{number}": "" for number in range(100)} | {"bob/1": "", "bob/2": ""})
    index = KeyIndex(held)
    assert not index.has_any("bob/x", held, bool, lambda: None)
    assert sorted(index.under("bob/", held, lambda: None)) == ["bob/1", "bob/2"]
    assert held.count == 2


def test_what_has_gone_is_met_once() -> None:
    held = {f"bob/{number}": "" for number in range(100)}
    index = KeyIndex(held)
    held.clear()
    assert not index.has_any("bob/", held, bool, lambda: None)
    assert index.count == 0
