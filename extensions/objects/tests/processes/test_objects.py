"""Replicated objects against real nodes that die: what a program sees is what one dict would do."""

from __future__ import annotations

import ast
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Full, SimpleQueue
from typing import Any, Literal

import pytest

import raftline
from raftline.clients.requests.pool import Clients
from raftline_testing.histories.history import ClientOperation
from raftline_testing.histories.linearizable import HistoryVerdict, check
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports
from raftline_testing.runner.at_night import at_night

ROOT = Path(__file__).resolve().parents[4]
EXAMPLE = ROOT / "docs" / "examples" / "shared_dict.py"
OPERATIONS = 400


class Program:
    """One process of the example: each line that it is sent is answered by the whole dict."""

    def __init__(self, name: str, first_port: int, folder: Path) -> None:
        self.name = name
        self.acknowledged = -1
        self.views: list[dict[str, str]] = []
        self._arguments = [sys.executable, str(EXAMPLE), name, str(first_port)]
        self._folder = folder
        self._numbers = itertools.count()
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._arguments,
            cwd=self._folder,
            text=True,
            bufsize=1,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )

    def say(self) -> None:
        """Make it set its key to the next number, and keep the dict that it saw afterwards."""
        assert self._process.stdin
        assert self._process.stdout
        number = next(self._numbers)
        self._process.stdin.write(f"{number}\n")
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        self.views.append(ast.literal_eval(line))
        self.acknowledged = number

    def kill(self) -> None:
        """End it as kill -9 does, in the midst of a write."""
        assert self._process.stdin
        self._process.stdin.write(f"{next(self._numbers)}\n")
        self._process.kill()
        self._process.communicate()


def test_ten_lines_in_three_processes_lose_nothing_under_kill_9(tmp_path: Path) -> None:
    *source, _ = ast.parse(EXAMPLE.read_text("utf-8")).body  # the last: arguments, complaints
    found = [node for part in source for node in ast.walk(part) if isinstance(node, ast.stmt)]
    assert len({node.lineno for node in found} - {1}) <= 10  # without the docstring
    first_port = three_ports_in_a_row()
    programs = [Program(f"node{number}", first_port, tmp_path) for number in (1, 2, 3)]
    for victim in [*programs, *programs]:
        for _ in range(5):
            for program in programs:
                program.say()
        victim.kill()
        for program in programs:
            if program is not victim:
                program.say()
        victim.start()
    for program in programs:
        program.say()
    seen: dict[str, int] = {}
    for program in programs:
        last = {name: int(number) for name, number in program.views[-1].items()}
        assert last[program.name] == program.acknowledged
        for name in last:
            mine = [int(view.get(name, -1)) for view in program.views]
            assert mine == sorted(mine), f"{program.name} saw {name} go back"
        seen |= {program.name: last[program.name]}
    assert programs[-1].views[-1] == {name: str(number) for name, number in seen.items()}
    for program in programs:
        program.kill()


@pytest.mark.parametrize(
    ("words", "typed", "status", "said"),
    [
        ([], "", 2, "the following arguments are required: name"),
        (["s1"], "", 2, "invalid choice: 's1' (choose from"),
        (["node1", "x"], "", 2, "argument first_port: invalid int value: 'x'"),
        (["node1", "70000"], "", 1, "'127.0.0.1:70000' is not an address: host:port"),
        *at_night((["node1", "{0}"], "hello\n", 1, "I know of no leader.")),
    ],
)
def test_the_example_reports_an_error_in_one_line(
    tmp_path: Path, words: list[str], typed: str, status: int, said: str
) -> None:
    first_port = three_ports_in_a_row()
    words = [word.format(first_port) for word in words]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *words],
        cwd=tmp_path,
        input=typed,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        timeout=DEADLINE_S + 30,
        check=False,
    )
    assert done.returncode == status
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def three_ports_in_a_row() -> int:
    for port in free_ports:
        following = [next(free_ports), next(free_ports)]
        if following == [port + 1, port + 2]:
            return port
    raise AssertionError("no three free ports in a row")


@pytest.fixture
def two(cluster: Cluster) -> Iterator[list[Clients]]:
    """Two programs, each of which knows all nodes and begins with another one."""
    addresses = [f"localhost:{node.port}" for node in cluster.nodes]
    clients = [
        Clients(*addresses[n:], *addresses[:n], name=f"program{n}", timeout=DEADLINE_S)
        for n in (0, 1)
    ]
    yield clients
    for each in clients:
        each.close()


