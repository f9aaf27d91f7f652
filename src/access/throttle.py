"""Turns for costly work that any client can request: one at a time, with few waiters."""

from __future__ import annotations

import threading
from collections import deque

from ..common.process.wakeup import Wakeup

RECENT = 64  # turns that count against their address and their name


class _Waiter:
    """A thread that waits for its turn."""

    def __init__(self, rank: tuple[int, int], address: str, name: str) -> None:
        self.rank = rank
        self.address = address
        self.name = name
        self.is_refused = False
        self.wakeup = Wakeup()


class Throttle:
    """A lock whose turns are shared by address, and by the name that is asked for.

    The next turn is for the address that has had the fewest turns of late and waits for the fewest,
    then for such a name of that address, and for the lowest rank among those, in order of arrival.
    The number of waiters is limited: beyond it, the last in this order is refused. So many attempts
    from one address, or for one name, delay and refuse only each other.
    """

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._lock = threading.Lock()
        self._present: list[_Waiter] = []  # the thread with the turn, then the waiting ones
        self._recent: deque[_Waiter] = deque(maxlen=RECENT)  # those that had the latest turns

    def take(self, rank: tuple[int, int] = (0, 0), address: str = "", name: str = "") -> bool:
        """Wait for a turn, which `end` ends. Return False if too many threads are ahead."""
        mine = _Waiter(rank, address, name)
        with self._lock:
            self._present.append(mine)
            if self._present[0] is mine:
                self._recent.append(mine)
                return True
            if len(self._present) > 1 + self._waiting_max:
                last = self._in_order()[-1]
                self._present.remove(last)
                last.is_refused = True
                last.wakeup.set()
        mine.wakeup.wait()
        return not mine.is_refused

    def end(self) -> None:
        """End the current turn and begin the next one."""
        with self._lock:
            waiting = self._in_order()
            self._present = waiting
            if waiting:
                self._recent.append(waiting[0])
                waiting[0].wakeup.set()

    def _in_order(self) -> list[_Waiter]:
        """Return the waiting threads in the order of their turns."""
        counted = [*self._recent, *self._present[1:]]
        of_address, of_name = dict[str, int](), dict[tuple[str, str], int]()
        for each in counted:
            pair = each.address, each.name
            of_address[each.address] = of_address.get(each.address, 0) + 1
            of_name[pair] = of_name.get(pair, 0) + 1
        return sorted(
            self._present[1:],
            key=lambda one: (of_address[one.address], of_name[one.address, one.name], one.rank),
        )
