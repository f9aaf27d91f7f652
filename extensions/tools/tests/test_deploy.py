"""The files of deploy/: their settings are a node's, and the tools that are here take them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftline.common import config
from raftline.node.program import boot
from raftline.node.program.settings import load, variable_of

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
LAB = DEPLOY.parent / "course" / "labs" / "majorities" / "compose"
FILES = ("container/Dockerfile", "container/docker-compose.yml", "kubernetes/statefulset.yaml")


@pytest.mark.parametrize("file", FILES)
def test_each_variable_is_a_setting_of_a_node(file: str) -> None:
    settings = load(boot.parser(), ["s1", "1"], {})
    known = {variable_of(name) for name in [*settings.actions, "config"]}
    known |= {f"RAFTLINE_TLS_{part}" for part in ("CA", "CERT", "KEY")}  # for clients beside it
    text = (DEPLOY / file).read_text(encoding="utf-8")
    named = set(re.findall(r"RAFTLINE_[A-Z_]+", text.replace("sets RAFTLINE_PORT", "")))
    assert len(named) >= 3
    assert named <= known


def test_the_page_of_monitoring_says_what_to_do_at_each_alarm() -> None:
    """Each rule links to its heading in the site, and `promtool` expects the same link."""
    rules = (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    page = (DEPLOY.parent / "docs" / "operate" / "monitoring.md").read_text(encoding="utf-8")
    links = dict(
        re.findall(r"- alert: (\w+)(?:(?!- alert).)*? runbook_url: (\S+)", rules, re.DOTALL)
    )
    assert [*links] == re.findall(r"- alert: (\w+)", rules)
    for alarm, link in links.items():
        assert link == f"https://raftline.example/operate/monitoring.html#{alarm.lower()}"
        assert f"\n### {alarm}\n\n" in page
    tests = (DEPLOY / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8")
    expected = re.findall(r"runbook_url: (\S+)", tests)
    assert len(expected) == tests.count("exp_annotations:")
    assert {*expected} <= {*links.values()}


def test_the_folder_of_the_course_says_that_it_is_a_lab() -> None:
    for file in ("README.md", "docker-compose.yml"):
        text = (LAB / file).read_text(encoding="utf-8")
        assert "This is a lab" in text
        assert "--insecure" in text


def test_compose_nodes_speak_only_tls_and_are_locked_in() -> None:
    """The nodes of the compose file speak TLS alone and are locked in."""
    text = (DEPLOY / "container" / "docker-compose.yml").read_text(encoding="utf-8")
    for words in (
        'RAFTLINE_SERVER_TLS_ONLY: "true"',
        'RAFTLINE_SERVER_TLS_REQUIRE: "true"',
        "RAFTLINE_SERVER_TLS_CA: ",
        "RAFTLINE_SERVER_TLS_CERT: ",
        "RAFTLINE_SERVER_TLS_KEY: ",
        "RAFTLINE_SERVER_SECRET: ",
        "read_only: true",
        "cap_drop: [ALL]",
        "no-new-privileges:true",
    ):
        assert words in text
    assert "insecure" not in text
    assert "ports:" not in text


def test_the_pods_answer_nobody_without_a_certificate() -> None:
    text = (DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8")
    for name in ("TLS_ONLY", "TLS_REQUIRE"):
        assert f'{{name: RAFTLINE_SERVER_{name}, value: "true"}}' in text


def test_kubernetes_links_no_services_into_the_environment() -> None:
    """For a service called raftline it would set RAFTLINE_PORT to tcp://…."""
    text = (DEPLOY / "kubernetes" / "statefulset.yaml").read_text(encoding="utf-8")
    assert "enableServiceLinks: false" in text


KUBERNETES = DEPLOY / "kubernetes"
PEOPLES_TOOLS = """
raftline() {{ {python} -m raftline "$@"; }}
docker() {{ :; }}
kubectl() {{
  case "$*" in *"create secret"*) cp -r "${{7#--from-file=}}" "given-$6";; esac
}}
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where the page's commands were carried out by tools that copy."""
    pytest.importorskip("cryptography")
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    block = page.partition("\n## Kubernetes\n")[2].partition("```sh\n")[2].partition("```")[0]
    folder = tmp_path_factory.mktemp("kubernetes")
    script = PEOPLES_TOOLS.format(python=sys.executable) + block
    subprocess.run(["bash", "-euc", script], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_kubernetes_commands_make_the_files_of_the_pods(followed: Path) -> None:
    """The commands for Kubernetes make the files that the pods name."""
    text = (KUBERNETES / "statefulset.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"secretName: ([a-z-]+)", text))
    assert named == {path.name.removeprefix("given-") for path in followed.glob("given-*")}
    files = re.findall(r"value: /tls/(\S+)\}", text)
    assert len(files) == 3
    for number in range(3):
        for file in files:
            name = file.replace("$(RAFTLINE_SERVER_NAME)", f"raftline-{number}")
            assert (followed / "given-raftline-tls" / name).is_file()
    assert "value: /secret/peers}" in text
    assert (followed / "given-raftline-peers").is_file()
    assert (followed / "ca.key").is_file()
    assert not (followed / "given-raftline-tls" / "ca.key").exists()


@pytest.mark.slow
def test_kubernetes_certificates_fit_address_and_service(followed: Path) -> None:
    """Each certificate for Kubernetes is good for its address and the service."""
    from cryptography import x509

    members = config.load(KUBERNETES).members
    assert sorted(members) == ["raftline-0", "raftline-1", "raftline-2"]
    for name, address in members.items():
        data = (followed / "tls" / f"{name}.pem").read_bytes()
        names = x509.load_pem_x509_certificate(data).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        hosts = set(names.value.get_values_for_type(x509.DNSName))
        assert {name, address.host, "raftline-clients.raftline.svc"} <= hosts


def test_clients_are_let_in_by_their_label_alone() -> None:
    text = (KUBERNETES / "network.yaml").read_text(encoding="utf-8")
    assert 'podSelector: {matchLabels: {raftline-client: "true"}}' in text
    kustomization = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    assert not re.search(r"^(labels|commonLabels):", kustomization, re.MULTILINE)


def test_kubectl_builds_the_kustomization() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here; Debian's package kubernetes-client has it")
    built = subprocess.run(
        [kubectl, "kustomize", str(DEPLOY / "kubernetes")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    kinds = re.findall(r"^kind: (\w+)", built.stdout, re.MULTILINE)
    assert sorted(kinds) == [
        "ConfigMap",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "Service",
        "StatefulSet",
    ]
    assert built.stdout.count("raftline-client:") == 1
    label = built.stdout.index("raftline-client:")
    assert "kubernetes.io/name" not in built.stdout[label - 60 : label]
