"""Draws the pictures of the tutorial from one real run: `make -C docs pictures`.

`run` starts three nodes, writes a value, kills the leader and reads the value from the next one. It
keeps what the consoles printed in failover.txt, one event a line. `draw` makes failover.svg of
those lines alone, and write.svg of those before the kill: the same lines give the same bytes.
Standard library only.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "bench"))

from svg import as_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERVER = HERE.parents[1] / "src" / "server.py"
LINES, PICTURE, WRITE = HERE / "failover.txt", HERE / "failover.svg", HERE / "write.svg"
NAMES = ("s1", "s2", "s3")
CLIENT = "client4"
DEADLINE_S = 30.0
RUNS_MAX = 10  # until one node alone asks for votes: two that do so at once fill the page

# --- the run -------------------------------------------------------------------------------------


class Run:
    """Three nodes, and what all of them print, in the order in which it is read."""

    def __init__(self, folder: Path) -> None:
        self.events: list[tuple[float, str, str]] = []
        self._changed = threading.Condition()
        held = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
        self.ports = {n: one.getsockname()[1] for n, one in zip(NAMES, held, strict=True)}
        text = "".join(f"{name} localhost {port}\n" for name, port in self.ports.items())
        (folder / "server-configuration.txt").write_text(text)
        for one in held:
            one.close()
        self.processes = {name: self._start(name, folder) for name in NAMES}

    def _start(self, name: str, folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, str(SERVER), name, str(self.ports[name]), "--dir", str(folder)]
        process = subprocess.Popen(
            [*command, "--new"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, args=(name, process), daemon=True).start()
        return process

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError):
            for line in process.stdout:
                self.note(name, line.rstrip("\n"))

    def note(self, name: str, line: str) -> None:
        with self._changed:
            self.events.append((time.monotonic() * 1000, name, line))
            self._changed.notify_all()

    def wait_for(self, pattern: str, names: tuple[str, ...] = NAMES, since: int = 0) -> str:
        """Return the name of the first node that prints such a line."""

        def found() -> str | None:
            lines = self.events[since:]
            heard = (name for _, name, line in lines if re.search(pattern, line))
            return next((name for name in heard if name in names), None)

        with self._changed:
            name = self._changed.wait_for(found, DEADLINE_S)
        assert name is not None, f"no node printed {pattern}"
        return name

    def ask(self, name: str, line: str, is_shown: bool = True) -> str:
        """Send a line to a node and return its reply."""
        with socket.create_connection(("localhost", self.ports[name]), DEADLINE_S) as connection:
            if is_shown:
                self.note(CLIENT, f"Sending message to {name}: {line}")
            connection.sendall(f"{CLIENT}@{line}\n".encode())
            reply = connection.makefile(encoding="utf-8").readline().rstrip("\n")
            if is_shown:
                self.note(CLIENT, f"[*] Received from {reply.replace('@', ' : ', 1)}")
            return reply

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(DEADLINE_S)


def recorded() -> list[str]:
    """Return the events of one run: `MILLISECONDS NAME LINE`, from the client's write on."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            first = run.wait_for("I am Leader")
            if first != "s1":
                reply = run.ask(first, "transfer s1", is_shown=False)
                assert "s1 leads" in reply, reply
            for other in ("s2", "s3"):
                run.wait_for("I am Follower of s1", (other,))
                run.wait_for(f"Received from {other} : I am up to date", ("s1",))
            begin = len(run.events)
            run.ask("s1", "set b 5")
            for other in ("s2", "s3"):
                run.wait_for(f"Received from {other} : I am up to date", ("s1",), begin)
            run.note("s1", "kill -9")
            run.processes["s1"].kill()
            leader = run.wait_for("I am Leader", ("s2", "s3"), begin)
            other = "s3" if leader == "s2" else "s2"
            run.wait_for(f"Received from {other} : I am up to date", (leader,), begin)
            run.ask(leader, "get b")
            run.wait_for("Received from client4 : get b", (leader,), begin)
            events = run.events[begin:]
        finally:
            run.end()
    start = events[0][0]
    return [f"{ms - start:.1f} {name} {line}" for ms, name, line in events]


