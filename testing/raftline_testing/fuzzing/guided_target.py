"""One target, guided by the code that its examples reach: started by `guided.py`.

libFuzzer, a part of atheris, ends the process by itself, with 0 if there is no fault.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import atheris

MEMORY_MB = 2048
LONGEST = 4096  # bytes of an example
HANGS_S = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module")
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    # Modules imported earlier are not instrumented.
    with atheris.instrument_imports(include=["raftline"]):
        target = importlib.import_module(options.module).TARGETS[options.name]
    atheris.instrument_func(target.check)
    corpus, drawn = options.folder / "corpus", options.folder / "seeds"
    corpus.mkdir(parents=True, exist_ok=True)
    drawn.mkdir(exist_ok=True)
    for number, data in enumerate(target.seeds(options.seed)):
        (drawn / str(number)).write_bytes(data)
    arguments = {
        "max_total_time": options.seconds,
        "runs": options.runs,
        "seed": options.seed % (1 << 31) or 1,  # 0 is chance
        "max_len": LONGEST,
        "len_control": 0,
        "timeout": HANGS_S,
        "rss_limit_mb": MEMORY_MB,
        "report_slow_units": HANGS_S,
        "artifact_prefix": f"{options.folder}/found-",
    }
    given_on = [f"-{name}={value}" for name, value in arguments.items()]
    if target.words:  # an empty dictionary is refused
        words = options.folder / "words"
        words.write_text("".join(f'"{hexed(word)}"\n' for word in target.words), encoding="ascii")
        given_on.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], *given_on, str(corpus), str(drawn)], target.of_bytes())
    atheris.Fuzz()


def hexed(word: str) -> str:
    """Return a word in libFuzzer's form for bytes."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    main()
