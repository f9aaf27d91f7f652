"""A quorum of a fresh cluster serves every verb, in each setting; nobody waits for the rest."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest

from raftline.access import authority
from raftline.access.secret import make_secret
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.clients.connections.client_tls import ClientTls
from raftline.clients.connections.node_connection import Unreachable
from raftline.net.line_connection import LineConnection
from raftline.raft.identity import CLUSTER
from raftline.wire.commands.command_table import COMMANDS, Command
from raftline.wire.refusal import AT_FLOOR, RequestOutcome
from raftline.wire.replies.refusals import code_of
from raftline.wire.replies.replies import outcome_of
from raftline_testing.nodes.cluster import STARTED, Cluster, NodeProcess
from raftline_testing.nodes.known_users import ROOT, first_admin, verifier_of
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from raftline_testing.runner.at_night import at_night

PASSWORD = "correct horse battery"
SIZES = (1, 2, 3, 4, 5, 7)
SETTINGS = ("plain", "secret", "TLS", "users")
ALL = "secret TLS users"  # together
OPEN = (RequestOutcome.NO_LEADER, RequestOutcome.UNKNOWN)  # no node has served the line
OPERANDS = {
    "KEY": "k", "VALUE": "5", "OLD": "5", "NEW": "6", "SECONDS": "10", "LEASE": "lease-1",
    "PREFIX": "none/", "NAME": "nobody", "ROLE": "admin", "PASSWORD": "wrong", "MESSAGE": "biws",
    "MODE": "alone", "CLAIM": "lease-1", "COUNT": "1", "MAX": "1", "NUMBER": "1",
    "HOST": "localhost", "PORT": "1", "OPERATION": "get k", "JSON": "1", "NOW": "1000",
    "COMMAND": "APPEND k 5",
}  # fmt: skip
_OPTIONAL = re.compile(r" ?\[[^][]*\]")  # without another one inside


def line_of(row: Command) -> str:
    """Return a line with the verb of a row, made from the form that `help` shows."""
    words = (
        _OPTIONAL.sub("", _OPTIONAL.sub("", row.form))
        .replace(" ; ...", "")
        .replace(" ...", " k 1")
        .split(" ")
    )
    given = {**OPERANDS, "VERIFIER": str(verifier_of(PASSWORD))}
    if row.verb == "object":
        given["OPERATION"] = "set.add 1"
    line = " ".join(given[word] if word.isupper() else word.split("|")[0] for word in words)
    return f"client4@{line}" if row.verb in ("session", "forget") else line


def quorums(size: int) -> Iterator[tuple[int, ...]]:
    """Yield each set of the members 1 to `size` that is a quorum."""
    for count in range(size // 2 + 1, size + 1):
        yield from combinations(range(1, size + 1), count)


def sets_of_all() -> list[object]:
    """Return the combinations for each run, and for the night the others."""
    each_run: list[tuple[int, tuple[int, ...], str]] = [
        (3, up, setting) for up in ((1, 2), (1, 3), (2, 3)) for setting in SETTINGS
    ]
    each_run += [(size, tuple(range(size - size // 2, size + 1)), ALL) for size in SIZES]
    others = [(size, up, kind) for size in SIZES for up in quorums(size) for kind in SETTINGS]
    return [*each_run, *at_night(*((one,) for one in others if one not in each_run))]


class Fresh:
    """A cluster in which some of the nodes were never started."""

    def __init__(self, folder: Path, size: int, up: Sequence[int], setting: str) -> None:
        options: list[str] = []
        if "secret" in setting:
            make_secret(folder / "secret")
            options += ["--secret", str(folder / "secret")]
        if "users" in setting:
            options += first_admin(folder, PASSWORD)
        if setting == "users":  # members prove nothing
            options.append("--insecure")
        self._credentials = Credentials(ROOT, PASSWORD) if "users" in setting else None
        self._tls: ClientTls | None = None
        (folder / "nodes").mkdir()
        self.cluster = Cluster(folder / "nodes", size, *options)
        if "TLS" in setting:
            self._use_tls(folder / "certs")
        self.up = [self.cluster[f"s{number}"] for number in up]

    def _use_tls(self, folder: Path) -> None:
        folder.mkdir()
        authority.make(
            folder, [f"{node.name}=localhost,127.0.0.1" for node in self.cluster.nodes], []
        )
        ca = str(folder / "ca.pem")
        for node in self.cluster.nodes:
            own = [str(folder / f"{node.name}.{end}") for end in ("pem", "key")]
            node.options += ["--tls-cert", own[0], "--tls-key", own[1], "--tls-ca", ca]
        self._tls = ClientTls(ca=ca)

    def start(self) -> None:
        for node in self.up:
            node.launch()
        for node in self.up:
            node.wait_for_line(STARTED)

    def ask(self, node: NodeProcess, line: str) -> str:
        """Return the reply of a node on a connection of its own, with a code before a refusal."""
        with LineConnection(node.port, DEADLINE_S, tls=self._tls) as connection:
            if self._credentials is not None:
                log_in(connection, self._credentials, "c", DEADLINE_S)
            connection.ask("codes")
            return connection.ask(line).partition("@")[2]

    def served(self, line: str) -> str:
        """Return the first reply with which a node serves a line."""

        def reply() -> str:
            for node in self.up:
                try:
                    text = self.ask(node, line)
                except (OSError, Unreachable):  # restarting, or without its users yet
                    continue
                if text and outcome_of(text) not in OPEN:
                    return text
            return ""

        return eventually(reply, f"a reply to {line}")


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fresh]:
    """A cluster whose members of this set are started for the first time."""
    one = Fresh(tmp_path, *request.param)
    with one.cluster:
        one.start()
        yield one


@pytest.mark.parametrize("fresh", sets_of_all(), indirect=True, ids=str)
def test_a_quorum_serves_every_verb(fresh: Fresh) -> None:
    """In a new cluster, the members that are missing never ran."""
    assert fresh.served("set k 5") == "SET response: k set to 5"
    refused = {}
    for verb, row in COMMANDS.items():
        reply = fresh.served(line_of(row))
        if code_of(reply) == AT_FLOOR.code or "don't understand" in reply:
            refused[verb] = reply
    assert refused == {}
    said = " ".join(fresh.ask(node, "status") for node in fresh.up)
    identities = re.findall(rf'"cluster": "({CLUSTER})"', said)
    assert (len(identities), len({*identities})) == (len(fresh.up), 1)


@pytest.mark.parametrize(
    "fresh", [(3, (1, 2), "users"), (5, (1, 2, 3), ALL)], indirect=True, ids=str
)
def test_the_first_admin_comes_with_a_quorum(fresh: Fresh) -> None:
    """The first leader is killed at once, and restarted. The admin of the file may write before
    its entry is there."""
    leads = eventually(
        lambda: next((n for n in fresh.up if "[*] I am Leader" in n.lines), None), "a first leader"
    )
    leads.running.send_signal(signal.SIGKILL)
    leads.ended()
    leads.start()
    added = f"user-add {ROOT} "
    assert fresh.served("set k 5") == "SET response: k set to 5"
    eventually(lambda: added in fresh.up[0].log.read_text(), "the entry of the first admin")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, 3) as cluster:
        yield cluster.start()


@pytest.mark.parametrize("roles", ["norole", "reader", "admin,norole"])
def test_refused_user_add_demands_no_login(three: Cluster, roles: str) -> None:
    """Anybody may send it to a cluster without users."""
    line = f"client4@user-add bob {verifier_of(PASSWORD)} {roles.replace(',', ' ')}"
    leader = three.leader()
    reply = three.ask(line)
    assert reply.startswith("Sorry, ") or "no such role" in reply
    three.wait_until_equal()
    for node in three.nodes:
        assert node.ask("client4@get k read local").endswith("no such key: k")
    leader.kill()
    assert three.ask("client4@set k 6") == "SET response: k set to 6"
