"""The programs of docs/examples: each does what its page says, and is well typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

import raftline
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports
from tests.processes.examples import BOTH, EXAMPLES, example
from tests.processes.typed import at

ROOT = Path(__file__).parents[3]
WEB_SERVICES = {"web_service": ["aiohttp"], "web_service_fastapi": ["fastapi", "uvicorn"]}


@BOTH
def test_the_config_store_prints_each_change(
    kv: raftline.KV[str], nodes: Cluster, form: str
) -> None:
    kv["app/lamp"] = "on"
    program = example(f"config_store{form}", nodes).launch()
    try:
        program.wait_for_line("{'app/lamp': 'on'}")
        kv["app/lamp"] = "off"
        program.wait_for_line("{'app/lamp': 'off'}")
        del kv["app/lamp"]
        program.wait_for_line("{}")
        assert program.said == ["{'app/lamp': 'on'}", "{'app/lamp': 'off'}", "{}"]
    finally:
        program.close()


@pytest.mark.parametrize(
    "form", ["cron_lock", "cron_lock_aio", "leader", "leader_aio", *WEB_SERVICES]
)
def test_an_example_without_its_argument_prints_what_it_takes(form: str) -> None:
    for package in WEB_SERVICES.get(form, ()):
        pytest.importorskip(package)
    command = [sys.executable, str(EXAMPLES / f"{form}.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"usage: {form}.py ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("form", WEB_SERVICES)
def test_the_web_service_answers_from_the_cluster(
    kv: raftline.KV[str], nodes: Cluster, form: str
) -> None:
    for package in WEB_SERVICES[form]:
        pytest.importorskip(package)
    port = next(free_ports)
    service = example(form, nodes, str(port)).launch()

    def asked(path: str, data: bytes | None = None) -> str:
        request = urllib.request.Request(
            f"http://localhost:{port}{path}", data, method="GET" if data is None else "PUT"
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return str(reply.read().decode())

    def serves() -> bool:
        try:
            return asked("/") != ""
        except OSError:
            return False

    try:
        eventually(serves, "the service")
        assert asked("/colour", b"blue as the sky") == ""
        assert asked("/colour") == "blue as the sky"
        assert kv["web/colour"] == "blue as the sky"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            asked("/nothing")
        assert asked("/") == f"visit {int(kv['visits'])}"
    finally:
        service.terminate()
        service.close()


# Those that repeat a program on the page, for asyncio or another framework: a link is enough.
AGAIN = {"config_store_aio", "cron_lock_aio", "leader_aio", "web_service_fastapi"}
PAGES = ["versions", "administration", "caches", "queues", "parties", "barriers", "shards"]


@pytest.mark.parametrize("name", PAGES)
def test_the_example_of_a_page_prints_what_the_page_shows(nodes: Cluster, name: str) -> None:
    page = (ROOT / "docs" / "use" / f"{name}.md").read_text("utf-8")
    shown = re.search(r"^```python\n.*?^```\n+^```\n(.*?)^```", page, re.M | re.S)
    assert shown is not None
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={**os.environ, "RAFTLINE": at(nodes)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.stdout == shown[1], ended.stderr


def test_the_pages_show_the_examples_as_they_are() -> None:
    pages = [ROOT / "docs" / "use" / name for name in ("python.md", "objects.md")]
    pages += [ROOT / "docs" / "use" / f"{name}.md" for name in PAGES]
    text = "".join(page.read_text("utf-8") for page in pages)
    examples = set(EXAMPLES.glob("*.py")) - {EXAMPLES / "text_document.py"}  # a link is enough
    assert len(examples) >= 4
    links = set(re.findall(r"\]\(\.\./examples/([a-z_]+)\.py\)", text))
    for path in examples:
        if path.stem in AGAIN & links:
            continue
        _, _, body = path.read_text().partition('"""\n\n')
        assert f"```python\n{body}```" in text, path.name


def test_no_example_needs_a_cast_or_any() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert not re.search(r"\bcast\b|\bAny\b|type: ignore", path.read_text("utf-8")), path.name


def test_the_examples_are_well_typed(tmp_path: Path) -> None:
    typing = tmp_path / "typing"
    typing.mkdir()
    (typing / "raftline").symlink_to(ROOT / "src")
    unknown = [form for form, needed in WEB_SERVICES.items() if not all(map(find_spec, needed))]
    examples = [str(path) for path in EXAMPLES.glob("*.py") if path.stem not in unknown]
    settings = ["--strict", "--explicit-package-bases", "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, *examples],
        env={**os.environ, "MYPYPATH": str(typing)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Success"), done.stdout + done.stderr
