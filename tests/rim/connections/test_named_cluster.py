"""A client names the cluster that alone may serve it. Its node may learn its own only later."""

from __future__ import annotations

from functools import partial
from itertools import permutations

from raftline.net.peers.build_exchange import Foreigners
from raftline.state.store import Store
from raftline_testing.doubles.store_wire import StoreWire

OURS, THEIRS = "0" * 16, "f" * 16
EVENTS = (f"codes {OURS}", f"codes {THEIRS}", "the node learns", "the node joins")


def test_no_node_of_another_cluster_carries_out_a_request() -> None:
    """In whatever order the client names a cluster, and the node learns of its own."""
    orders = [*permutations(EVENTS)]
    for events in [*orders, *[("nothing yet", *each) for each in orders]]:
        store, known, expected = Store(is_at_floor=False), list[str](), ""
        wire = StoreWire(store)
        foreigners = wire.host.foreigners = Foreigners("s1", partial("".join, known))
        for count, event in enumerate(events):
            if event.startswith("codes "):
                expected = event.partition(" ")[2]
                wire.feed(f"{event}\n".encode())
            elif event == "the node learns":
                known.append(OURS)
            elif event == "the node joins":
                foreigners.joins = OURS
            mine = foreigners.mine()
            reply = wire.feed(f"set k{count} v\n".encode())
            is_served = expected in ("", mine)
            assert (f"k{count}" in store) == is_served, (events, event, reply)
            is_foreign = bool(mine) and not is_served
            assert (OURS.encode() in reply) == is_foreign, (events, event, reply)
