"""The twelve steps of the sheet, against containers or against processes on this machine.

python3 course/labs/majorities/steps.py                 six processes
python3 course/labs/majorities/steps.py --containers    docker compose up --build -d
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

from collections.abc import Iterator
from typing import Any

from places import NAMES, WRONG, Containers, LabPlace, Loopback, eventually

from labs.checking import end_with

ENTRY = {"Controller_Operation": "Controller_Add"}


def twelve_steps(place: LabPlace) -> Iterator[str]:
    """Go through the steps; yield a line for each, beginning with WRONG if it fails."""
    yield "1, 2: Node1 … Node5 and Controller are up"
    leader = place.leader()
    yield f"3: {leader} leads; the target is {leader}, the request is STORE"
    for _ in range(2):
        stored = place.of_leader("STORE")
        assert stored["key"] == "Controller_Operation", stored
    yield "4: it was sent twice; message_receiver.py shows the answers"
    held = place.of_leader("RETRIEVE")["value"]
    terms = [entry.pop("term") for entry in held.values()]
    assert list(held) == ["1", "2"], held
    assert list(held.values()) == [ENTRY, ENTRY], held
    assert min(terms) >= 2, terms
    yield "5, 6: RETRIEVE shows the entries 1 and 2"
    held = place.of_leader("RETRIEVE")["value"]
    stopped = []
    for round_of in ("7, 8", "9"):
        up = [name for name in NAMES if name not in stopped]
        leader = place.leader(up)
        down = place.order(leader, "SHUTDOWN")
        assert down["request"] == "SHUTDOWN", down
        assert down["key"] is None, down
        stopped.append(leader)
        up.remove(leader)
        new = place.leader(up)
        assert place.of_leader("RETRIEVE", among=up)["value"] == held
        yield f"{round_of}: {leader} was shut down, {new} leads and RETRIEVE shows the same log"
    back = stopped[0]
    answer = place.order(back, "RESTART")
    assert answer["request"] == "RESTART", answer
    assert answer["key"] is None, answer
    yield f"10, 11: {back} was restarted"
    up = [name for name in NAMES if name != stopped[1]]
    stored = place.of_leader("STORE", "again", "yes", among=up)
    held = place.of_leader("RETRIEVE", among=up)["value"]
    assert len(held) == 3, held
    eventually(lambda: _shows(place, back, held), f"{back} shows three entries")
    leader = place.leader(up)
    place.order(stopped[1], "RESTART")
    place.order(leader, "SHUTDOWN")
    up = [name for name in NAMES if name != leader]
    new = place.leader(up)
    assert place.of_leader("RETRIEVE", among=up)["value"] == held
    yield f"12: RETRIEVE and SHUTDOWN again: {leader} is down, {new} leads with the same log"


def _shows(place: LabPlace, name: str, held: dict[str, Any]) -> bool:
    """Whether the last `Log entries are:` on a node's console names all of them."""
    lines = [line for line in place.lines(name) if line.startswith("Log entries are: ")]
    return bool(lines) and all(f"'{number}': {held[number]}" in lines[-1] for number in held)


def main(arguments: list[str]) -> int:
    """Go through the steps; return 0, 1 if one failed, 2 for wrong arguments, 3 without a Docker
    engine."""
    place: Loopback | Containers
    if arguments == ["--containers"]:
        reason = Containers.why_not()
        if reason:
            print(f"skipped: {reason}")
            return 3
        place = Containers()
    elif arguments:
        print("usage: steps.py [--containers]", file=sys.stderr)
        return 2
    else:
        place = Loopback()
    try:
        place.start()
        for line in twelve_steps(place):
            print(f"ok step {line}", flush=True)
    except WRONG as wrong:
        print("\n".join(["The last orders:", *place.orders[-20:], f"WRONG {wrong}"]))
        return 1
    finally:
        place.close()
    return 0


if __name__ == "__main__":
    end_with(lambda: main(sys.argv[1:]))
