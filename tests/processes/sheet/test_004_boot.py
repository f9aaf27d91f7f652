"""How a node comes up: its lines, its files, its configuration."""

from __future__ import annotations

import re
from pathlib import Path

from raftline.common.config import FILE_NAME
from raftline_testing.nodes.cluster import STARTED, STEADY, Cluster
from raftline_testing.nodes.processes import eventually, free_ports

REPORT = "0 1 set a 4\n1 2 set b 30\n2 3 get b\n3 3 set c 5\n4 3 delete b\n"
TIMEOUT = re.compile(r"with timeout ([0-9.]+) seconds")

OWN = ("noop", "cluster", "members")  # entries of the core


def test_two_arguments_start_a_node_that_recovers_then_times(tmp_path: Path) -> None:
    """With two arguments, a node recovers its log and then starts its election timer."""
    logs = tmp_path / "logs"
    logs.mkdir()
    with Cluster(logs, 3) as cluster:
        node = cluster["s1"]
        node.where, node.working_folder = [], tmp_path
        node.start()
        assert node.said[:4] == [
            str(logs / FILE_NAME),
            "[*] Recovering logs...",
            "[*] Current term: 0",
            f"[*] Server started on ('localhost', {node.port}) with timeout "
            + node.said[3].rpartition("timeout ")[2],
        ]
        assert node.status()["role"] != "leader"  # asked late, it may have begun to stand


def test_the_human_pace_gives_the_course_timeouts(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--pace", "human") as cluster:
        node = cluster["s1"].start()
        timeout = TIMEOUT.search(node.wait_for_line(STARTED))
        assert timeout is not None
        assert 10.0 <= float(timeout[1]) <= 18.0


def test_hand_written_log_of_the_report_is_adopted(tmp_path: Path) -> None:
    """The hand-written log of the report is adopted, and the node says so."""
    with Cluster(tmp_path, 3) as cluster:
        for node in cluster.nodes:
            node.log.write_text(REPORT)
        cluster.start()
        timeout = TIMEOUT.search(cluster["s1"].wait_for_line(STARTED))
        assert timeout is not None
        assert float(timeout[1]) > 0  # though it stands at once
        assert cluster["s1"].said[1:4] == [
            "[*] Recovering logs...",
            "[*] s1.log: adopted 5 hand-written entries, renumbered from 1",
            "[*] Current term: 3",
        ]
        assert cluster.ask("client1@show") == 'SHOW response: {"a": "4", "c": "5"}'
        assert cluster.ask("client1@get b") == "GET response, no such key: b"
        lines = cluster["s1"].log.read_text().splitlines()
        entries = [line for line in lines if not line.startswith("#")]
        assert entries[1:6] == [
            "1 1 set a 4",
            "2 2 set b 30",
            "3 3 get b",
            "4 3 set c 5",
            "5 3 delete b",
        ]


def test_with_reads_log_a_get_is_an_entry_and_show_never_is(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--reads", "log", *STEADY) as cluster:
        cluster.start().led_by("s1")
        assert cluster.ask("client1@set b 30") == "SET response: b set to 30"
        assert cluster.ask("client1@get b") == "GET response: 30"
        assert cluster.ask("client1@show") == 'SHOW response: {"b": "30"}'
        assert cluster.ask("client1@delete b") == "DELETE response: b deleted"
        path = cluster.leader().log
        eventually(lambda: " delete b\n" in path.read_text(), "the last entry on its disk")
        log = path.read_text()
        verbs = [line.split(" ")[2] for line in log.splitlines()[1:] if line[0] != "#"]
        assert [verb for verb in verbs if verb not in OWN] == ["set", "get", "delete"]


def test_without_reads_log_neither_get_nor_show_is_logged(shared: Cluster) -> None:
    shared.ask("client1@set k v")
    assert shared.ask("client1@get k") == "GET response: v"
    assert shared.ask("client1@show k") == 'SHOW response: {"k": "v"}'
    assert shared.ask("client1@set k w") == "SET response: k set to w"
    shared.wait_until_on_all_disks()
    log = shared["s1"].log.read_text()
    assert " set k w\n" in log
    assert " get k\n" not in log
    assert " show k\n" not in log


def test_a_node_registers_itself_in_the_configuration(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        (tmp_path / FILE_NAME).unlink()
        node.start("--register")
        assert node.said[0] == str(tmp_path / FILE_NAME)
        written = (tmp_path / FILE_NAME).read_text()
        assert f"s1 localhost {node.port}\n" in written
        assert cluster.ask("client1@set a 4") == "SET response: a set to 4"
        node.terminate()
        node.start("--register")
        assert (tmp_path / FILE_NAME).read_text() == written
        assert cluster.ask("client1@get a") == "GET response: 4"


def test_name_and_port_alone_make_a_configuration_line(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        (tmp_path / FILE_NAME).write_text(f"s1 {cluster['s1'].port}\n")
        cluster["s1"].start()
        assert cluster.ask("client1@set a 4") == "SET response: a set to 4"


def test_a_restarted_node_keeps_its_log_and_its_term(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        terms = []
        for life in range(3):
            node.start()
            assert (
                cluster.ask(f"client1@set life{life} {life}") == f"SET response: life{life} "
                f"set to {life}"
            )
            terms.append(node.status()["term"])
            node.kill()
        node.start()
        recovered = node.wait_for_line("[*] Current term: ")
        assert terms == sorted(set(terms))
        assert int(recovered.rpartition(" ")[2]) >= terms[-1]
        assert cluster.ask("client1@show") == (
            'SHOW response: {"life0": "0", "life1": "1", "life2": "2"}'
        )


def test_a_folder_with_spaces_and_other_letters_works(tmp_path: Path) -> None:
    folder = tmp_path / "données de l'été"
    folder.mkdir()
    with Cluster(folder, 1) as cluster:
        cluster.start()
        assert cluster["s1"].said[0] == str(folder / FILE_NAME)
        assert cluster.ask("client1@set clé é") == "SET response: clé set to é"


def test_register_makes_a_missing_folder(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        node.where = ["--dir", str(tmp_path / "new" / "folder")]
        node.start("--register")
        assert (tmp_path / "new" / "folder" / "s1.log").exists()


def test_member_in_the_log_but_not_the_configuration_stays(tmp_path: Path) -> None:
    """A member that is in the log but not in the configuration stays a member."""
    with Cluster(tmp_path, 3) as cluster:
        cluster.start()
        cluster.ask("client1@set a 4")
        node = cluster["s3"]
        node.kill()
        path = tmp_path / FILE_NAME
        path.write_text(path.read_text() + f"s4 localhost {next(free_ports)}\n")
        node.start()
        assert node.wait_for_line("[!] the log says the members are") == (
            f"[!] the log says the members are s1 s2 s3, {path} says s1 s2 s3 s4: the log holds"
        )
        eventually(lambda: node.status().get("commit_index", 0) >= 2)
        assert node.status()["voters"] == ["s1", "s2", "s3"]
