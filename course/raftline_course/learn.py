"""`raftline learn`: serve docs/learn, with the lab page, to the browsers of this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from raftline.common.arguments import Parser
from raftline.common.config import ConfigError
from raftline.picture.harness.lab.sources import ROOT, packed
from raftline_testing.lab_address import PAGE, PORT

SOURCES = "/docs/learn/lab/sources.zip"
ICON = "/favicon.ico"
FOLDERS = ("/docs/learn/", "/extensions/picture/view/static/", "/src/raft/")
# A core that was handed in runs in the page's worker, and may ask only this server and the place of
# Pyodide (docs/learn/lab/lab.js).
POLICY = "connect-src 'self' https://cdn.jsdelivr.net; form-action 'none'; base-uri 'none'"
HOSTS = ("localhost", "127.0.0.1", "[::1]")


def parser() -> Parser:
    """Return the argument parser."""
    options = Parser(
        prog="raftline learn",
        description="Serve the pages of docs/learn of this clone to the browsers of this machine: "
        "the lab, in which real nodes run in the browser, and questions. Ctrl-C ends it.",
    )
    options.add_argument(
        "--port", metavar="PORT", type=int, default=PORT, help=f"the page's port ({PORT})"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C; return the exit code.

    Raises:
        ConfigError: there are no pages, or the port is in use.
    """
    given = parser().parse_args(arguments)
    if not (ROOT / PAGE[1:]).is_file():
        raise ConfigError("the lab page is in a clone of raftline, in docs/learn")
    with server(given.port) as serving:
        print(f"the lab: http://localhost:{serving.server_port}{PAGE}", flush=True)
        if not (ROOT / "docs/learn/lab/pyodide").is_dir():
            print("CPython comes from a CDN; `make -C docs lab` fetches it for offline use")
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return 0


def server(port: int, root: Path = ROOT) -> ThreadingHTTPServer:
    """Return a server of the pages on this machine's own address.

    Raises:
        ConfigError: the port is in use.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(root)))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} can't be used: {error}") from error


class Handler(SimpleHTTPRequestHandler):
    """Serves the folders of the pages, and the sources as they are now."""

    def do_GET(self) -> None:
        if self.path == ICON:
            self.send_response(HTTPStatus.NO_CONTENT)  # a browser asks for it by itself
            self.end_headers()
        elif self._is_refused():
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self.path.partition("?")[0] == SOURCES:
            self._send_sources()
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_refused():
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            super().do_HEAD()

    def _is_refused(self) -> bool:
        host = self.headers.get("Host", "").rpartition(":")[0]
        path = Path(self.translate_path(self.path))
        folders = [Path(self.translate_path(folder)) for folder in FOLDERS]
        return host not in HOSTS or not any(folder in path.parents for folder in folders)

    def _send_sources(self) -> None:
        data = packed(Path(self.directory))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def guess_type(self, path: object) -> str:
        """Return the type of a file: an unusual table of types must not keep a script from
        running."""
        types = {
            ".js": "text/javascript",
            ".mjs": "text/javascript",
            ".py": "text/plain; charset=utf-8",
            ".wasm": "application/wasm",
        }
        return types.get(Path(str(path)).suffix) or super().guess_type(str(path))

    def log_request(self, *values: object) -> None:
        """Print nothing about a request; a failed one is shown by the page."""