Action = tuple[Callable[[Any, random.Random], Any], Callable[[Any, random.Random], Any]]


def same(action: Callable[[Any, random.Random], Any]) -> Action:
    """An action that a plain object and a replicated one understand alike."""
    return action, action


def _put(target: Any, chance: random.Random) -> None:
    target[f"k{chance.randrange(4)}"] = chance.choice([1, "two", [3], None, {"f": 4.5}])


def _set_at(target: Any, chance: random.Random) -> None:
    target[chance.randrange(-4, 6)] = chance.random()


def _delete_at(target: Any, chance: random.Random) -> None:
    del target[chance.randrange(-4, 6)]


def _delete_key(target: Any, chance: random.Random) -> None:
    del target[f"k{chance.randrange(4)}"]


def _set_slice(target: Any, chance: random.Random) -> None:
    start, stop, step = chance.randrange(-4, 5), chance.randrange(-4, 5), chance.choice([1, 1, 2])
    target[start:stop:step] = [chance.randrange(9) for _ in range(chance.randrange(3))]


def _delete_slice(target: Any, chance: random.Random) -> None:
    del target[chance.randrange(-4, 5) : chance.randrange(-4, 5) : chance.choice([1, -1, 2])]


def _grow(target: Any, chance: random.Random) -> None:
    target += [chance.randrange(3)] * chance.randrange(3)


def _change_set(target: Any, chance: random.Random) -> None:
    others = {chance.randrange(8) for _ in range(4)}
    if chance.random() < 0.4:
        target |= others
    elif chance.random() < 0.4:
        target -= others
    elif chance.random() < 0.5:
        target &= others
    else:
        target ^= others


KEYS = ["k0", "k1", "k2", "k3"]
ACTIONS: dict[str, tuple[type[Any], type[Any], list[Action]]] = {
    "dict": (dict, raftline.ReplicatedDict, [
        same(_put), same(_put), same(_delete_key),
        same(lambda d, c: d.pop(c.choice(KEYS))),
        same(lambda d, c: d.pop(c.choice(KEYS), "none")),
        same(lambda d, c: d.setdefault(c.choice(KEYS), c.randrange(5))),
        same(lambda d, c: d.update({c.choice(KEYS): 1}, k9=2)),
        same(lambda d, c: d.popitem()),
        same(lambda d, c: d[c.choice(KEYS)]),
        same(lambda d, c: d.get(c.choice(KEYS), "none")),
        same(lambda d, c: (c.choice(KEYS) in d, 5 in d, len(d), list(d), list(d.values()))),
        same(lambda d, c: list(d.items())),
        same(lambda d, c: c.random() < 0.1 and d.clear()),
    ]),
    "list": (list, raftline.ReplicatedList, [
        same(_set_at), same(_delete_at), same(_set_slice), same(_delete_slice), same(_grow),
        same(lambda v, c: v.append(c.randrange(3))),
        same(lambda v, c: v.extend(range(c.randrange(3)))),
        same(lambda v, c: v.insert(c.randrange(-5, 5), c.randrange(3))),
        same(lambda v, c: v.pop()),
        same(lambda v, c: v.pop(c.randrange(-4, 4))),
        same(lambda v, c: v.remove(c.randrange(3))),
        same(lambda v, c: v.reverse()),
        same(lambda v, c: (v[c.randrange(-3, 4)], v[1:3], v[::-1])),
        same(lambda v, c: (v.count(1), 2 in v, len(v), list(v), list(reversed(v)))),
        same(lambda v, c: v.index(c.randrange(3))),
        same(lambda v, c: v == list(v)),
        same(lambda v, c: c.random() < 0.1 and v.clear()),
    ]),
    "set": (set, raftline.ReplicatedSet, [
        same(_change_set),
        (lambda s, c: s.add(c.randrange(8)), lambda s, c: s.add(c.randrange(8)) and None),
        (lambda s, c: s.discard(c.randrange(8)), lambda s, c: s.discard(c.randrange(8)) and None),
        same(lambda s, c: s.remove(c.randrange(8))),
        same(lambda s, c: s.clear() if c.random() < 0.1 else None),
        same(lambda s, c: (c.randrange(8) in s, len(s), set(s))),
        same(lambda s, c: (s | {9}, s & {1, 2}, s - {1, 2}, s ^ {1, 9}, s <= {1, 2, 3})),
        same(lambda s, c: s == set(s)),
    ]),
}  # fmt: skip


