"""A lone node that has only its trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raftline.common.address import Address
from raftline.common.config import FAST, FILE_NAME, Configuration
from raftline.node.clock import Clock
from raftline.node.program.startup import Startup, check_member
from raftline.node.program.startup import node_of as core_of
from raftline.storage.disk import FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.start_plan import read_plan
from raftline.tools.node_files.recover import recover


def started(path: Path, *, joins: bool = False) -> list[str]:
    """Start s1 from its files as a node does; return what is said of its membership."""
    known = {"s1": Address("localhost", 10000)}
    configuration = Configuration(path / FILE_NAME, {} if joins else known)
    startup = Startup("s1", configuration, lambda _: None, joins=joins)
    manager, recovered = startup.recover()
    manager.close()
    node = core_of(
        startup, recovered, FAST, Clock(), heartbeat_ms=50, leased=False, compact_bytes=1 << 20
    )
    return check_member(node.view, configuration)


def test_a_lone_node_with_its_trace_alone_is_sent_to_no_recovery(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE_NAME).write_text("s1 localhost 10000\n")
    (tmp_path / ".s1.born").write_bytes(b"s1 was born here.\n")
    assert "recover" not in str(read_plan(Folder(tmp_path), "s1").problems[0])
    for _ in range(2):  # the first start leaves a log without entries
        with pytest.raises(FilesRefused, match="is the only member") as refused:
            started(tmp_path)
        assert "recover" not in str(refused.value)
    assert recover(str(tmp_path), "s1", confirmed=True) == 3
    explained, said = capsys.readouterr()
    assert explained == ""  # there is nothing to go on with
    found = re.search("remove (.*)", said)
    assert found is not None
    for name in re.findall(r"\.?s1\.\w+", found[1]):
        (tmp_path / name).unlink(missing_ok=True)
    assert all("is the only member" not in line for line in started(tmp_path))
