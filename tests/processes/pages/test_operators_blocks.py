"""Blocks of docs/operate/tls-and-secret.md, run as they stand but for hosts, ports and `/etc`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.access.tls import TlsFiles, tls_of_node
from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.processes import DEADLINE_S, free_ports

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "operate" / "tls-and-secret.md"
MARK = f"<!-- run: {Path(__file__).relative_to(ROOT).as_posix()} -->"
BLOCK = re.compile(rf"^{re.escape(MARK)}\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRET, TLS, CLIENT, REVOKED, OPENSSL = (block[1] for block in BLOCK.finditer(PAGE.read_text()))
# Of the operator; exec, so that the one that started the node ends it.
COMMANDS = """set -e
raftline() {{ {python} -m raftline "$@"; }}
systemctl() {{ echo systemctl "$@"; }}
"""
OF_A_CA = """[ca]
default_ca = raftline
[raftline]
database = database
certificate = certs/ca.pem
private_key = certs/ca.key
default_md = sha256
default_crl_days = 30
"""
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")


@pytest.fixture
def port() -> int:
    return next(free_ports)


def script(block: str, port: int) -> list[str]:
    """Return a command for a block of the page, on one host whose node has this port."""
    here = block.replace("/etc/raftline/", "").replace("10000", str(port))
    here = re.sub(r"\bh\d\.example\.org", "localhost", here)
    here = re.sub(
        r"^raftline server", f"exec {sys.executable} -m raftline server", here, flags=re.M
    )
    return ["bash", "-c", COMMANDS.format(python=sys.executable) + here]


def run(block: str, folder: Path, port: int = 0) -> str:
    done = subprocess.run(
        script(block, port),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return without_notices(done.stdout)


@contextlib.contextmanager
def serving(block: str, folder: Path, port: int) -> Iterator[str]:
    """Run a block that ends with a node of one member; give what it printed until it led."""
    (folder / "server-configuration.txt").write_text(f"s1 localhost {port}\n")
    with subprocess.Popen(
        script(block, port),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "RAFTLINE_SERVER_PACE": "fast"},
    ) as node:
        try:
            assert node.stdout
            printed = ""
            for line in node.stdout:
                printed += line
                if "I am Leader" in line:
                    break
            assert "I am Leader" in printed, printed
            yield printed
        finally:
            node.send_signal(signal.SIGTERM)
            node.communicate(timeout=DEADLINE_S)
        assert node.returncode == 0


def test_a_secret_is_made_and_a_node_starts_with_it(tmp_path: Path, port: int) -> None:
    with serving(SECRET, tmp_path, port):
        assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_page_makes_certificates_and_a_client_speaks_tls(tmp_path: Path, port: int) -> None:
    """The commands on the page make certificates, with which a client connects to a node."""
    with serving(TLS, tmp_path, port):
        assert (
            run(CLIENT.replace("get a", "set a 1"), tmp_path, port) == "SET response: a set to 1\n"
        )
        assert run(CLIENT, tmp_path, port) == "1\n"
        # A CA's list of what was taken back. `make -C testing hosts-test` has systemd, too.
        (tmp_path / "ca.cnf").write_text(OF_A_CA)
        (tmp_path / "database").touch()
        assert run(REVOKED, tmp_path).endswith("systemctl reload raftline@s1\n")
    listed = run("openssl crl -in revoked.pem -noout -text", tmp_path)
    number = run("openssl x509 -in certs/app.pem -noout -serial", tmp_path)
    assert number.strip().removeprefix("serial=") in listed


def test_openssl_makes_certificates_that_a_member_takes(tmp_path: Path) -> None:
    run(OPENSSL.replace("h1.example.org", "h1.kept.org"), tmp_path)
    files = TlsFiles(*(tmp_path / name for name in ("s1.pem", "s1.key", "ca.pem")))
    assert tls_of_node(files, is_only=True) is not None
    run(
        "openssl verify -CAfile ca.pem -purpose sslserver -verify_hostname h1.kept.org s1.pem\n"
        "openssl verify -CAfile ca.pem -purpose sslclient s1.pem",
        tmp_path,
    )