def candidates(lines: list[str]) -> int:
    return len({line.split()[1] for line in lines if "asking for PreVotes" in line})


# --- the picture ---------------------------------------------------------------------------------

SENT = re.compile(r"^Sending message to (\w+): (.*)$")
HEARD = re.compile(r"^\[\*\] Received from (\w+) : (.*)$")
LOCAL = re.compile(r"^(kill -9|\[\*\] (?:I am Leader|Lost the connection to leader \w+))$")
COLUMNS = {CLIENT: 70, "s1": 250, "s2": 430, "s3": 610}
WIDTH, TOP, ROW, SLANT, CHARACTER, POINTS_PER_INCH = 680, 76, 34, 11, 9.0, 72
SPACE = 12  # above what a node did: its words stand there
GREY, BLUE, GREEN, RED = "#8c959f", "#0969da", "#1a7f37", "#cf222e"


@dataclass
class Event:
    """One end of a message, or something that one node did."""

    name: str
    ms: float
    text: str
    peer: str = ""
    is_send: bool = False
    other: Event | None = None  # the message's other end
    y: float = 0.0


def shortened(text: str) -> str:
    """Return a message as there is room for it: of its entries only the commands."""
    return re.sub(r"-\[\{.*\"command\": (\".*?\").*$", r" … \1", text).split(" round ")[0]


def events_in(lines: list[str]) -> list[Event]:
    """Return what is drawn: messages that arrived, in pairs, and what nodes did."""
    found: list[Event] = []
    for line in lines:
        ms, name, text = line.split(" ", 2)
        if match := SENT.match(text) or HEARD.match(text):
            peer, said = match[1], match[2]
            found.append(Event(name, float(ms), said, peer, text.startswith("Sending")))
        elif LOCAL.match(text) and not any(
            event.text == text.removeprefix("[*] ") for event in found
        ):
            found.append(Event(name, float(ms), text.removeprefix("[*] ")))
    for event in found:
        if event.is_send and event.other is None:
            _pair(event, found)
    return [event for event in found if not event.peer or event.other]


def _pair(event: Event, found: list[Event]) -> None:
    """Find the other end of a message."""
    for other in found:
        is_end = not other.is_send and (other.name, other.peer) == (event.peer, event.name)
        if is_end and other.text == event.text and other.other is None:
            event.other, other.other = other, event
            return


def in_order(events: list[Event]) -> Iterator[Event]:
    """Yield the events so that none comes before its cause; an arrival as soon as it may."""
    waiting = {name: [event for event in events if event.name == name] for name in COLUMNS}
    done: set[int] = set()
    last: Event | None = None

    def is_ready(event: Event) -> bool:
        return event.is_send or event.other is None or id(event.other) in done

    while any(waiting.values()):
        ready = [queue[0] for queue in waiting.values() if queue and is_ready(queue[0])]
        arrival = [event for event in ready if last is not None and event.other is last]
        chosen = (arrival or sorted(ready, key=lambda event: event.ms))[0]
        waiting[chosen.name].pop(0)
        done.add(id(chosen))
        yield chosen
        last = chosen


def with_replies(lines: list[str]) -> list[str]:
    """Return the lines with the sending of each answer, which no console prints."""
    printed = {
        (line.split()[1], *match.groups())
        for line in lines
        if (match := SENT.match(line.split(" ", 2)[2]))
    }
    found: list[str] = []
    for line in lines:
        ms, name, text = line.split(" ", 2)
        match = HEARD.match(text)
        if match and (match[1], name, match[2]) not in printed:
            found.append(f"{ms} {match[1]} Sending message to {name}: {match[2]}")
        found.append(line)
    return found


