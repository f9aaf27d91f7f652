"""The version that git gives a build: 0.1.0.dev1041+g3fa94c1d2, and 0.1.0 at the tag v0.1.0.

Builds of two commits, one after the other, have two versions in that order (PEP 440), so pip takes
the later one for an upgrade. `python deploy/git_version.py` prints the version, and ends with 1 if
commits can't be counted: such a build is newer than no other.
"""

import hashlib
import runpy
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]


def version(root=CLONE):
    """Return a version that no other build has, unless it is of the same files."""
    told = runpy.run_path(str(root / "src/common/version.py"))
    release, alone = told["RELEASE"], told["of_clone"](str(root))
    if not (root / ".git").exists():
        return alone
    try:
        if git(root, "rev-parse", "--is-shallow-repository") == "true":
            return alone
        count, changes = git(root, "rev-list", "--count", "HEAD"), git(root, "diff", "HEAD")
        commit, tag = git(root, "rev-parse", "HEAD"), f"v{release}"
        is_tagged = tag in git(root, "tag", "--points-at", "HEAD").split()
        is_after = tag in git(root, "tag", "--merged", "HEAD").split()
    except (OSError, subprocess.CalledProcessError):
        return alone
    if not changes and is_tagged:
        return release
    changed = f".d{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else ""
    coming = after(release) if is_after else release
    return f"{coming}.dev{count}+g{commit[: told['HASH_DIGITS']]}{changed}"


def after(release):
    """Return the least release after this one: what follows a tag is newer than the tag."""
    *most, last = release.split(".")
    return ".".join([*most, str(int(last) + 1)])


def git(root, *words):
    """Return what git says of a clone."""
    ran = subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)
    return ran.stdout.decode("utf-8", "replace").strip()


if __name__ == "__main__":
    found = version()
    print(found)
    if ".dev0" in found:
        sys.exit(
            "git can't count the commits here, so this build would be newer than no other.\n"
            "It takes git and a whole clone: git fetch --unshallow"
        )
