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
from raftline_testing.nodes.processes import DEADLINE_S, Process, eventually, free_ports
from tests.processes.typed import at, somebody_waits

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
WEB_SERVICES = {"web_service": ["aiohttp"], "web_service_fastapi": ["fastapi", "uvicorn"]}
BOTH = pytest.mark.parametrize("form", ["", "_aio"])  # for threads, and for asyncio


def example(name: str, nodes: Cluster, *arguments: str) -> Process:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    return Process(name, command, env={**os.environ, "RAFTLINE": at(nodes)})


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


@BOTH
def test_the_cron_lock_has_one_job_run_and_hands_it_a_token(
    kv: raftline.KV[str], nodes: Cluster, form: str
) -> None:
    job = example(f"cron_lock{form}", nodes, "sh", "-c", "echo token $TOKEN; read line; exit 3")
    job._popen["stdin"] = subprocess.PIPE
    job.launch()
    try:
        job.wait_for_line("token ")
        second = example(f"cron_lock{form}", nodes, "echo", "twice").launch()
        assert second.ended(DEADLINE_S) == 1
        assert second.said[0].startswith("not begun: it runs as program on ")
        assert job.running.stdin is not None
        job.running.stdin.close()
        assert job.ended(DEADLINE_S) == 3
        third = example(f"cron_lock{form}", nodes, "echo", "once more").launch()
        assert third.ended(DEADLINE_S) == 0
        assert third.said == ["once more"]
    finally:
        job.close()


@BOTH
def test_the_cron_lock_is_free_at_once_if_its_command_cannot_be_run(
    kv: raftline.KV[str], nodes: Cluster, form: str
) -> None:
    wrong = example(f"cron_lock{form}", nodes, "./no-such-command").launch()
    try:
        assert wrong.ended(DEADLINE_S) == 1
        assert len(wrong.said) == 1
        assert wrong.said[0].startswith("it can't be run: ")
        assert kv.lock("nightly").holder() is None
    finally:
        wrong.close()


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


@BOTH
def test_the_leader_is_followed_by_another(kv: raftline.KV[str], nodes: Cluster, form: str) -> None:
    first = example(f"leader{form}", nodes, "one").launch()
    second = example(f"leader{form}", nodes, "two")
    try:
        first.wait_for_line("one leads with token ")
        second.launch()
        eventually(lambda: somebody_waits(kv, "election/service/"), "a second one that waits")
        assert kv.election("service").leader() == "one"
        first.kill()
        second.wait_for_line("two leads with token ")
    finally:
        first.close()
        second.close()


@BOTH
def test_the_programs_go_on_when_the_leader_of_the_cluster_is_killed(
    three: Cluster, form: str
) -> None:
    with raftline.connect(at(three)) as kv:
        go_on_without_the_leader(kv, three, form)


def go_on_without_the_leader(kv: raftline.KV[str], nodes: Cluster, form: str) -> None:
    kv["app/lamp"] = "on"
    store = example(f"config_store{form}", nodes).launch()
    job = example(f"cron_lock{form}", nodes, "sh", "-c", "echo token $TOKEN; read line; exit 3")
    job._popen["stdin"] = subprocess.PIPE
    job.launch()
    chief = example(f"leader{form}", nodes, "one").launch()
    killed = nodes.leader()
    try:
        store.wait_for_line("{'app/lamp': 'on'}")
        job.wait_for_line("token ")
        chief.wait_for_line("one leads with token ")
        killed.kill()
        kv["app/lamp"] = "off"
        store.wait_for_line("{'app/lamp': 'off'}")
        assert store.said == ["{'app/lamp': 'on'}", "{'app/lamp': 'off'}"]
        assert job.running.stdin is not None
        job.running.stdin.close()
        assert job.ended(DEADLINE_S) == 3  # it still had the lock
        assert kv.election("service").leader() == "one"
        assert chief.running.poll() is None
    finally:
        for program in (store, job, chief):
            program.close()


def test_tasks_that_share_a_lock_have_it_one_after_the_other(nodes: Cluster) -> None:
    program = example("shared_lock", nodes).launch()
    try:
        assert program.ended(DEADLINE_S) == 0
        said = [line.split(" has it with token ") for line in program.said]
        assert sorted(number for number, _ in said) == list("01234")
        tokens = [int(token) for _, token in said]
        assert tokens == sorted(set(tokens))
    finally:
        program.close()


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
    for path in examples:
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
