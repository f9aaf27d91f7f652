"""The second implementation, course/labs/conform/, alone and along with nodes of raftline."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest
from course.tests.processes.c_node import ROOT, SOURCES, build
from course.tests.processes.mixed_cluster import (
    GRAMMAR,
    JUDGED_S,
    CNode,
    MixedCluster,
    lead_in_turn,
    serve_amid_faults,
)

from raftline.common.config import FILE_NAME
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports

PAGE = ROOT / "docs" / "use" / "protocol.md"
LINES_MAX = 1000
SANITIZED = "-fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("c-node-sanitized"), SANITIZED)


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
    done = _judged(build(tmp_path, "", broken), "--only", check)
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


def test_whatever_bytes_come_it_continues(sanitized: Path, tmp_path: Path) -> None:
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
        ("s1.log", _spoil_an_entry, False),  # the checksum tells
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


def test_c_node_files_are_in_the_grammar_and_raftline_reads_them(
    binary: Path, tmp_path: Path
) -> None:
    """The files of the node in C are in the grammar, and raftline continues with them."""
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


def test_what_clients_saw_amid_faults_is_linearizable(cluster: MixedCluster) -> None:
    serve_amid_faults(cluster)
