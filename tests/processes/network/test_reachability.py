"""A node says where others look for it in vain: at another port, at another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftline.common.address import Address
from raftline.common.config import FILE_NAME, Configuration
from raftline.net.peers.reachability import report_reachability
from raftline_testing.nodes.cluster import STARTED, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually

OPEN = "--open-to-network"


@pytest.fixture
def alone(tmp_path: Path) -> Cluster:
    """Return one node that is configured and not started."""
    return Cluster(tmp_path, 1)


def configured(cluster: Cluster, host: str, port: int | None = None) -> tuple[NodeProcess, str]:
    """Say in the file that s1 is at `host`; return the node and what its note begins with."""
    node = cluster["s1"]
    path = cluster.folder / FILE_NAME
    path.write_text(f"s1 {host} {port or node.port}\n")
    return node, f"[!] {path} says that others reach s1 "


def notes(node: NodeProcess) -> list[str]:
    """Return what the node says of where it is reached, before it serves."""
    said = node.said[: next(n for n, line in enumerate(node.said) if STARTED in line)]
    return [line for line in said if "others reach" in line]


def test_unheard_host_is_reported_with_the_option(alone: Cluster) -> None:
    """A node that does not listen at its configured host reports that, and names the option."""
    with alone:
        node, begin = configured(alone, "127.0.0.2")
        assert notes(node.start()) == [
            f"{begin}at 127.0.0.2:{node.port}, but it listens on localhost: fine behind a proxy, "
            "otherwise nobody will find it. Without a proxy, start it with --host 127.0.0.2"
        ]


def test_a_host_of_another_machine_is_reported_with_both_options(alone: Cluster) -> None:
    with alone:
        node, begin = configured(alone, "192.0.2.5")  # nobody's: for documentation
        assert notes(node.start()) == [
            f"{begin}at 192.0.2.5:{node.port}, but it listens on localhost: fine behind a proxy, "
            "otherwise nobody will find it. Without a proxy, 192.0.2.5 is not an address of this "
            f"machine: correct it there, or start the node with --host 0.0.0.0 {OPEN}"
        ]


def test_an_unknown_host_name_is_reported(alone: Cluster) -> None:
    with alone:
        node, begin = configured(alone, "nowhere.invalid")
        node.start()
        line = node.wait_for_line("others reach")
        assert line.startswith(f"{begin}at nowhere.invalid:{node.port}, but it listens on loc")
        assert line.endswith(f"or start the node with --host 0.0.0.0 {OPEN}")


def test_node_on_another_host_than_localhost_is_reported(alone: Cluster) -> None:
    """If the file says localhost and the node runs on another host, this is reported."""
    with alone:
        node, begin = configured(alone, "localhost")
        node.host = "127.0.0.3"
        said = notes(node.start("--host", "127.0.0.3"))
        assert len(said) == 1
        assert said[0].startswith(f"{begin}at localhost:{node.port}, but it listens on 127.0.0.3: ")
        assert said[0].endswith("start it with --host localhost")


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("localhost", []), ("LOCALHOST", []), ("127.0.0.1", []),
        ("127.0.0.1", ["--host", "localhost"]), ("localhost", ["--host", "127.0.0.1"]),
        ("127.0.0.2", ["--host", "127.0.0.2"]), ("0.0.0.0", []),
        ("192.0.2.5", ["--host", "0.0.0.0", OPEN, "--insecure"]),
    ],
)  # fmt: skip
def test_no_warning_for_a_host_that_the_node_listens_on(
    alone: Cluster, host: str, options: list[str]
) -> None:
    with alone:
        node, _ = configured(alone, host)
        assert notes(node.start(*options)) == []


def test_another_port_than_the_files_is_reported(alone: Cluster) -> None:
    with alone:
        node, begin = configured(alone, "localhost", 1)
        assert notes(node.start()) == [
            f"{begin}on port 1, but it listens on {node.port}: fine behind a proxy, "
            "otherwise nobody will find it"
        ]


def test_no_warning_for_a_name_that_only_others_resolve() -> None:
    """It may be that of a load balancer, for example, in front of a node that listens on all
    addresses."""
    said: list[str] = []
    configuration = Configuration(Path("file"), {"s1": Address("nowhere.invalid", 1)})
    for bound in ("192.0.2.5", "127.0.0.1"):
        report_reachability("s1", Address(bound, 1), configuration, {}, bound, said.append)
    eventually(lambda: said, "the note about the second address")
    assert len(said) == 1
    assert "listens on 127.0.0.1" in said[0]


def test_no_warning_where_the_node_advertises_what_the_file_says(alone: Cluster) -> None:
    with alone:
        node, _ = configured(alone, "192.0.2.5", 7)
        assert notes(node.start("--advertise", "192.0.2.5:7")) == []


def test_node_advertising_another_address_than_the_file_says_so(alone: Cluster) -> None:
    """A node that advertises another address than the file's reports that."""
    with alone:
        node, begin = configured(alone, "localhost")
        assert notes(node.start("--advertise", "192.0.2.5:7")) == [
            f"{begin}at localhost:{node.port}, but --advertise says 192.0.2.5:7: they use the "
            "former. Correct --advertise; to move a member, use `remove` and `add`"
        ]
