"""Put the newest results into README.md and the pages of bench/: `python bench/table.py`.

A page has a table between `<!-- figures NAME -->` and `<!-- end of figures -->`. `bench` means all
results of `make -C bench run`, and `short` four of its rows; another NAME is a row of
`make -C bench growth`.
`--bench FILE` and `--growth FILE…` name results other than the newest of `build/bench/`. A table
stays unchanged if there are no results for it, or only older ones. Above `bench` and `short` there
is a picture, drawn from the same results (`--picture FILE`). A table is marked as old if what it
measures has changed (`age.py`).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import age
import throughput_picture
from generator import BenchError
from results import FOLDER, Results, load, newest
from tables import (
    as_markdown,
    bench_table,
    plain_table,
    provenance,
    short_provenance,
    short_table,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(ROOT / name for name in ("README.md", "bench/README.md", "bench/results.md"))
PICTURE = ROOT / "docs" / "pictures" / "throughput.svg"
WITH_PICTURE = ("short", "bench")
PLACE = re.compile(r"(<!-- figures ([a-z-]+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)
DATE = re.compile(r"^\d{4}-\d\d-\d\d(?: \d\d:\d\d UTC)?(?=;)", re.MULTILINE)


def markdown(name: str, results: Results, image: str) -> str:
    """Return the text between two markers."""
    if name == "short":
        cells = short_table(results)
    else:
        cells = bench_table(results) if name == "bench" else plain_table(results.rows)
    parts = [image] if image and name in WITH_PICTURE else []
    measured = short_provenance(results) if name == "short" else provenance(results)
    text = "\n\n".join([*parts, as_markdown(cells), measured])
    return f"{text}\n" if name == "short" else f"\n{text}\n\n"  # the README is short


def filled(page: str, found: dict[str, Results], image: str = "") -> tuple[str, list[str]]:
    """Return the page with its tables, and the names of tables without results."""
    missing: list[str] = []

    def place(match: re.Match[str]) -> str:
        if match[2] in found:
            return match[1] + markdown(match[2], found[match[2]], image) + match[4]
        missing.append(match[2])
        return match[0]

    return PLACE.sub(place, page), missing


def is_older(results: Results, table: str) -> bool:
    """Return whether these results were measured before those in the table."""
    date = DATE.search(table)
    return date is not None and results.date[: len(date[0])] < date[0]


def drawn(path: Path, found: dict[str, Results]) -> bool:
    """Draw the picture; return whether there was anything to draw."""
    results = next((found[name] for name in WITH_PICTURE if name in found), None)
    text = throughput_picture.draw(results) if results else None
    if text is not None:
        path.write_text(text)
    return text is not None


def image_of(path: Path, page: Path) -> str:
    """Return one line for a page, which shows the picture and explains it."""
    place = Path(os.path.relpath(path.resolve(), page.resolve().parent)).as_posix()
    alt = "Requests a second and the 99th percentile of their waits, for each system"
    image = f'<img src="{place}" width="{throughput_picture.WIDTH}" alt="{alt}">'
    return f"{image}<br>Each line is one system, at 1, 8, 64 and 256 connections."


def collect(names: set[str], bench: Path | None, growth: list[Path]) -> dict[str, Results]:
    """Return the results for each marker: the named files, else the newest."""
    results_by_name = {
        results.kind.removeprefix("growth-"): results for results in map(load, growth)
    }
    for name in names - results_by_name.keys():
        kind = "bench" if name in WITH_PICTURE else f"growth-{name}"
        path = bench if kind == "bench" and bench else newest(kind)
        if path is not None:
            results_by_name[name] = load(path)
    return results_by_name


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, metavar="FILE", help=f"default: newest of {FOLDER}")
    parser.add_argument("--growth", type=Path, metavar="FILE", nargs="+", default=[])
    parser.add_argument("--pages", type=Path, metavar="PAGE", nargs="+")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help=f"default: {PICTURE}; none with --pages"
    )
    arguments = parser.parse_args(argv)
    if arguments.pages is None:
        arguments.pages, arguments.picture = list(PAGES), arguments.picture or PICTURE
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    try:
        texts = {path: path.read_text() for path in arguments.pages}
        places = [match for text in texts.values() for match in PLACE.finditer(text)]
        tables = collect({place[2] for place in places}, arguments.bench, arguments.growth)
    except OSError as error:
        print(f"can't read {error.filename}: {(error.strerror or '').lower()}", file=sys.stderr)
        return 2
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    older = {
        place[2] for place in places if place[2] in tables and is_older(tables[place[2]], place[3])
    }
    tables = {name: results for name, results in tables.items() if name not in older}
    is_drawn = arguments.picture is not None and drawn(arguments.picture, tables)
    missing: set[str] = set()
    for path, text in texts.items():
        image = image_of(arguments.picture, path) if is_drawn else ""
        new, without = filled(text, tables, image)
        path.write_text(age.with_ages(new))
        missing |= set(without)
    for name in sorted(missing):
        why = "only older results" if name in older else "no results"
        print(f"{why} for {name}: its table stays as it is", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
