"""`raftline learn` serves the pages of docs/learn, and nothing else of the clone."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from raftline.common.config import ConfigError
from raftline_course import learn

CLONE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with learn.server(0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_port
        serving.shutdown()


def get(port: int, path: str, host: str = "localhost") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    result = answer.status, answer.headers.get_content_type(), answer.read()
    connection.close()
    return result


def test_page_and_what_it_loads_are_served(port: int) -> None:
    status, kind, text = get(port, learn.PAGE)
    assert (status, kind) == (200, "text/html")
    assert b"raftline lab" in text
    assert get(port, "/docs/learn/lab/lab.js")[:2] == (200, "text/javascript")
    assert get(port, "/extensions/picture/view/static/model.js")[:2] == (200, "text/javascript")
    assert get(port, "/src/raft/election.py")[:2] == (200, "text/plain")  # linked as a reason
    status, kind, data = get(port, learn.SOURCES)
    assert (status, kind) == (200, "application/zip")
    names = zipfile.ZipFile(BytesIO(data)).namelist()
    assert {"boot.py", "raftline/raft/node.py", "bugs/bug-24.patch"} <= set(names)


@pytest.mark.parametrize("path", [learn.PAGE, "/docs/learn/lab/worker.js", "/"])
def test_core_of_a_student_may_ask_no_other_server(port: int, path: str) -> None:
    """Python in the page's worker reaches `fetch`, and a grader opens the page with it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": f"localhost:{port}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("connect-src 'self' https://cdn.jsdelivr.net; ")


@pytest.mark.parametrize(
    "path",
    ["/", "/src/cli.py", "/docs/learn/../../src/cli.py", "/docs/learn/%2e%2e/%2e%2e/src/cli.py"],
)
def test_other_files_are_not_served(port: int, path: str) -> None:
    assert get(port, path)[0] == 404


def test_page_of_another_site_gets_nothing(port: int) -> None:
    assert get(port, learn.PAGE, host="elsewhere.example")[0] == 404


def test_port_in_use_is_told(port: int) -> None:
    with pytest.raises(ConfigError, match=f"port {port} can't be used"):
        learn.server(port)


@pytest.mark.parametrize("page", ["README.md", "docs/learn/README.md", "docs/learn/lab-guide.md"])
def test_pages_name_a_command_that_works_in_a_clone(page: str) -> None:
    """A clone without an environment has no `raftline` on its path."""
    text = (learn.ROOT / page).read_text(encoding="utf-8")
    (command,) = set(re.findall(r"python3 (src/cli\.py learn)\b", text))
    ran = subprocess.run(
        [sys.executable, "-I", *command.split(" "), "--help"],
        cwd=learn.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage: raftline learn" in ran.stdout


@pytest.mark.parametrize("page", ["docs/learn/README.md", "docs/learn/lab.html"])
def test_each_command_to_type_runs_in_a_bare_clone(page: str) -> None:
    """With the Python that is there, and nothing of an environment: `raftline` is not a program."""
    text = (CLONE / page).read_text("utf-8")
    assert not re.search(r"(?:`|<code>)raftline \w", text)
    typed = set(re.findall(r"(?:`|<code>)(python3 src/cli\.py \w+)", text))
    assert typed
    for command in typed:
        words = [sys.executable, "-S", *command.split()[1:], "--help"]
        done = subprocess.run(words, cwd=CLONE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage: ")
