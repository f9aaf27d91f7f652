"""Records of trials that were never run, for tests of their evaluation."""

from __future__ import annotations

from typing import Any

from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.record import Record, RequestRecord

SERVERS = ("0000", "0001", "0002")


def asked(
    number: int, category: str = "put", took: float | None = 0.01, **more: Any
) -> RequestRecord:
    """Return request `number`, due in second `number`, answered after `took` seconds or never."""
    due = float(number)
    facts: dict[str, Any] = {
        "client": "0003",
        "category": category,
        "message_id": number,
        "key": f"key{number}",
        "value": f"value{number}",
        "due": due,
        "called": due,
        "returned": None if took is None else due + took,
        "outcome": "unanswered" if took is None else "success",
    }
    return RequestRecord(**{**facts, **more})


def pair(number: int, took: float | None = 0.01) -> list[RequestRecord]:
    """Return a put and the get that reads it."""
    put = asked(number)
    return [put, asked(number + 1, "get", took, key=put.key, value=put.value)]


def record(requests: list[RequestRecord], **more: Any) -> Record:
    """Return a trial of three servers in which 0001 led from the first second on."""
    metrics = more.pop("metrics", Metrics(servers=3))
    facts: dict[str, Any] = {
        "ended": 30.0,
        "leaders": [(0.0, "unkown"), (1.0, "0001")],
        "server_messages": 1000,
    }
    return Record(metrics, SERVERS, requests=requests, **{**facts, **more})
