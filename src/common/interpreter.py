"""How the interpreter was compiled, which makes a quarter of a request's time.

CPython that was compiled with a profile (`./configure --enable-optimizations`) executes the same
program in three quarters of the time. Debian, Ubuntu, Fedora, python.org, the images `python:3.x`
and uv ship such builds; pyenv and a plain `./configure && make` do not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any


def is_optimized(variables: Mapping[str, Any]) -> bool | None:
    """Return whether an interpreter with these variables of `sysconfig` was compiled with a
    profile; None if they do not tell."""
    options = variables.get("CONFIG_ARGS")
    if options is None:  # as on Windows
        return None
    # Debian builds with a profile, but without that option, and removes the flags from here.
    return "--enable-optimizations" in options or variables.get("PGO_PROF_USE_FLAG") == ""


@cache
def interpreter_facts() -> dict[str, str | bool | None]:
    """Return the version of this interpreter, and whether it is optimized, for `status`."""
    from sysconfig import get_config_vars  # takes 5 ms, and no start needs it

    version = ".".join(map(str, sys.version_info[:3]))
    return {"python": version, "python_optimized": is_optimized(get_config_vars())}


if __name__ == "__main__":
    print(json.dumps(interpreter_facts()))
