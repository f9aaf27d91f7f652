"""A node is ready, healthy or the leader unless there is a reason, which its page names."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftline.common.config import PACES
from raftline.common.process.mutex import Mutex
from raftline.monitoring import endpoints
from raftline.monitoring.endpoints import Pages, hung_disk
from raftline.net.protocol.host import Batch
from raftline.wire.refusal import DIVERGED

# By the attribute of a node: its value there, and what each page then says; "" for 200.
WELL = {
    "disk_waits_ms": 0, "is_down": False, "exit_status": 0, "has_written": False,
    "lacks_room_for": "", "refuses_entries": "", "has_all_connections": False,
    "applies_nothing": False, "commits_nothing": False, "differs": False, "refusal": "",
    "is_late": False, "leader": "s1",
}  # fmt: skip
WRONG: list[tuple[str, object, dict[str, str]]] = [
    ("disk_waits_ms", 5001, {"ready": "a write of its disk has taken 5.0 s already"}),
    ("is_down", True, {"ready": "shut down by its controller", "leader": "shut down by its contr"}),
    *[
        (name, 1, dict.fromkeys(("health", "ready", "leader"), "unwell: this node is stopping"))
        for name in ("exit_status", "has_written")
    ],
    *[("lacks_room_for", each, {"ready": why}) for each, why in endpoints._LACKING.items()],
    ("refuses_entries", "log", {"ready": "its log takes no entries before a snapshot"}),
    ("has_all_connections", True, {"ready": "all its connections are taken (--max-connections)"}),
    ("applies_nothing", True, {"ready": "it applies no entry"}),
    ("commits_nothing", True, {"ready": "it leads, and commits nothing"}),
    ("differs", True, {"ready": DIVERGED.sentence}),
    ("refusal", "Sorry, no leader", {"ready": "Sorry, no leader"}),
    ("is_late", True, {"ready": "no read was confirmed and applied within"}),
    ("leader", None, {"leader": "no leader is known"}),
    ("leader", "s2", {"leader": "s2 leads term 7, at h:2"}),
]  # fmt: skip


def pages_of(**wrong: Any) -> Pages:
    """Return the pages of a node at which this is wrong."""
    node = SimpleNamespace(**{**WELL, **wrong})

    def submit(batch: Batch) -> None:
        if node.refusal:
            batch.answer_all(node.refusal)
        elif not node.is_late:
            batch.reader = cast("Any", object())
            batch.wake()

    driver = SimpleNamespace(
        measures=node, core=Mutex(node), has_written=node.has_written,
        applies_nothing=node.applies_nothing, commits_nothing=node.commits_nothing,
        status=lambda: {"leader": node.leader, "term": 7, "members": {"s2": "h:2"}},
    )  # fmt: skip
    server = SimpleNamespace(
        name="s1", driver=driver, pace=PACES["fast"], is_down=node.is_down,
        exit_status=node.exit_status, node=SimpleNamespace(view=node), submit=submit,
        has_all_connections=node.has_all_connections, room_facts=lambda: vars(node),
    )  # fmt: skip
    pages = Pages()
    pages.serve(cast("Any", server))
    return pages


@pytest.fixture(autouse=True)
def does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "CONFIRM_S", 0.0)


def test_each_page_names_what_is_wrong() -> None:
    for wrong in ([], *itertools.combinations(WRONG, 1), *itertools.combinations(WRONG, 2)):
        pages = pages_of(**{name: value for name, value, _ in wrong})
        for page in ("health", "ready", "leader"):
            answer = pages.by_path[f"/{page}"]()
            said = [its[page] for name, value, its in wrong if page in its]
            names = [(name, value) for name, value, _ in wrong]
            if page == "health" and ("is_down", True) in names:
                said = []  # a controller shut it down
            if page == "ready" and {("is_late", True), ("leader", None)} == {*names}:
                said = ["no leader is known"]
            assert answer.status == (503 if said else 200), (page, wrong, answer)
            assert not said or any(each in answer.text for each in said), (page, wrong, answer)


def test_a_disk_hangs_after_ten_election_timeouts() -> None:
    assert (hung_disk(5000, 500), hung_disk(5001, 500)) == (
        "", "a write of its disk has taken 5.0 s already",
    )  # fmt: skip
