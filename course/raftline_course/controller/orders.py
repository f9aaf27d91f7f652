"""The verbs of a controller (course/docs/controller.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FAULT_FORMS: Mapping[str, str] = {
    "PARTITION": "PARTITION NAME…",
    "HEAL": "HEAL [NAME…]",
    "DROP": "DROP PERCENT% [NAME…], as in DROP 30% s2",
    "DELAY": "DELAY TIME [NAME…], as in DELAY 200ms s2 or DELAY 1.5s",
    "SKIP-REPLICATION": "SKIP-REPLICATION on|off",
    "HEARTBEAT": "HEARTBEAT TIME|normal [for TIME], as in HEARTBEAT 20s for 1s",
}
# The verbs that only a running node can carry out.
NODE_ORDERS = ("STORE", "RETRIEVE", "LEADER_INFO", "CONVERT_FOLLOWER", "TIMEOUT")
ORDERS: Final = frozenset({*NODE_ORDERS, "SHUTDOWN", "RESTART", "DELETE-LOG", *FAULT_FORMS})
