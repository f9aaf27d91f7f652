"""The clients of a trial: their requests, and a thread for each client."""

from __future__ import annotations

import random
import string
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.record import RequestRecord
from raftline_course.trial.store_client import StoreClient, Tally, Unanswered
from raftline_course.trial.trial_messages import Message

LETTERS = string.digits + string.ascii_lowercase
KEY_LENGTH = 8


@dataclass(frozen=True)
class Due:
    """A planned request: its client, its time, and whether it must be a get."""

    client: int
    at: float
    is_get: bool


def plan(metrics: Metrics, chance: random.Random) -> list[Due]:
    """Return the requests, evenly spaced between the warm-up and the cool-down, which have none.
    The client of each is drawn, and so is whether it is a get, by the gp ratio."""
    start = metrics.only_hb
    span = metrics.total_execution_time - metrics.stop_requests - start
    return [
        Due(
            chance.randrange(metrics.number_of_clients),
            start + span * number / metrics.client_requests,
            chance.random() < metrics.gp_ratio,
        )
        for number in range(metrics.client_requests)
    ]


def generate_string(chance: random.Random) -> str:
    """Return 8 characters from 0-9 and a-z."""
    return "".join(chance.choices(LETTERS, k=KEY_LENGTH))


class LoadClient:
    """A client that makes its requests one after the other, each when it is due or as soon as
    possible after that.

    A put has a new key, and a get takes one whose put was confirmed to this client. With `common`,
    the confirmed puts of any client, all clients put and get the same few keys.

    Each request makes the same number of draws, so the outcome of one doesn't change the draws of
    another.
    """

    def __init__(
        self,
        identity: str,
        dues: Sequence[Due],
        store: StoreClient,
        metrics: Metrics,
        start_s: float,
        common: dict[str, str] | None = None,
    ) -> None:
        self.identity = identity
        self.requests: list[RequestRecord] = []
        self.prior_get_requests = 0
        self.problem: BaseException | None = None
        self._store = store
        self._dues = dues
        self._chance = random.Random(f"{metrics.seed} {identity}")
        self._stored: dict[str, str] = {} if common is None else common  # confirmed puts
        self._pool = [f"key{number:05}" for number in range(metrics.shared_keys)]
        self._own: list[str] = []  # the keys of this client's puts, in order
        self._start_s = start_s
        self._end_s = start_s + metrics.total_execution_time
        self._thread = threading.Thread(target=self._run, name=f"client {identity}", daemon=True)

    @property
    def tally(self) -> Tally:
        return self._store.tally

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            with self._store:
                for due in self._dues:
                    self._store.stop.wait(max(0.0, self._start_s + due.at - time.monotonic()))
                    self._make(due)
        except BaseException as problem:
            self.problem = problem

    def _make(self, due: Due) -> None:
        """Make one request, and record its outcome."""
        leaves = time.monotonic() < self._end_s and not self._store.stop.is_set()
        asked = self._form_client_request(due, leaves)
        self.requests.append(asked)
        if not leaves:
            return
        asked.called = time.monotonic() - self._start_s
        try:
            if asked.category == "get":
                answer = self._store.get(asked.key, self._end_s)
            else:
                answer = self._store.put(asked.key, asked.value or "", self._end_s)
        except Unanswered:
            return
        finally:
            asked.attempts = self._store.attempts
            asked.message_id = self._store.last_message_id
        asked.returned = time.monotonic() - self._start_s
        self._learn(asked, answer)

    def _form_client_request(self, due: Due, leaves: bool) -> RequestRecord:
        share, new, value = self._chance.random(), *(generate_string(self._chance) for _ in "kv")
        if due.is_get:
            confirmed = self._confirmed_key(share)
            if confirmed is not None:
                return RequestRecord(self.identity, "get", 0, confirmed, None, due.at)
            self.prior_get_requests += leaves  # there is nothing to get, so it puts instead
        key = self._pool[int(share * len(self._pool))] if self._pool else new
        self._own.append(key)
        return RequestRecord(self.identity, "put", 0, key, value, due.at)

    def _confirmed_key(self, share: float) -> str | None:
        """Return the key at this share of all keys, or the next one with a confirmed put."""
        keys = self._pool or self._own
        places = (int(share * len(keys)) + step for step in range(len(keys)))
        found = (keys[place % len(keys)] for place in places)
        return next((key for key in found if key in self._stored), None)

    def _learn(self, asked: RequestRecord, answer: Message) -> None:
        succeeded = answer["req_category"] == "success"
        asked.outcome = answer["req_category"]
        if asked.category == "put":
            if succeeded:
                self._stored[asked.key] = asked.value or ""
            return
        if succeeded:
            asked.value = answer["value"]
        elif answer.get("absent"):
            asked.outcome = "absent"
        if not self._pool and asked.outcome != "failure":
            asked.wrong = asked.value != self._stored[asked.key]


def mark_wrong_gets(requests: Sequence[RequestRecord]) -> None:
    """Mark each get whose value no client had put under its key by the time of the answer."""
    first_put: dict[tuple[str, str | None], float] = {}
    for request in requests:
        if request.category == "put" and request.called is not None:
            place = (request.key, request.value)
            first_put[place] = min(request.called, first_put.get(place, request.called))
    for request in requests:
        if (
            request.category == "get"
            and request.outcome == "success"
            and request.returned is not None
        ):
            request.wrong |= (
                first_put.get((request.key, request.value), request.returned) >= request.returned
            )


def by_client(dues: Sequence[Due], clients: int) -> Mapping[int, list[Due]]:
    """Return the requests of each client, in order."""
    results: dict[int, list[Due]] = {number: [] for number in range(clients)}
    for due in dues:
        results[due.client].append(due)
    return results
