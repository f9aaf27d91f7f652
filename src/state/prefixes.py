"""An index of prefixes, which finds the prefixes of a key without a scan of the others. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..wire.protocol import real

Group = TypeVar("Group")


class PrefixIndex(Generic[Group]):
    """One value for each prefix. A search for the prefixes of a key takes one lookup for each
    *length* of prefixes, not for each prefix.

    Prefixes and keys are compared unescaped: a text that ends within an escape sequence does not
    match it.
    """

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._with_length: dict[int, int] = {}  # how many prefixes have each length
        self.lengths: list[int] = []  # of prefixes, ascending

    def __len__(self) -> int:
        return len(self._groups)

    def get(self, prefix: str) -> Group | None:
        """Return the value of an escaped prefix."""
        return self._groups.get(real(prefix))

    def put(self, prefix: str, group: Group) -> None:
        """Set the value of an escaped prefix, which has no value yet."""
        raw = real(prefix)
        self._groups[raw] = group
        count = self._with_length.get(len(raw), 0)
        self._with_length[len(raw)] = count + 1
        if not count:
            self.lengths = sorted(self._with_length)

    def remove(self, prefix: str) -> None:
        """Remove the value of an escaped prefix, which has one."""
        raw = real(prefix)
        del self._groups[raw]
        count = self._with_length[len(raw)] - 1
        if count:
            self._with_length[len(raw)] = count
        else:
            del self._with_length[len(raw)]
            self.lengths = sorted(self._with_length)

    def values(self) -> list[Group]:
        """Return all values."""
        return list(self._groups.values())

    def matching(self, key: str) -> list[Group]:
        """Return the values of all prefixes of an escaped key, the shortest prefix first."""
        matches: list[Group] = []
        lengths = self.lengths
        if not lengths:
            return matches
        raw = real(key) if "\\" in key else key
        groups, size = self._groups, len(raw)
        for length in lengths:
            if length > size:
                break
            group = groups.get(raw[:length])
            if group is not None:
                matches.append(group)
        return matches
