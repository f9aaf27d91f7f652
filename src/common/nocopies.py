"""`NoCopies`: the base of objects with a connection or a thread, which can't be copied."""

from __future__ import annotations

from typing import NoReturn


class NoCopies:
    """Refuses to be copied or pickled: the object's data is in the cluster."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be copied or pickled: it asks the cluster, and holds "
            "nothing. Take what its methods return, or make another one there"
        )
