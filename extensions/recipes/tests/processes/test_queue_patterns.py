"""The patterns of docs/use/queues.md, run at three nodes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raftline

PAGE = Path(__file__).parents[4] / "docs" / "use" / "queues.md"


@pytest.fixture(scope="module")
def page() -> Any:
    """Return the functions of the section."""
    names: dict[str, Any] = {}
    section = PAGE.read_text("utf-8").partition("\n## Patterns\n")[2].partition("\n## ")[0]
    for block in re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S):
        exec(block, names)
    return SimpleNamespace(**names)


def taken(kv: raftline.KV[str], name: str) -> list[str]:
    """Take and end all jobs of a queue; return their values."""
    values = []
    while (job := kv.queue(name).take(timeout=0)) is not None:
        job.done()
        values.append(job.value)
    return values


def test_an_order_is_paid_and_its_mail_is_put_once(kv: raftline.KV[str], page: Any) -> None:
    kv["order/7"] = "new"
    assert [page.pay(kv, 7), page.pay(kv, 7)] == [True, False]
    assert (kv["order/7"], taken(kv, "mails")) == ("paid", ["paid: 7"])


def test_jobs_for_later_are_put_when_they_are_due(kv: raftline.KV[str], page: Any) -> None:
    now_s = time.time()
    for value, due in (("c", now_s + 10_000), ("b", now_s - 1), ("a", now_s - 2)):
        page.put_later(kv, "calls", value, due)
    page.put_due(kv, "calls")
    page.put_due(kv, "calls")
    assert taken(kv, "calls") == ["a", "b"]
    assert list(kv.values("later/calls/")) == ["c"]


def test_the_first_queue_that_has_a_job_is_served(kv: raftline.KV[str], page: Any) -> None:
    for name in ("low", "high", "low", "high"):
        kv.queue(name).put(name)
    served = [page.take_first(kv, ("high", "low")) for _ in range(5)]
    assert [job and job.value for job in served] == ["high", "high", "low", "low", None]
