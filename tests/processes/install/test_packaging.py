"""The package: runs from a clone that nobody installed, loads each module once, lists itself."""

from __future__ import annotations

import ast
import configparser
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import raftline
from raftline.common.version import RELEASE, VERSION
from raftline.tools import course
from tests.lists.trees import sources

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src"
SCRIPTS = ("server.py", "client.py", "cli.py", "simulator.py")

LOADED_TWICE = """
import collections, runpy, sys
script = sys.argv[1]
sys.argv = [script, "--help"]
sys.path[0] = script.rpartition("/")[0]
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit:
    pass
files = collections.Counter()
for name, module in list(sys.modules.items()):
    path = getattr(module, "__file__", None) or ""
    if path.startswith(sys.path[0]):
        files[path] += 1
        assert name.split(".")[0] == "raftline", name
assert files, "nothing of ours was loaded"
assert script not in files, "the script is loaded again under its package name"
print([path for path, times in files.items() if times > 1])
"""


def bare_python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python without site-packages and without what the environment adds to its path."""
    return subprocess.run(
        [sys.executable, "-S", "-E", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
    )


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("folder", [ROOT, SOURCE])
def test_a_bare_clone_runs_without_anything_installed(script: str, folder: Path) -> None:
    path = script if folder == SOURCE else f"src/{script}"
    ended = bare_python(path, "--help", folder=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage:" in ended.stdout


OLD = """
import os, runpy, sys
sys.version_info = (3, 9, 18, "final", 0)
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    "program",
    [*(f"src/{script}" for script in SCRIPTS), "course/server.py", "course/labs/bugs/check.py"],
)
def test_an_old_python_gets_one_line_that_names_the_one_it_takes(program: str) -> None:
    ended = bare_python("-c", OLD, str(ROOT / program), folder=ROOT)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"raftline needs Python 3.10 or newer, and this is 3.9.18 ({sys.executable}). "
        "Run another one, such as python3.12\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        *(f"src/{script}" for script in SCRIPTS),
        "src/__init__.py",
        "src/raftline/__init__.py",
        "course/server.py",
        "course/raftline_course/node_program.py",
    ],
)
def test_files_read_by_old_pythons_are_in_their_syntax(name: str) -> None:
    """An old version of Python can parse everything that it reads before its version is refused."""
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize("command", ["server", "client", "up", "status", "simulate", "get"])
def test_the_package_runs_as_a_module(command: str) -> None:
    ended = bare_python("-m", "raftline", command, "--help", folder=SOURCE)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage:" in ended.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_module_is_loaded_twice(script: str) -> None:
    ended = bare_python("-c", LOADED_TWICE, str(SOURCE / script), folder=ROOT)
    assert (ended.stdout.splitlines()[-1:], ended.stderr) == (["[]"], "")


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_folder_has_a_docstring() -> None:
    """setup.py finds a package by its `__init__.py`."""
    lazy = {SOURCE, SOURCE / "raft"}  # their names are loaded at first use
    for path in {path.parent for path in sources()} - {SOURCE / "raftline", ROOT / "library"}:
        text = (path / "__init__.py").read_text(encoding="utf-8")
        rest = [part for part in ast.parse(text).body[1:] if not isinstance(part, ast.ImportFrom)]
        assert path in lazy or not rest, f"{path}/__init__.py holds code of its own"
        assert ast.get_docstring(ast.parse(text)), f"{path}/__init__.py has no docstring"


def test_the_package_names_its_exports_and_loads_them_on_use() -> None:
    program = (
        "import sys, raftline\n"
        "print(sorted(name for name in sys.modules if name.startswith('raftline.')))\n"
        "print([name for name in dir(raftline) if not hasattr(raftline, name)], dir(raftline))\n"
        "print(raftline.Node.__module__, hasattr(raftline, 'nonsense'))\n"
        "from raftline import *\n"
        "print(Node is raftline.Node, '__getattr__' in globals())\n"
    )
    found = f"import sys; sys.path[:0] = [{str(SOURCE)!r}]\n"
    ended = bare_python("-c", found + program, folder=ROOT)
    loaded, names, node, star = ended.stdout.splitlines()
    assert loaded == "['raftline.__init__']", ended.stderr
    assert names.startswith("[] ['ClientError', ")
    assert node == "raftline False"
    assert star == "True False"


