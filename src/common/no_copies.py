"""`NoCopies`: a base class for objects whose data is in the cluster."""

from __future__ import annotations

from typing import NoReturn


class NoCopies:
    """An object that can't be copied or pickled, since it has a connection or a thread."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be copied or pickled: its data is in the cluster. "
            "Copy what its methods return; or create a new one in the other process"
        )
