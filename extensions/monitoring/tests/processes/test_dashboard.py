"""Each query of the Grafana dashboard, and the alarms, tried with Debian's Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import Process, eventually, free_ports

DEPLOY = Path(__file__).resolve().parents[4] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "raftline.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: raftline
    static_configs: [{{targets: [{targets}]}}]
"""


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not here; Debian's package prometheus has it")
    return path


class Prometheus:
    """A Prometheus that scrapes the nodes of a cluster each second."""

    def __init__(self, folder: Path, targets: list[int]) -> None:
        self.port = next(free_ports)
        file = folder / "prometheus.yml"
        names = ", ".join(f'"127.0.0.1:{target}"' for target in targets)
        file.write_text(CONFIGURATION.format(rules=ALERTS, targets=names))
        self.process = Process(
            "prometheus",
            [
                program("prometheus"),
                f"--config.file={file}",
                "--log.level=error",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
        )

    def query(self, expression: str) -> list[object]:
        """Return the samples that a query gives now; none while Prometheus is not up yet."""
        asked = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{asked}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                result: list[object] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        except urllib.error.URLError:
            return []
        return result


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    program("prometheus")
    with Cluster(folder, 3) as cluster:
        doors = [next(free_ports) for _ in cluster.nodes]
        for node, door in zip(cluster.nodes, doors, strict=True):
            node.options += ["--http", str(door)]
        cluster.start()
        scraping = Prometheus(folder, doors)
        scraping.process.launch()
        try:
            asked = "sum(raftline_commit_index)"
            for number in range(1000):  # clients at work, until the figures have moved
                cluster.ask(f"client4@set key{number} value")
                cluster.ask(f"client4@get key{number}")
                if scraping.query("sum(rate(raftline_request_seconds_count[10s])) > 0"):
                    break
            eventually(lambda: scraping.query(asked), "Prometheus has figures")
            yield scraping
        finally:
            scraping.process.close()


def test_each_query_of_the_dashboard_gives_samples(prometheus: Prometheus) -> None:
    assert len(queries()) >= 24
    for query in queries():
        real = query.replace("$job", "raftline").replace("$__rate_interval", "1m")
        eventually(lambda real=real: prometheus.query(real), f"samples for {real}")


def test_no_alarm_rings_in_a_cluster_that_serves(prometheus: Prometheus) -> None:
    eventually(lambda: prometheus.query("sum(up) == 3"), "all nodes answer")
    assert prometheus.query('ALERTS{alertstate="firing"}') == []


def test_the_rules_of_the_alarms_ring_when_they_should() -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(ALERTS.with_name("alerts_test.yml"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alarm_is_tried() -> None:
    alarms = re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    tried = re.findall(r"alertname: (\w+)", ALERTS.with_name("alerts_test.yml").read_text("utf-8"))
    assert len(alarms) >= 9
    assert set(alarms) == set(tried)