def placed(events: list[Event]) -> tuple[list[Event], float]:
    """Give each event its place from top to bottom; return them, and where the page ends."""
    y, last, order = float(TOP), None, list(in_order(events))
    for event in order:
        y += SLANT if event.other is last and last is not None else ROW
        y += SPACE if event.other is None and event.text != "kill -9" else 0
        event.y, last = y, event
    return order, y + ROW


def figure_of(lines: list[str]) -> tuple[Figure, str]:
    """Return the picture of a run, and its title."""
    from matplotlib.figure import Figure

    order, end = placed(events_in(with_replies(lines)))
    killed = next((event for event in order if event.text == "kill -9"), None)
    leads = next((event for event in order if event.text == "I am Leader"), None)
    title, head = "A real run: a write, and what it takes", "A real run: one write."
    if killed is not None and leads is not None:
        waited = f"{leads.name} leads {leads.ms - killed.ms:.0f} ms after the kill"
        title = f"A real run: the leader is killed, {waited}, and nothing is lost"
        head = f"A real run. {waited}."
    figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, end / POINTS_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(end, 0))
    axes.axis("off")
    axes.text(WIDTH / 2, 30, head, size=15, weight="bold", ha="center")
    for name, x in COLUMNS.items():
        stop = killed.y if killed is not None and name == "s1" else end - 14
        axes.text(x, 62, name, size=17, weight="bold", ha="center")
        axes.plot([x, x], [72, stop], color=GREY, lw=2, zorder=1)
        axes.plot([x, x], [stop, end - 14], color=GREY, lw=2, ls=":", zorder=1)
    for event in order:
        _draw_one(axes, event)
    return figure, title


def draw(lines: list[str]) -> str:
    """Return the picture of a run as SVG."""
    return as_svg(*figure_of(lines))


def before_the_kill(lines: list[str]) -> list[str]:
    """Return the lines of the write."""
    kill = next(place for place, line in enumerate(lines) if line.endswith(" s1 kill -9"))
    return lines[:kill]


def _draw_one(axes: Axes, event: Event) -> None:
    """Draw a message as an arrow with its words; what a node did as a point, and its words."""
    x, y, text = float(COLUMNS[event.name]), event.y, shortened(event.text)
    look = {"size": 15, "ha": "center", "family": "monospace"}
    look["bbox"] = {"fc": "white", "ec": "none", "pad": 0}
    if event.text == "kill -9":
        axes.plot(x, y, "x", color=RED, ms=18, mew=4)
        axes.text(x + 18 + len(text) * CHARACTER / 2, y + 5, text, weight="bold", **look)
    elif event.other is None:
        axes.plot(x, y, "o", color=GREEN, ms=11)
        axes.text(_inside(x, text), y - 10, text, weight="bold", **look)
    elif event.is_send:
        to, end = COLUMNS[event.other.name], event.other.y
        arrow = {"arrowstyle": "-|>", "color": BLUE, "lw": 2.5, "mutation_scale": 18}
        axes.annotate("", xy=(to, end), xytext=(x, y), arrowprops={**arrow, "shrinkA": 0}, zorder=4)
        axes.text(_inside((x + to) / 2, text), y - 5, text, **look)


def _inside(x: float, text: str) -> float:
    """Return the middle of a text such that it stays on the page."""
    half = len(text) * CHARACTER / 2 + 12
    return min(max(x, half), WIDTH - half)


def main() -> int:
    for _ in range(RUNS_MAX):
        lines = recorded()
        if candidates(lines) == 1:
            break
    LINES.write_text("\n".join(lines) + "\n", encoding="utf-8")
    PICTURE.write_text(draw(lines), encoding="utf-8")
    WRITE.write_text(draw(before_the_kill(lines)), encoding="utf-8")
    print(f"{PICTURE.relative_to(HERE.parents[1])}: {len(lines)} lines of a run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