@pytest.mark.parametrize("kind", ["clone", "folder"])
def test_an_install_is_found_before_any_folder_of_its_name(kind: str, tmp_path: Path) -> None:
    """In the folder above a clone, `raftline` is a folder without `__init__.py`, and so a namespace
    package."""
    if kind == "clone":
        (tmp_path / "raftline").symlink_to(ROOT)
    else:
        (tmp_path / "raftline" / "logs").mkdir(parents=True)
    program = (
        "import raftline, raftline.cli; from raftline import *\n"
        "print(raftline.KV.__name__, Node.__module__, raftline.cli.__file__)\n"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    advice = "is this Python's install of raftline an old one? make .venv/dev-installed"
    assert done.returncode == 0, f"{done.stderr}\n{advice}"
    name, module, file = done.stdout.split()
    assert (name, module) == ("KV", "raftline")
    assert Path(file) == SOURCE / "cli.py"


def test_an_installed_package_and_a_clone_name_the_same() -> None:
    installed, clone = SOURCE / "__init__.py", SOURCE / "raftline" / "__init__.py"
    editable = ROOT / "deploy" / "editable" / "raftline" / "__init__.py"
    typed = r"^    from (?:\.|raftline\.)(\S+) import (\w+) as \2$"
    homes = {name: home for home, name in re.findall(typed, installed.read_text("utf-8"), re.M)}
    assert homes == importlib.import_module("raftline.__init__")._HOMES
    names = "\n    from raftline.__init__ import __all__, __dir__, __getattr__ "
    assert [names in path.read_text("utf-8") for path in (clone, editable)] == [True, True]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_version_is_the_same_everywhere(script: str) -> None:
    ended = bare_python(f"src/{script}", "--version", folder=ROOT)
    assert ended.stdout.strip() == f"raftline {VERSION} (pure)"
    assert raftline.__version__ == VERSION


def test_the_release_to_come_is_not_behind_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, *releases = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    assert unreleased == "Unreleased"
    numbers = [tuple(map(int, release.split("."))) for release in (RELEASE, *releases)]
    assert numbers == sorted(numbers, reverse=True)
    assert (ROOT / "setup.cfg").read_text(encoding="utf-8").count("version =") == 0


def test_pip_is_named_what_an_index_has() -> None:
    """No package index has raftline, so a stranger who registers the name there would be installed
    by these lines."""
    modules = [*sources(), *(ROOT / "course" / "raftline_course").rglob("*.py")]
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = {
        package.strip("'")
        for path in [*modules, *pages]
        for package in re.findall(
            r"pip install (?!'?\.|-)('[^']*'|[\w-]+)", path.read_text(encoding="utf-8")
        )
    }
    extras = "\n".join(setup()["options.extras_require"].values()).split()
    assert named == {"cryptography>=42", "aiohttp>=3.9", "argcomplete>=3.5", "tomli"}
    assert {name for name in named if ">=" in name} <= set(extras)


def test_extra_in_a_clone_extends_the_editable_install() -> None:
    """A copy would lack the course unless that is installed as well, and changes in src/ would have
    no effect."""
    pages = [path for room in ("docs", "course", "bench") for path in ROOT.glob(f"{room}/**/*.md")]
    texts = [path.read_text(encoding="utf-8") for path in [*pages, *ROOT.glob("*.md")]]
    installs = [line for text in texts for line in re.findall(r"pip install .*'\.\[.*", text)]
    assert len(installs) >= 7
    alone = [line for line in installs if " ./course" not in line]
    assert [line for line in alone if not line.startswith("pip install -e '.[")] == []


def test_command_page_names_what_a_store_install_lacks() -> None:
    """The page of commands names those that an install of the store alone lacks."""
    page = (ROOT / "docs" / "use" / "commands.md").read_text(encoding="utf-8")
    said = page.partition("After `pip install .`")[2].partition("`raftline help COMMAND`")[0]
    assert re.findall(r"`(\w+)`", said) == sorted(course.COMMANDS)


def test_no_module_takes_the_name_of_a_standard_one() -> None:
    ours = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert ours & set(sys.stdlib_module_names) == set()


def test_make_n_prints_the_commands_of_run_and_starts_nothing() -> None:
    command = ["make", "-n", "run", "PY=/bin/echo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "exec /bin/echo -m raftline up --client" in done.stdout
    assert "-m raftline up --client" not in done.stdout.splitlines()


def test_no_manifest_script_or_image_starts_a_node_with_new() -> None:
    places = [
        ROOT / "Makefile",
        *(ROOT / "deploy").rglob("*"),
        *(ROOT / "course" / "labs").rglob("*"),
    ]
    # They play the peers of a node in a folder of their own, which is gone afterwards.
    players = {ROOT / "course" / "labs" / lab / "check.py" for lab in ("repair", "majorities")}
    for path in places:
        if path.is_file() and path.suffix != ".pyc" and path not in players:
            assert b"--new" not in path.read_bytes(), f"{path} would undo what protects"