def outcome(action: Callable[[Any, random.Random], Any], target: Any, seed: int) -> Any:
    """Return the result of an action, or the type of its error; False stands for None."""
    try:
        return action(target, random.Random(seed)) or None
    except (KeyError, IndexError, ValueError) as error:
        return type(error).__name__


@pytest.mark.parametrize("kind", ACTIONS)
def test_two_programs_on_one_object_match_one_plain_object(
    kind: str, cluster: Cluster, two: list[Clients]
) -> None:
    plain_type, replicated_type, actions = ACTIONS[kind]
    plain = plain_type()
    replicated = [replicated_type(kind, node=each) for each in two]
    chance = random.Random(kind)
    for number in range(OPERATIONS):
        if number in (OPERATIONS // 3, 2 * OPERATIONS // 3):
            cluster.start()
            cluster.leader().kill()
        on_plain, on_replicated = chance.choice(actions)
        expected = outcome(on_plain, plain, number)
        found = outcome(on_replicated, chance.choice(replicated), number)
        assert found == expected, f"step {number}"
        assert replicated[number % 2].copy() == plain, f"step {number}"


def test_dict_is_linearizable_while_leaders_die(cluster: Cluster, two: list[Clients]) -> None:
    """A dict is linearizable for many threads while leaders die."""
    history: list[ClientOperation] = []
    over = threading.Event()

    def use(number: int, shared: raftline.ReplicatedDict, chance: random.Random) -> None:
        for step in itertools.count():
            if over.is_set():
                return
            history.append(_operation(f"thread{number}", shared, step, chance))

    threads = [
        threading.Thread(
            target=use,
            args=(n, raftline.ReplicatedDict("shared", node=two[n % 2]), random.Random(n)),
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for killed in range(1, 4):
        eventually(lambda least=150 * killed: len(history) > least, "some hundred operations")
        victim = cluster.leader()
        victim.kill()
        victim.start()
    eventually(lambda: len(history) > 600, "some more")
    over.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    report = check(history)
    assert report.verdict is HistoryVerdict.LINEARIZABLE, "\n".join(report.excerpt)
    verbs = {(each.verb, each.found, each.returned_at is None) for each in history}
    assert {("set", None, False), ("delete", True, False), ("delete", False, False)} <= verbs


def _operation(
    client: str, shared: raftline.ReplicatedDict, step: int, chance: random.Random
) -> ClientOperation:
    """Do something to the dict, and return what was asked and answered."""
    key = chance.choice(KEYS)
    verb: Literal["get", "set", "delete"] = chance.choice(("get", "get", "set", "set", "delete"))
    value = f"{client} {step}" if verb == "set" else None
    found: bool | None = None
    called_at = time.monotonic()
    try:
        if verb == "set":
            shared[key] = value
        elif verb == "get":
            value = shared.get(key)
        else:
            found = shared.pop(key, None) is not None
    except raftline.OutcomeUnknown:
        return ClientOperation(client, verb, key, value, called_at, None)
    return ClientOperation(client, verb, key, value, called_at, time.monotonic(), found)


STOP = -1  # the last item of each consumer


def test_each_queue_item_is_taken_once_while_the_leader_dies(
    cluster: Cluster, two: list[Clients]
) -> None:
    """Each item of a queue is taken once by many while the leader dies."""
    queues = [raftline.ReplicatedQueue("jobs", node=each) for each in two]
    taken: SimpleQueue[int] = SimpleQueue()

    def produce(queue: raftline.ReplicatedQueue, first: int) -> None:
        for number in range(first, first + 40):
            queue.put(number)

    def consume(queue: raftline.ReplicatedQueue) -> None:
        while (number := queue.get(timeout=DEADLINE_S)) != STOP:
            taken.put(number)

    producers = [
        threading.Thread(target=produce, args=(queue, 1000 * n), daemon=True)
        for n, queue in enumerate(queues * 2)
    ]
    consumers = [threading.Thread(target=consume, args=(q,), daemon=True) for q in queues * 2]
    for thread in (*producers, *consumers):
        thread.start()
    eventually(lambda: taken.qsize() > 30, "some items taken")
    cluster.leader().kill()
    for thread in producers:
        thread.join(DEADLINE_S)
    for _ in consumers:
        queues[0].put(STOP)
    for thread in consumers:
        thread.join(DEADLINE_S)
    numbers = [taken.get() for _ in range(taken.qsize())]
    assert sorted(numbers) == [1000 * n + each for n in range(4) for each in range(40)]


def test_a_counter_counts_each_addition_once_though_leaders_die(
    cluster: Cluster, two: list[Clients]
) -> None:
    counters = [raftline.ReplicatedCounter("visits", node=each) for each in two]

    def count(counter: raftline.ReplicatedCounter) -> None:
        for _ in range(50):
            counter.add(2)

    threads = [threading.Thread(target=count, args=(each,)) for each in counters * 2]
    for thread in threads:
        thread.start()
    eventually(lambda: counters[0].value > 60, "some additions")
    cluster.leader().kill()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [int(each) for each in counters] == [400, 400]


def test_a_counter_refuses_values_out_of_its_range(two: list[Clients]) -> None:
    counter = raftline.ReplicatedCounter("visits", node=two[0])
    counter.reset(2**63 - 2)
    counter += 1
    for number in (1, 2**70):
        with pytest.raises(OverflowError, match="beyond 2\\^63-1"):
            counter.add(number)
    with pytest.raises(TypeError, match="whole numbers, not float"):
        counter.add(1.5)  # type: ignore[arg-type]
    raftline.Replicated("visits", node=two[1]).value = "many"
    with pytest.raises(raftline.errors.WrongKind):
        counter.add(1)
    with pytest.raises(raftline.errors.WrongKind):
        int(counter)


def test_one_value_is_set_compared_and_updated(two: list[Clients]) -> None:
    here, there = (raftline.Replicated("name with spaces\n", node=each) for each in two)
    assert here.value is None
    assert here.compare_and_set(None, {"a": [1, "two\nlines \\ é"]})
    assert not there.compare_and_set(None, 0)
    assert there.get() == {"a": [1, "two\nlines \\ é"]}
    assert there.compare_and_set({"a": [1, "two\nlines \\ é"]}, 5)
    assert not here.compare_and_set(6, 7)
    assert here.update(lambda number: number + 1) == 6
    here.delete()
    assert there.value is None


def test_same_name_for_another_kind_is_a_type_error(two: list[Clients]) -> None:
    """The same name for another kind is a TypeError and changes nothing."""
    raftline.ReplicatedList("x", node=two[0]).append([1])
    for use in (
        lambda: raftline.ReplicatedDict("x", node=two[1]).put("a", 1),
        lambda: raftline.ReplicatedDict("x", node=two[1]).copy(),
        lambda: raftline.ReplicatedSet("x", node=two[1]).add(1),
        lambda: raftline.ReplicatedSet("x", node=two[1]).copy(),
    ):
        with pytest.raises(
            raftline.errors.WrongKind, match=r"x holds no (dict|set) but something else"
        ):
            use()
    raftline.ReplicatedSet("s", node=two[0]).add("x")
    with pytest.raises(TypeError, match="can't hold a list"):
        raftline.ReplicatedSet("s", node=two[0]).add([1])  # as set() says, too


def test_write_without_a_quorum_times_out_as_unknown(cluster: Cluster, two: list[Clients]) -> None:
    """Without a quorum a write times out with an unknown outcome."""
    settings = raftline.ReplicatedDict("settings", node=two[0])
    settings["lamp"] = "on"
    settings = settings.within(1.0)
    for node in cluster.followers():
        node.pause()
    with pytest.raises(raftline.OutcomeUnknown):
        settings["lamp"] = "off"
    with pytest.raises((raftline.NoLeader, raftline.Unreachable)):
        settings.copy()
    cluster.kill()
    with pytest.raises(raftline.Unreachable):
        settings["lamp"] = "off"


def test_a_queue_raises_full_and_empty_like_the_standard_queue(two: list[Clients]) -> None:
    queue = raftline.ReplicatedQueue("jobs", node=two[0], maxsize=1)
    with pytest.raises(Empty):
        queue.get_nowait()
    queue.put({"id": 1})
    with pytest.raises(Full):
        queue.put_nowait(2)
    threading.Timer(0.1, lambda: raftline.ReplicatedQueue("jobs", node=two[1]).get()).start()
    queue.put(2, timeout=DEADLINE_S)
    assert (queue.get(), queue.qsize(), queue.empty()) == (2, 0, True)
