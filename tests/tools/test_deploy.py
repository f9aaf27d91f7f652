"""The files of deploy/: their settings are a node's, and the tools that are here take them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from raftline.node import boot
from raftline.node.settings import load, variable_of

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = ("container/Dockerfile", "container/docker-compose.yml", "kubernetes/statefulset.yaml")


@pytest.mark.parametrize("file", FILES)
def test_each_variable_is_a_setting_of_a_node(file: str) -> None:
    settings = load(boot.parser(), ["s1", "1"], {})
    known = {variable_of(name) for name in [*settings.actions, "config"]}
    text = (DEPLOY / file).read_text(encoding="utf-8")
    named = set(re.findall(r"RAFTLINE_[A-Z_]+", text.replace("sets RAFTLINE_PORT", "")))
    assert len(named) >= 3
    assert named <= known


def test_the_folder_of_the_course_says_that_it_is_a_lab() -> None:
    for file in ("README.md", "docker-compose.yml"):
        text = (DEPLOY / "compose" / file).read_text(encoding="utf-8")
        assert "This is a lab" in text
        assert "--insecure" in text


def test_the_nodes_of_the_compose_file_speak_tls_alone_and_are_locked_in() -> None:
    text = (DEPLOY / "container" / "docker-compose.yml").read_text(encoding="utf-8")
    for words in ('RAFTLINE_TLS_ONLY: "true"', "RAFTLINE_TLS_CA: ", "RAFTLINE_TLS_CERT: ",
                  "RAFTLINE_TLS_KEY: ", "RAFTLINE_SECRET: ", "read_only: true", "cap_drop: [ALL]",
                  "no-new-privileges:true"):  # fmt: skip
        assert words in text
    assert "insecure" not in text
    assert "ports:" not in text


def test_kubernetes_links_no_services_into_the_environment() -> None:
    """For a service called raftline it would set RAFTLINE_PORT to tcp://…."""
    text = (DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8")
    assert "enableServiceLinks: false" in text


def test_kubectl_builds_the_kustomization() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here; Debian's package kubernetes-client has it")
    built = subprocess.run(
        [kubectl, "kustomize", str(DEPLOY / "kubernetes")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    kinds = re.findall(r"^kind: (\w+)", built.stdout, re.MULTILINE)
    assert sorted(kinds) == [
        "ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service",
        "StatefulSet",
    ]  # fmt: skip
