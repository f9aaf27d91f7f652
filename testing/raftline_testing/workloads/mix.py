"""The requests of clients: which ones, how often, and about which keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .client_request import Way
from .journal import JOURNAL

WAYS: Sequence[Way] = ("index", "lease", "ask")
KEYS = "abcdefghi"


@dataclass(frozen=True)
class Mix:
    """The requests of clients. All keys begin with `prefix`. So each part of a long run has its
    own, and its history can be judged alone."""

    keys: int = 3
    prefix: str = ""
    counters: int = 0
    conditions: float = 0.0  # the share of sets that are a cas or setnx instead
    appends: float = 0.0  # the share of writes that append to the journal, and of reads of it
    sessions: float = 0.0  # the share of clients that number their writes
    retries_behind: float = 0.0  # of answered writes after which an older one is repeated
    ways: Sequence[Way] = ("index",)  # of reads; `local` ones are not judged
    logged_reads: float = 0.0  # the share of gets that become entries
    # the share of gets, by their way, that go to any node, as a deposed leader gets requests only
    # by chance
    faithless: Mapping[str, float] = field(default_factory=dict)
    think_ms: int = 0  # the longest rest between two requests
    election_ms: int = 100  # half of it is the longest rest after a refusal
    beat_s: float = 0.0  # interval at which all clients ask at once; 0: they rest
    patience_s: float = 8.0  # then a client of real nodes gives up on a reply
    padding: int = 0  # more bytes in one value of ten, at most

    @property
    def key_names(self) -> list[str]:
        return [f"{self.prefix}{KEYS[n % 9]}{n // 9 or ''}" for n in range(self.keys)]

    @property
    def counter_names(self) -> list[str]:
        return [f"{self.prefix}n{n or ''}" for n in range(self.counters)]

    @property
    def journal(self) -> str:
        return self.prefix + JOURNAL
