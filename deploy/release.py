"""Check the packages that `make release` has built into `dist/`, write the notes, and name the
commands that are left to a maintainer.

Each Python from 3.10 to 3.14 that is here gets an empty environment with the wheel, in which a node
stores a value that another command reads; the first one gets the sdist as well. The notes are the
newest section of CHANGELOG.md. Nothing is tagged, pushed or uploaded.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14")
NOTES = CLONE / "build" / "release-notes.md"
LIMIT_S = 300


def main():
    """Check the packages in `dist/`; return the exit status."""
    (wheel,) = (CLONE / "dist").glob("raftline-*.whl")
    (sdist,) = (CLONE / "dist").glob("raftline-*.tar.gz")
    found = {name: path for name in PYTHONS if (path := found_here(name))}
    if not found:
        print(f"none of {', '.join(PYTHONS)} is here, so nothing was checked", file=sys.stderr)
        return 1
    for place, (name, python) in enumerate(found.items()):
        for package in (wheel, sdist)[: 2 if place == 0 else 1]:
            check(python, package)
            print(f"[*] {name}: {package.name} stores and reads a value")
    missing = [python for python in PYTHONS if python not in found]
    if missing:
        print(f"[*] not here, so not checked: {', '.join(missing)}")
    text = notes((CLONE / "CHANGELOG.md").read_text(encoding="utf-8"))
    NOTES.write_text(text, encoding="utf-8")
    print(f"[*] the notes are in {NOTES.relative_to(CLONE)}: {len(text.split())} words")
    print(what_is_left(wheel.name.split("-")[1]))
    return 0


def found_here(name):
    """Return the path of a Python, or "": one of $PATH, or the newest that pyenv has installed."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted(root.glob(f"versions/*/bin/{name}"), key=lambda path: path.parts[-3])
    for path in (shutil.which(name), *reversed(installed)):
        if path is not None and has_environments(path):
            return str(path)
    return ""


def has_environments(python):
    """Return whether a command starts a Python that makes environments; a shim may start none."""
    ran = subprocess.run([python, "-c", "import venv"], check=False, capture_output=True)
    return ran.returncode == 0


def check(python, package):
    """Install a package into an empty environment, and store and read a value there.

    Raises:
        SystemExit: a command fails; its output is printed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, python, "-m", "venv", "env")
        run(
            folder,
            "env/bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            package,
        )
        with socket.create_server(("localhost", 0)) as trial:
            port = trial.getsockname()[1]
        (folder / "server-configuration.txt").write_text(f"s1 localhost {port}\n", encoding="utf-8")
        with (folder / "console.txt").open("w", encoding="utf-8") as console:
            node = subprocess.Popen(
                ["env/bin/raftline", "server", "s1", str(port)],
                cwd=folder,
                env=environment(),
                stdout=console,
                stderr=console,
            )
        try:
            wait_until_it_listens(port, node)
            at = ("--at", f"localhost:{port}")
            run(folder, "env/bin/raftline", "set", *at, "release", "checked")
            read = run(folder, "env/bin/raftline", "get", "-q", *at, "release")
            if read.strip() != "checked":
                sys.exit(
                    f"{python}, {package.name}: read {read!r} in place of the value that was set"
                )
        finally:
            node.terminate()
            node.wait(LIMIT_S)


def wait_until_it_listens(port, node):
    """Return once a node accepts connections. Raises SystemExit if it ends instead."""
    while node.poll() is None:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"the node ended with exit status {node.returncode}")


def environment():
    """Return the environment of a stranger: nothing of this clone."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAFTLINE", "PYTHON"))
    }
    return {**kept, "PYTHONNOUSERSITE": "1"}


def run(folder, *command):
    """Return the output of a command. Raises SystemExit if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    if done.returncode:
        what = " ".join(map(str, command))
        sys.exit(f"{what}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def notes(changelog):
    """Return what the newest section of a changelog lists."""
    newest = re.split(r"^## .*$", changelog, flags=re.MULTILINE)[1]
    return newest[newest.index("### ") :].strip() + "\n"


def what_is_left(version):
    """Return what a maintainer has to run before people can install this version by its name."""
    release = version.partition(".dev")[0]
    if version != release:
        return (
            f"[*] {version} is a build, not a release. To release {release}:\n"
            f"    name the section of CHANGELOG.md `[{release}]`, with its date, and commit\n"
            f"    git tag -a v{release} -m 'raftline {release}'\n"
            "    make release"
        )
    return (
        f"[*] {version} is prepared, and not released yet. To release it:\n"
        f"    git push origin v{release}\n"
        "    .venv/bin/python -m twine upload dist/*\n"
        f"    gh release create v{release} --notes-file {NOTES.relative_to(CLONE)} dist/*\n"
        '    take "not released yet" out of README.md and CHANGELOG.md'
    )


if __name__ == "__main__":
    sys.exit(main())
