"""A stream as the clients that append to it have seen it, and its judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Entry = tuple[str, str]  # an ID, and the value of its only field


class Append(NamedTuple):
    """One `XADD`, whose outcome is unknown if `ended_at` is None."""

    value: str
    called_at: float
    ended_at: float | None
    entry_id: str


class Reading(NamedTuple):
    """One read of the whole stream."""

    entries: Sequence[Entry]
    called_at: float
    ended_at: float


class StreamRecord:
    """Appends and reads of one stream from which nothing is deleted."""

    def __init__(self) -> None:
        self._appends: list[Append] = []
        self._readings: list[Reading] = []

    def appended(
        self, value: str, called_at: float, ended_at: float | None, entry_id: str = ""
    ) -> None:
        """Record an append; without `ended_at` its outcome is unknown."""
        self._appends.append(Append(value, called_at, ended_at, entry_id))

    def read(self, entries: Sequence[Entry], called_at: float, ended_at: float) -> None:
        """Record a read of all entries."""
        self._readings.append(Reading(entries, called_at, ended_at))

    def judge(self, final: Sequence[Entry]) -> None:
        """Compare what was seen, and the final entries.

        Raises:
            AssertionError: no order of the appends explains it.
        """
        ids = {value: entry_id for entry_id, value in final}
        assert len(ids) == len(final), f"a value was appended twice: {final}"
        strange = ids.keys() - {one.value for one in self._appends}
        assert not strange, f"nobody has appended {sorted(strange)}"
        known = [one for one in self._appends if one.ended_at is not None]
        for one in known:
            at = ids.get(one.value)
            assert at == one.entry_id, f"{one.value} was appended at {one.entry_id}, and is at {at}"
        _check_order(known)
        end = len(self._appends) and max(one.called_at for one in self._appends) + 1
        for each in [*self._readings, Reading(final, end, end)]:
            _check_reading(each, final, self._appends)


def _check_order(known: Iterable[Append]) -> None:
    """Check that an append that began after the end of another one has the greater ID."""
    ended = sorted((one.ended_at or 0.0, _order(one.entry_id)) for one in known)
    place, most = 0, (0, 0)
    for one in sorted(known, key=lambda each: each.called_at):
        while place < len(ended) and ended[place][0] < one.called_at:
            most = max(most, ended[place][1])
            place += 1
        assert _order(one.entry_id) > most, f"{one.value} is before an append that had ended"


def _check_reading(reading: Reading, final: Sequence[Entry], appends: Iterable[Append]) -> None:
    count = len(reading.entries)
    seen = [tuple(entry) for entry in reading.entries]
    assert seen == [tuple(entry) for entry in final[:count]], f"read {seen} of {list(final)}"
    values = {value for _, value in seen}
    for one in appends:
        if one.ended_at is not None and one.ended_at < reading.called_at:
            assert one.value in values, f"a later read lacks {one.value}"
        if one.called_at > reading.ended_at:
            assert one.value not in values, f"{one.value} was read before it was appended"


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def entries_in(text: str) -> list[Entry]:
    """Return the entries of a stream, as the store writes it or `show` shows it."""
    items = text.removeprefix(r"\s").split()[2:]  # after the type and the last ID
    parts = [item.partition(":") for item in items]
    return [(entry_id, fields.partition("=")[2]) for entry_id, _, fields in parts]
