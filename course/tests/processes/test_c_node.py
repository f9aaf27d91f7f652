"""The second implementation, course/labs/conform/, alone and beside nodes of raftline."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import pytest

from raftline.common.config import FILE_NAME
from raftline_testing.abnf_grammar import Grammar
from raftline_testing.histories.linearizable import HistoryVerdict, check
from raftline_testing.nemesis.mix import Mix
from raftline_testing.nemesis.workload import Workload
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports
from raftline_testing.nodes.proxy import LinkedCluster, Network

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "course" / "labs" / "conform"
PAGE = ROOT / "docs" / "use" / "protocol.md"
LINES_MAX = 1000
JUDGED_S = 1500  # in which the kit is through on any machine
SANITIZED = "-fsanitize=address,undefined -fno-sanitize-recover=all"
GRAMMAR = Grammar()


def _build(folder: Path, options: str, broken: tuple[str, str, str] | None = None) -> Path:
    """Compile the node in a copy of its folder; `broken` is a file, a text in it, and another."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: `cc` is not on this machine, so the C node can't be built")
    if shutil.which("make") is None:
        pytest.skip("no `make` on this machine, so the C node can't be built")
    for source in [*SOURCES.glob("*.[ch]"), SOURCES / "Makefile"]:
        shutil.copy(source, folder)
    if broken is not None:
        file, old, new = broken
        text = (folder / file).read_text("utf-8")
        assert text.count(old) == 1
        (folder / file).write_text(text.replace(old, new), "utf-8")
    made = subprocess.run(
        ["make", "-C", folder, f"SANITIZE={options}"], capture_output=True, text=True
    )
    if options and "cannot find -l" in made.stderr:
        pytest.skip("the compiler of this machine has no sanitizers")
    assert made.returncode == 0, made.stderr
    return folder / "node"


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("c-node"), "")


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("c-node-sanitized"), SANITIZED)


class CNode(NodeProcess):
    """A process of the C node, or of another one that is started with the same words."""

    def __init__(self, program: Path | Sequence[str], name: str, port: int, folder: Path) -> None:
        super().__init__(name, port, folder)
        self._program = [str(program)] if isinstance(program, Path) else list(program)
        self.host = "127.0.0.1"

    @property
    def command(self) -> list[str]:
        return [*self._program, self.name, str(self.port), str(self.folder)]


class MixedCluster(LinkedCluster):
    """These programs, which announce no level, then nodes of raftline; the network keeps the lines
    that it carries."""

    def __init__(self, folder: Path, programs: Sequence[Path | Sequence[str]], others: int) -> None:
        super().__init__(folder, len(programs) + others, "--floor")
        self.said: set[tuple[str, str]] = set()  # a line, and the one who said it
        self.network.close()
        ports = {node.name: node.port for node in self.nodes}
        self.network = Network(ports, random.Random(1), self._carried)
        for place, node in enumerate(self.nodes):
            lines = [f"{name} localhost {self.network.port(node.name, name)}\n" for name in ports]
            (node.folder / FILE_NAME).write_text("".join(lines))
            if place < len(programs):
                self.nodes[place] = CNode(programs[place], node.name, node.port, node.folder)

    def _carried(self, speaker: str, hearer: str, line: bytes, arrives: bool, at_s: float) -> None:
        self.said.add((line.decode(), speaker))

    def leading(self) -> NodeProcess | None:
        """Return the node that leads, as a read that it serves proves."""
        for node in self.running:
            try:
                if node.ask("get probe", 2.0).partition("@")[2].startswith("GET response"):
                    return node
            except OSError:
                continue
        return None

    def wait_until_whole(self) -> MixedCluster:
        """Wait until a node leads and all may vote: a node of raftline that heard a leader before
        its first vote may not, until that leader has readmitted it."""

        def whole() -> bool:
            others = [node for node in self.running if not isinstance(node, CNode)]
            return all(node.status().get("recovering") is False for node in others)

        eventually(self.leading, "a leader")
        eventually(whole, "a vote for every node")
        return self

    def write(self, key: str, value: str) -> NodeProcess:
        """Set a key at whoever leads, and return that node."""

        def wrote() -> NodeProcess | None:
            node = self.leading()
            try:
                is_done = node is not None and "response: " in node.ask(f"w@set {key} {value}", 5.0)
            except OSError:
                return None
            return node if is_done else None

        return eventually(wrote, f"{key} set")

    def read(self, key: str) -> str:
        def value() -> str:
            node = self.leading()
            try:
                text = node.ask(f"get {key}", 5.0) if node is not None else ""
            except OSError:
                return ""
            return text.partition("@")[2] if "GET response" in text else ""

        return eventually(value, f"an answer to get {key}")

    def wait_until_alike(self) -> list[str]:
        """Wait until all logs hold the same entries, byte by byte; return them."""

        def alike() -> list[str]:
            logs = [entries_in(node.log) for node in self.nodes]
            return logs[0] if all(log == logs[0] for log in logs) else []

        return eventually(alike, "the same entries in all logs")


