"""The workflows and forms of GitHub: they have its form, and call targets that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(
    set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {GITHUB / "ISSUE_TEMPLATE/config.yml"}
)
MAKE = re.compile(r"^ +- run: (?:sudo [^\n]*)?make (?:-C ([a-z]+) )?([a-z-]+)", re.MULTILINE)
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v[0-9.]+")
NAMED = re.compile(r"\b(?:docs|tests)/[\w/.-]+\.md\b|\b[A-Z]+\.md\b")


def texts() -> dict[str, str]:
    files = (path for path in GITHUB.rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def expect_success(*command: str | Path) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_workflows_and_forms_follow_the_schemas_of_github() -> None:
    check_jsonschema = pytest.importorskip("check_jsonschema")
    for kind, files in (
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
    ):
        arguments = ["--builtin-schema", f"vendor.{kind}", *map(str, files)]
        with pytest.raises(SystemExit) as ended:
            check_jsonschema.main(arguments)
        assert ended.value.code == 0, kind


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="there is no actionlint")
def test_actionlint_finds_nothing() -> None:
    expect_success("actionlint", "-no-color", *WORKFLOWS)


def test_workflows_run_only_pinned_code_and_may_only_read() -> None:
    """A tag of an action, or the newest version of a package, may become other code overnight."""
    for path in WORKFLOWS:
        text = path.read_text()
        used = re.findall(r"uses: (.*)", text)
        assert [one for one in used if not PINNED.fullmatch(one)] == [], path.name
        installed = re.findall(r"pip install (.*)", text)
        assert [one for one in installed if not re.fullmatch(r"[\w-]+==[\w.]+", one)] == []
        assert re.search(r"^permissions:\n  contents: read\n", text, re.MULTILINE), path.name
        assert "pull_request_target" not in text
        assert "secrets." not in text


def test_a_workflow_calls_targets_that_the_makefile_has() -> None:
    called = {target for path in WORKFLOWS for target in MAKE.findall(path.read_text())}
    tests = {("testing", "hosts-test"), ("testing", "pyodide-test")}
    assert called == {("", "test"), ("", "docs"), ("", "release"), *tests}
    for folder, target in called:
        makefile = (ROOT / folder / "Makefile").read_text()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_forms_for_faults_ask_for_a_recording() -> None:
    asking = {path.name for path in FORMS if "--record FILE" in path.read_text()}
    assert asking == {"node.yml", "program.yml"}


def test_the_pages_that_forms_and_templates_name_are_there() -> None:
    places = (ROOT, GITHUB)
    missing = [
        f"{name}: {page}"
        for name, text in texts().items()
        for page in NAMED.findall(text)
        if not any((place / page).is_file() for place in places)
    ]
    assert missing == []
