"""`NoCopies`: the base of objects that stand for something elsewhere, and can't be copied."""

from __future__ import annotations

from typing import NoReturn


class NoCopies:
    """Refuses to be copied or pickled: an object asks the cluster, and holds nothing."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be copied or pickled: it asks the cluster, and holds "
            "nothing. Take what its methods return, or make another one there"
        )