def entries_in(log: Path) -> list[str]:
    """Return the entries that count: `# cut after N` voids those after N."""
    entries: list[str] = []
    for line in log.read_text("utf-8").splitlines(keepends=True)[1:]:
        if found := re.fullmatch(r"# cut after ([0-9]+)\n", line):
            del entries[int(found[1]) :]
        elif not line.startswith("#"):
            entries.append(line)
    return entries


@pytest.fixture(
    params=[
        pytest.param((2, 1), id="two-of-three-in-C"),
        pytest.param((1, 2), id="one-of-three-in-C", marks=pytest.mark.nightly),
    ]
)
def cluster(request: pytest.FixtureRequest, tmp_path: Path, binary: Path) -> Iterator[MixedCluster]:
    c_nodes, others = request.param
    with MixedCluster(tmp_path, [binary] * c_nodes, others) as mixed:
        yield mixed.start()


def test_the_sources_have_at_most_a_thousand_lines() -> None:
    files = [*SOURCES.glob("*.[ch]"), SOURCES / "Makefile"]
    counted = {path.name: len(path.read_text("utf-8").splitlines()) for path in files}
    assert sum(counted.values()) <= LINES_MAX, counted


# --- by the kit that judges any language ---------------------------------------------------------


def _judged(binary: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "cli.py"), "conform", "--jobs", "2", *words]
    command += ["--", str(binary), "{name}", "{port}", "{dir}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=JUDGED_S, check=False)


@pytest.mark.parametrize(
    "is_mixed",
    [
        pytest.param(False, id="C-alone", marks=pytest.mark.nightly),
        pytest.param(True, id="beside-raftline"),
    ],
)
@pytest.mark.timeout(JUDGED_S)
def test_it_passes_the_first_four_levels(binary: Path, is_mixed: bool) -> None:
    others = (
        f"{sys.executable} {ROOT / 'src' / 'server.py'} {{name}} {{port}} --dir {{dir}} --floor"
    )
    done = _judged(binary, "--level", "1-4", *(["--with", others] if is_mixed else []))
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all passed\n")


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (("disk.h", "(ssize_t)batch.length && !fdatasync(log_file)", "(ssize_t)batch.length"),
         "synced-before-answer"),
        (("raft.h", "save_promise(asked, from), role", "role"), "vote-kept"),
        (("raft.h", "(last_term == mine && index < last_index)", "false"), "longer-log"),
        (("raft.h", "&& entries[index].term == term) commit", ") commit"), "own-term-alone"),
        (("raft.h", "entries[index].term == sent->at[i].term) continue", "false) continue"),
         "no-cut-without-conflict"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_without_a_rule_the_check_of_that_rule_fails(
    tmp_path: Path, broken: tuple[str, str, str], check: str
) -> None:
    done = _judged(_build(tmp_path, "", broken), "--only", check)
    assert done.returncode == 1, done.stdout
    assert f" {check} " in done.stdout


# --- one node ------------------------------------------------------------------------------------


def _alone(binary: Path, folder: Path, members: int = 3) -> CNode:
    """Return s1, whose peers never run."""
    ports = [next(free_ports) for _ in range(members)]
    names = [f"s{number} localhost {port}\n" for number, port in enumerate(ports, start=1)]
    (folder / FILE_NAME).write_text("".join(names))
    return CNode(binary, "s1", ports[0], folder)


def test_a_person_who_plays_its_peers_is_answered_as_on_the_page(
    sanitized: Path, tmp_path: Path
) -> None:
    node = _alone(sanitized, tmp_path)
    block = re.findall(r"```transcript alone\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    second = (tmp_path / FILE_NAME).read_text().split()[5]
    try:
        node.start()
        with node.connect() as talk:
            for line in block.replace("localhost:10001", f"localhost:{second}").splitlines():
                if not line.startswith("s1@"):
                    answer = talk.ask(line)
                elif line.startswith(("s1@Sorry, the entries", "s1@Sorry, malformed")):
                    assert answer.startswith("s1@Sorry, ")  # the page has the words of raftline
                else:
                    assert answer == line
    finally:
        node.close()


def test_whatever_bytes_come_it_goes_on(sanitized: Path, tmp_path: Path) -> None:
    """Lines of the grammar, each broken at one place, to a node with sanitizers."""
    node = _alone(sanitized, tmp_path, members=1)
    chance = random.Random(4)
    signs = 'aZ09@#-[]{}"\\:, \t\x00\x01\x7f\x85\u2028é😀'
    lines = []
    for _ in range(600):
        rule = chance.choice(["get", "set", "delete", "incr", "question", "request-line", "answer"])
        line = GRAMMAR.derive(rule, chance, {})
        place = chance.randrange(len(line))
        line = line[:place] + chance.choice([chance.choice(signs), ""]) + line[place + 1 :]
        raw = line.encode("utf-8", "surrogatepass")
        cut = chance.randrange(len(raw) + 1)
        lines.append(raw if chance.random() < 0.9 else raw[:cut] + b"\xff" + raw[cut:])
    try:
        node.start()
        eventually(lambda: node.ask("get a").startswith("s1@GET"), "s1 leads")
        with node.connect() as talk:
            for raw in lines:
                if raw.strip(b" \r") and b"\n" not in raw:
                    answer = talk.ask(raw)
                    assert GRAMMAR.matches("reply-line", answer) or "Level" in answer, (raw, answer)
        assert node.is_running
    finally:
        node.close()


def _spoil_nothing(data: bytes) -> bytes:
    return data


def _spoil_an_entry(data: bytes) -> bytes:
    return data.replace(b"set a 1", b"set a 2")


@pytest.mark.parametrize(
    ("file", "spoil", "starts"),
    [
        ("s1.log", _spoil_nothing, True),
        ("s1.log", _spoil_an_entry, False),  # the note's CRC tells
        ("s1.log", lambda data: data + b"9 1 se", True),  # a torn append
        ("s1.log", lambda data: data[: data.index(b"2 1 set")], False),  # synced entries are gone
        ("s1.storage", lambda data: data.replace(b"vote s1", b"vote s2"), False),
        ("s1.storage", lambda data: b"", False),
    ],
    ids=["as-it-was", "an-entry", "torn", "cut", "a-vote", "nothing"],
)
def test_files_that_are_torn_are_taken_and_damaged_ones_refused(
    binary: Path, tmp_path: Path, file: str, spoil: Callable[[bytes], bytes], starts: bool
) -> None:
    node = _alone(binary, tmp_path, members=1)
    try:
        node.start()
        eventually(lambda: "response" in node.ask("set a 1"), "s1 leads")
        node.kill()
        path = tmp_path / file
        path.write_bytes(spoil(path.read_bytes()))
        if starts:
            node.start()
            eventually(lambda: node.ask("get a") == "s1@GET response: 1", "the value")
        else:
            node.launch()
            assert node.ended() == 3
            node.wait_for_line("[!] ")
    finally:
        node.close()


def test_its_files_are_in_the_grammar_and_raftline_goes_on_with_them(
    binary: Path, tmp_path: Path
) -> None:
    node = _alone(binary, tmp_path, members=1)
    other = NodeProcess("s1", node.port, tmp_path)
    try:
        node.start()
        eventually(lambda: "response" in node.ask(r"client4#17@set a\sb c\nd"), "s1 leads")
        node.kill()
        for line in node.log.read_text("utf-8").splitlines(keepends=True):
            assert GRAMMAR.matches("log-line", line), line
        first, second = (tmp_path / "s1.storage").read_text().splitlines(keepends=True)
        assert GRAMMAR.matches("promise-line", first)
        assert GRAMMAR.matches("mark-line", second)
        assert first.endswith(f" crc32 {crc32(first.rpartition(' crc32 ')[0].encode()):08x}\n")
        other.start()
        eventually(lambda: other.ask(r"get a\sb") == r"s1@GET response: c\nd", "raftline leads")
    finally:
        node.close()
        other.close()


# --- a mixed cluster -----------------------------------------------------------------------------


def test_each_kind_of_leader_writes_is_killed_and_catches_up(cluster: MixedCluster) -> None:
    lead_in_turn(cluster, type, {CNode, NodeProcess}, least=4, most=30)


def lead_in_turn(
    cluster: MixedCluster,
    kind_of: Callable[[NodeProcess], object],
    kinds: set[object],
    *,
    least: int = 1,
    most: int,
) -> None:
    """Kill each leader after a write, until one of each kind has led; then restart all nodes."""
    led: set[object] = set()
    written: dict[str, str] = {}
    while len(written) < least or (led != kinds and len(written) < most):
        key, value = f"k{len(written)}", f"{len(written)} \\\\ é \\n"
        cluster.wait_until_whole()
        leader = cluster.write(key, value)
        written[key] = value
        led.add(kind_of(leader))
        leader.kill()
        assert cluster.read(key) == f"GET response: {value}"
        leader.start()
    assert led == kinds
    cluster.kill()
    cluster.start()
    for key, value in written.items():
        assert cluster.read(key) == f"GET response: {value}"
    entries = cluster.wait_until_alike()
    for key, value in written.items():
        assert any(f"set {key} {value}\n" in entry for entry in entries)
    check_wire(cluster)


def check_wire(cluster: MixedCluster) -> None:
    """Each line that the network carried is in the grammar, and so is each line of the logs."""
    said = cluster.said.copy()  # the network goes on
    assert len({speaker for _, speaker in said}) == 3
    for line, speaker in said:
        assert GRAMMAR.matches("question", line) or GRAMMAR.matches("answer", line), (speaker, line)
    for node in cluster.nodes:
        for line in node.log.read_text("utf-8").splitlines(keepends=True):
            assert GRAMMAR.matches("log-line", line), (node.name, line)


def answered(workload: Workload, verb: str) -> int:
    return sum(one.verb == verb and one.returned_at is not None for one in workload.history)


def test_what_clients_saw_amid_faults_is_linearizable(cluster: MixedCluster) -> None:
    chance = random.Random(7)
    pause = threading.Event()
    cluster.wait_until_whole()
    with Workload(cluster.nodes, 3, Mix(keys=2, patience_s=3.0), "c-node") as workload:
        for fault in ["kill", "part", "drop", "pause"]:
            node = cluster.leading() or chance.choice(cluster.nodes)
            if fault == "kill":
                node.kill()
            elif fault == "part":
                cluster.network.part(frozenset({node.name}))
            elif fault == "drop":
                cluster.network.drop(0.2)
            else:
                node.pause()
            pause.wait(1.5)
            if fault == "kill":
                node.start()
            elif fault == "pause":
                node.resume()
            cluster.network.drop(0.0)
            cluster.network.heal()
            cluster.wait_until_whole()
        for verb in ("set", "get"):
            eventually(lambda verb=verb: answered(workload, verb) > 50, f"50 answers to {verb}")
    report = check(workload.history)
    assert report.verdict is HistoryVerdict.LINEARIZABLE, "\n".join(report.excerpt)
    cluster.wait_until_alike()
    check_wire(cluster)
