"""`make -C testing redis-scripts`: libraries send their scripts to a Redis, and what they sent is
replayed at a node and at a Redis: the same replies, and the same keys (docs/develop/testing.md).

Exit status 0: no difference, 1: a difference, 2: there is no such library.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from raftline_testing.nodes.cluster import Cluster

from .raw_redis import Raw, RedisServer, redis_beside
from .script_files import ScriptFile, scripts_in
from .script_programs import in_python
from .script_recording import CALLS, Difference, Pair, Recorder, Words, replayed, served

SECONDS = 90.0  # of one program
JAVASCRIPT = Path(in_python.__file__).with_name("in_javascript.mjs")


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the command line of each library's program. Those of JavaScript run if this folder
    has the libraries; the program is copied next to them."""
    python = folder / "venv" / "bin" / "python"
    program = [str(python) if python.exists() else sys.executable, in_python.__file__]
    found = {name: [*program, name] for name in in_python.PROGRAMS}
    if (folder / "node_modules").is_dir():
        node = ["node", str(shutil.copy(JAVASCRIPT, folder))]
        names = subprocess.run(node, capture_output=True, text=True, check=True).stdout.split()
        found |= {name: [*node, name] for name in names}
    return found


def recording(command: Sequence[str], server: RedisServer, output: Path) -> list[Words]:
    """Return what a program sends to a Redis without keys."""
    with Raw(server) as raw, Recorder(server) as recorder, output.open("w") as file:
        raw.whole(b"FLUSHALL")
        raw.whole(b"SCRIPT", b"FLUSH")
        try:
            subprocess.run(
                [*command, str(recorder.port)],
                stdout=file,
                stderr=file,
                cwd=output.parent,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            file.write("it did not end\n")
        return list(recorder.commands)


def called(recorded: Sequence[Words]) -> set[str]:
    """Return the SHA1 of each script that was called."""
    found = set()
    for words in recorded:
        if words[0].upper() in CALLS:
            is_sha = b"SHA" in words[0].upper()
            found.add(words[1].decode() if is_sha else hashlib.sha1(words[1]).hexdigest())
    return found


def run(
    command: Sequence[str],
    pair: Pair,
    server: RedisServer,
    output: Path,
    seeds: int = 0,
    scripts_of: Iterable[ScriptFile] = (),
) -> tuple[str, list[Difference]]:
    """Record a program and replay it; return what was called, and the differences. Scripts of the
    library that the program does not call are called between its own."""
    recorded = recording(command, server, output)
    scripts, found = called(recorded), list[Difference]()
    others = [each for each in scripts_of if each.sha not in scripts]
    pair.empty()
    left, refused = served(pair.node, recorded)
    pair.calls = 0
    for chance in (None, *map(random.Random, range(seeds or bool(others)))):
        pair.empty()
        found += replayed(pair, left, chance, others=others)
    counts = f"{len(scripts)} scripts, {refused} refused, {len(others)} others, {pair.calls} calls"
    return counts, found


def _run_all(chosen: Mapping[str, Sequence[str]], seeds: int, modules: Path) -> bool:
    differs = False
    with (
        tempfile.TemporaryDirectory() as name,
        redis_beside(Path(name)) as server,
        Cluster(Path(name), 1) as cluster,
    ):
        cluster.start().wait_until_begun()
        with Raw(cluster["s1"]) as node, Raw(server) as redis:
            pair = Pair(node, redis)
            for library, command in chosen.items():
                output = Path(name) / "output"
                files = scripts_in(modules / library)
                counts, found = run(command, pair, server, output, seeds, files)
                print(f"{library}: {counts}, {len(found)} differences", flush=True)
                for difference in found:
                    print(f"  {difference}", flush=True)
                if counts.startswith("0 "):
                    print(output.read_text()[-1000:], flush=True)
                differs |= bool(found) or counts.startswith("0 ")
    return differs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the libraries in turn; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with the libraries: venv and node_modules")
    parser.add_argument("--only", default="", help="the name of one library")
    parser.add_argument("--seeds", type=int, default=0, help="replays with exchanged words")
    options = parser.parse_args(arguments)
    known = commands(options.folder.absolute())
    chosen = {name: each for name, each in known.items() if options.only in ("", name)}
    if not chosen:
        print(f"no such library: {options.only}; these are known: {' '.join(known)}",
              file=sys.stderr)  # fmt: skip
        return 2
    return int(_run_all(chosen, options.seeds, options.folder / "node_modules"))


if __name__ == "__main__":
    sys.exit(main())
