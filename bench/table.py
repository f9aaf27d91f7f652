"""Puts the newest results into README.md and bench/README.md: `python bench/table.py`.

A page takes a table between `<!-- figures NAME -->` and `<!-- end of figures -->`. `bench` is all
that `make bench` found, `short` four of its rows; another NAME is a row of `make bench-growth`.
`--bench FILE` and `--growth FILE…` name other results than the newest of `build/bench/`. A table
without results stays as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from generator import BenchError
from results import FOLDER, Results, load, newest
from tables import as_markdown, bench_table, plain_table, provenance, short_table

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "bench" / "README.md")
PLACE = re.compile(r"(<!-- figures ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def markdown(name: str, results: Results) -> str:
    """Return what stands between two markers."""
    if name == "short":
        table = as_markdown(short_table(results))
    else:
        table = as_markdown(bench_table(results) if name == "bench" else plain_table(results.rows))
    return f"\n{table}\n\n{provenance(results)}\n\n"


def filled(page: str, found: dict[str, Results]) -> tuple[str, list[str]]:
    """Return the page with its tables, and the names of those for which there are no results."""
    missing: list[str] = []

    def place(match: re.Match[str]) -> str:
        if match[2] in found:
            return match[1] + markdown(match[2], found[match[2]]) + match[3]
        missing.append(match[2])
        return match[0]

    return PLACE.sub(place, page), missing


def collect(names: set[str], bench: Path | None, growth: list[Path]) -> dict[str, Results]:
    """Return the results for each marker: the files that were named, else the newest."""
    found = {results.kind.removeprefix("growth-"): results for results in map(load, growth)}
    for name in names - found.keys():
        kind = "bench" if name in ("short", "bench") else f"growth-{name}"
        path = bench if kind == "bench" and bench else newest(kind)
        if path is not None:
            found[name] = load(path)
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, metavar="FILE", help=f"default: newest of {FOLDER}")
    parser.add_argument("--growth", type=Path, metavar="FILE", nargs="+", default=[])
    parser.add_argument("--pages", type=Path, metavar="PAGE", nargs="+", default=list(PAGES))
    arguments = parser.parse_args(argv)
    try:
        texts = {path: path.read_text() for path in arguments.pages}
        names = {match[2] for text in texts.values() for match in PLACE.finditer(text)}
        found = collect(names, arguments.bench, arguments.growth)
    except OSError as error:
        print(f"can't read {error.filename}: {(error.strerror or '').lower()}", file=sys.stderr)
        return 2
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    missing: set[str] = set()
    for path, text in texts.items():
        new, without = filled(text, found)
        path.write_text(new)
        missing |= set(without)
    for name in sorted(missing):
        print(f"no results for {name}: its table stays as it is", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
