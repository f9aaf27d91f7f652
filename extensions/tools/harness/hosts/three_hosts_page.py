"""The steps of docs/operate/three-hosts.md, for hosts of any kind that can carry out its blocks."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raftline import connect

PAGE = Path(__file__).resolve().parents[4] / "docs" / "operate" / "three-hosts.md"
ADDRESSES = {
    "operator": "192.0.2.1", "s1": "192.0.2.11", "s2": "192.0.2.12", "s3": "192.0.2.13",
    "s4": "192.0.2.14",
}  # fmt: skip
BLOCK, ON_REAL_HOSTS = "on", "on real hosts"
_STEP = re.compile(
    r"^<!-- (on|on real hosts|[a-z ]+): ([\w ]+?)(, each in turn, while clients write)? -->\n"
    r"(?:```sh\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
PATIENCE_S = 100.0
CLIENT_S = 30.0
# Where the last block left its shell.
SHELL = """. {file}
set -ea
{block}
status=$?
set +ea
{{ export -p; declare -f; umask -p; echo "cd '$PWD'"; }} > {file}
exit $status
"""


@dataclass(frozen=True)
class Step:
    """A block for some hosts, or an action of the test on them."""

    kind: str
    hosts: tuple[str, ...]
    clients_write: bool
    block: str = ""


def steps() -> list[Step]:
    """Return the steps of the page in their order.

    Raises:
        ValueError: a block has no host.
    """
    page = PAGE.read_text(encoding="utf-8")
    blocks = [
        Step(each[1], tuple(each[2].split()), each[3] is not None, each[4] or "")
        for each in _STEP.finditer(page)
    ]
    if sum(bool(step.block) for step in blocks) != page.count("\n```sh\n"):
        raise ValueError(f"{PAGE.name}: a block has no comment before it that names its host")
    return blocks


def carry_out(do: Mapping[str, Callable[[str, str], None]], folder: Path) -> None:
    """Carry out all steps: `do` maps each kind to a function of a host's name and the block. Other
    kinds are left out. `folder` is the operator's folder for the clients."""
    for step in steps():
        if step.kind in do:
            with a_writing_program(folder) if step.clients_write else contextlib.nullcontext():
                for host in step.hosts:
                    do[step.kind](host, step.block)


@contextlib.contextmanager
def a_writing_program(folder: Path, *nodes: str) -> Iterator[None]:
    """Write as the program's user meanwhile; each write must take effect exactly once."""
    os.environ["RAFTLINE_TLS_CA"] = str(folder / "certs/ca.pem")
    password = (folder / "password-of-app").read_text().strip()
    over, failures, written, longest_s = threading.Event(), [], [0], [0.0]

    def write() -> None:
        try:
            at = ",".join(f"{ADDRESSES[name]}:10000" for name in nodes or ("s1", "s2", "s4"))
            with connect(at, timeout=CLIENT_S, user="app", password=password) as store:
                before = int(store.get("app/counter") or 0)
                while not over.wait(0.02):
                    began_s = time.monotonic()
                    store.incr("app/counter")
                    written[0] += 1
                    longest_s[0] = max(longest_s[0], time.monotonic() - began_s)
                counted = int(store["app/counter"]) - before
                if counted != written[0]:
                    raise ValueError(f"{counted} of {written[0]} writes are there")
        except Exception as failure:  # reported below
            failures.append(failure)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
    if failures or not written[0]:
        raise SystemExit(f"a client met this after {written[0]} writes: {failures}")
    print(f"{written[0]} writes, the longest of {longest_s[0]:.1f} s", flush=True)
