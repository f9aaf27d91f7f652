"""The reports of watches of recipes, and the bounds of a queue's requests, whatever comes in any
order."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.clients.calls.calls import CALLS
from raftline.clients.calls.transaction import TransactionPlan
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.watches.watch_events import Event
from raftline.recipes.groups.party_steps import MemberChanges, PartyKeys, in_order
from raftline.recipes.locks.claims import News, NoneLeft
from raftline.recipes.queues.queue_steps import _end_of
from raftline.wire.limits import TRANSACTION_ITEMS
from raftline_testing.runner.at_night import at_night

SEEDS = pytest.mark.parametrize(("first", "count"), [(0, 40), *at_night((40, 4000))])
KEYS = PartyKeys("night", "party")
MEMBERS = [KEYS.seat_prefix(f"lease-{number}/1") for number in range(1, 6)]
OTHERS = [f"{KEYS.prefix}gone/lease-1/1", f"{KEYS.members}x/lease-1"]


class Party:
    """The members by key, each with its value and the entry by which it joined."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.index = chance, 0
        self.members: dict[str, tuple[str, int]] = {}
        for _ in range(chance.randint(0, 8)):
            self.change()

    def change(self) -> Event[str]:
        self.index += 1
        key = self.chance.choice([*MEMBERS, *OTHERS])
        if self.chance.random() < 0.6:
            self.members.pop(key, None)
            self.members[key] = f"v{self.index}", self.index
            return Event(self.index, "set", key, f"v{self.index}")
        self.members.pop(key, None)
        return Event(self.index, self.chance.choice(["delete", "expire"]), key, None)

    def listing(self) -> list[Event[str]]:
        return [
            Event(self.index, "has", key, value) for key, (value, _) in sorted(self.members.items())
        ]

    def joined(self) -> Any:
        """Return all keys with their versions, in the order of their bytes."""
        return [
            (key, SimpleNamespace(index=index, value=value))
            for key, (value, index) in sorted(self.members.items())
        ]

    def texts(self) -> list[str]:
        those = sorted(
            (index, value) for key, (value, index) in self.members.items() if key in MEMBERS
        )
        return [value for _, value in those]


@SEEDS
def test_party_is_reported_in_the_order_of_joining(first: int, count: int) -> None:
    """Each change is reported once, also if the watch begins again."""
    for seed in range(first, first + count):
        party = Party(random.Random(seed))
        changes, reported = MemberChanges(KEYS), None
        come = party.listing()
        listed = {event.key for event in come if event.key in MEMBERS}  # and not ordered since
        unlisted = SimpleNamespace(is_listed=False, _take_ready=list)
        for _ in range(12):
            watch = SimpleNamespace(is_listed=True, _take_ready=lambda: come)  # noqa: B023
            expected = party.texts()
            assert changes.take(watch) or reported == expected, seed
            assert not changes.take(unlisted)
            assert changes.are_unordered is (bool(listed) and len(expected) > 1)
            if changes.are_unordered:
                changes.order(in_order(KEYS, party.joined()))
                listed.clear()
            assert changes.report() == expected, seed
            reported = expected
            come = []
            assert not changes.take(watch)
            come = [party.change() for _ in range(party.chance.randint(1, 3))]
            listed -= {event.key for event in come}


@SEEDS
def test_news_are_what_a_condition_is_asked_for_again(first: int, count: int) -> None:
    for seed in range(first, first + count):
        chance, only = random.Random(seed), [None, "a"][seed % 2]
        news, left, there = News("p/"), NoneLeft("p/", only), set[str]()
        assert news.prefix == left.prefix == "p/"
        for _ in range(30):
            if chance.random() < 0.1:
                left.begin()
                there.clear()
            kinds = [("set", "1"), ("has", "1"), ("delete", None), ("expire", None)]
            events = [
                Event(1, kind, chance.choice("ab"), value)
                for kind, value in chance.choices(kinds, k=chance.randint(0, 3))
            ]
            is_listing, changed = chance.random() < 0.2, False
            for event in events:
                if event.key == (only or event.key):
                    changed = True
                    (there.discard if event.value is None else there.add)(event.key)
            assert news.take(events, is_listing=is_listing) is (is_listing or bool(events))
            expected = not there and (is_listing or changed)
            assert left.take(events, is_listing=is_listing) is expected, seed


@pytest.mark.parametrize("what", ["then", "conditions"])
def test_transaction_of_a_done_job_has_room_for_its_end(what: str) -> None:
    """`done` takes as much as a transaction may hold together with what ends the job."""

    def ended(count: int) -> TransactionPlan[Any]:
        plan: Any = TransactionPlan(TEXT)
        plan.branches["then"] = [CALLS.get("a")] * (count if what == "then" else 1)
        plan.conditions = ["a = 1"] * (count if what == "conditions" else 0)
        return _end_of("q/jobs/1", "q/held/1", 5, SimpleNamespace(_plan=plan))  # type: ignore[arg-type]

    added = 2 if what == "then" else 1
    merged: Any = ended(TRANSACTION_ITEMS - added)
    items = merged.branches["then"] if what == "then" else merged.conditions
    assert len(items) == TRANSACTION_ITEMS
    with pytest.raises(ValueError, match=f"done takes up to {TRANSACTION_ITEMS - added} "):
        ended(TRANSACTION_ITEMS - added + 1)
