"""A lab page without a copy of CPython loads it from the CDN: a stand-in with that name here."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from raftline.access import authority
from raftline.picture.harness.lab.sources import ROOT
from raftline.picture.tests.processes.lab_page import LabPage, browser_of_lab, clone_without_cpython

HOST = "cdn.jsdelivr.net"
LOCK = ROOT / "testing" / "pyodide" / "package-lock.json"


class Cdn(SimpleHTTPRequestHandler):
    """Has the package in the version of the lock file, and lets pages of other hosts load it."""

    asked: ClassVar[set[str]] = set()

    def translate_path(self, path: str) -> str:
        version = json.loads(LOCK.read_text())["packages"]["node_modules/pyodide"]["version"]
        folder, _, name = path.rpartition("/")
        self.asked.add(name)
        known = folder == f"/npm/pyodide@{version}"
        return str(ROOT / "docs/learn/lab/pyodide" / name) if known else "/missing"

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *values: object) -> None:
        """Print nothing."""


@contextmanager
def cdn(folder: Path) -> Iterator[int]:
    """Yield the port of the stand-in."""
    authority.make(folder, [f"s1={HOST}"], [])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s1.pem", folder / "s1.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Cdn) as serving:
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_port
        serving.shutdown()


def test_page_without_a_copy_of_cpython_loads_it_from_the_cdn(
    tmp_path: Path,
) -> None:
    clone_without_cpython(tmp_path)
    (tmp_path / "certs").mkdir()
    with cdn(tmp_path / "certs") as port:
        names = f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{port}, EXCLUDE localhost"
        options = (names, "--ignore-certificate-errors")
        with browser_of_lab(*options, root=tmp_path) as (browser, address):
            page = LabPage(browser, address).load("story=election")
            page.waits_for("#tale", "An election")
            assert {"pyodide.mjs", "pyodide.asm.wasm", "python_stdlib.zip"} <= Cdn.asked
