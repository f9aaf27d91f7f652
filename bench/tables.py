"""Results as tables: each cell the median of the rounds; a rate with the lowest and highest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results import Results, Row, median

Cells = list[list[str]]  # the first is the heading
HEADINGS = {
    "per_s": "per second",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "servers_cpu": "servers, CPU s/s",
    "generator_cpu": "generator, CPU s/s",
    "fdatasyncs_s": "fdatasyncs/s",
}
UNLISTED = "others_cpu"  # of the rest of the machine: only in the results
RAFTLINE = "raftline"
RIVAL = "etcd"
WHEEL = "raftline-wheel"
SHORT_ROWS = ("set, 1", "set, 64", "set, 256", "get, 64")  # rows of the README


def number(value: float) -> str:
    """Return three digits of a number, or all digits of a large one."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Return `median (lowest–highest)`."""
    middle, low, high = number(median(values)), number(min(values)), number(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def ratio(row: Row, rival: Row | None, figure: str) -> str:
    """Return the ratio of two medians, with the ratios of the pairs of rounds as its spread."""
    if rival is None or row is rival or not (row.figures.get(figure) and rival.figures.get(figure)):
        return ""
    ours, theirs = row.figures[figure], rival.figures[figure]
    if not all(theirs):
        return ""
    pairs = [a / b for a, b in zip(ours, theirs, strict=False)]
    middle = number(median(ours) / median(theirs))
    low, high = number(min(pairs)), number(max(pairs))
    return middle if low == high else f"{middle} ({low}–{high})"


def rivals(rows: Iterable[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows if row.system == RIVAL}


def bench_table(results: Results) -> Cells:
    """Return one line for each row and system, and their ratios to etcd in the same run."""
    others = rivals(results.rows)
    figures = [figure for figure in HEADINGS if any(figure in row.figures for row in results.rows)]
    heading = ["", "system", *(HEADINGS[figure] for figure in figures)]
    cells = [[*heading, f"times {RIVAL}'s", f"p99 / {RIVAL}'s"]]
    for row in results.rows:
        shown = [_cell(row, figure) for figure in figures]
        against = [ratio(row, others.get(row.name), figure) for figure in ("per_s", "p99_ms")]
        cells.append([row.name, row.system, *shown, *against])
    return cells


def short_table(results: Results) -> Cells:
    """Return a table for a first look, with the requests a second of each system, and their p99 in
    milliseconds. The compiled wheel and etcd have a column if they were measured."""
    by_system = {(row.name, row.system): row for row in results.rows}
    systems = {RAFTLINE: RAFTLINE, WHEEL: "its compiled wheel", RIVAL: RIVAL}
    shown = [one for one in systems if any(system == one for _, system in by_system)]
    cells = [["requests a second, p99", *(systems[system] for system in shown)]]
    for name in SHORT_ROWS:
        if (name, RAFTLINE) in by_system:
            cells.append(
                [name, *(_rate_and_p99(by_system.get((name, system))) for system in shown)]
            )
    return cells


def plain_table(rows: Sequence[Row]) -> Cells:
    """Return every figure of every row, in columns named after it."""
    figures = dict.fromkeys(figure for row in rows for figure in row.figures)
    figures.pop(UNLISTED, None)
    cells = [["", "system", *(HEADINGS.get(figure, figure) for figure in figures)]]
    cells += [[row.name, row.system, *(_cell(row, figure) for figure in figures)] for row in rows]
    return cells


def as_text(cells: Cells) -> str:
    """Return columns for a terminal."""
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def as_markdown(cells: Cells) -> str:
    """Return a table for a page."""
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]])


def provenance(results: Results) -> str:
    """Return the date, place and method of the measurement, as one sentence."""
    machine = ", ".join(
        value if name in ("processor", "memory") else f"{name} {value}"
        for name, value in results.machine.items()
    )
    settings = ", ".join(f"{name}: {value}" for name, value in results.settings.items())
    return f"{results.date}; {machine}; {settings}."


def short_provenance(results: Results) -> str:
    """Return the date, the machine and the versions for a first look."""
    facts = [
        f"commit {results.machine['commit']}" if "commit" in results.machine else "",
        results.machine.get("processor", ""),
        *(
            f"{name} {results.machine[name]}"
            for name in ("file system", "Python", RIVAL)
            if name in results.machine
        ),
    ]
    return f"{results.date.partition(' ')[0]}; {', '.join(filter(None, facts))}."


def _rate_and_p99(row: Row | None) -> str:
    if row is None:
        return ""
    rate, p99 = (_middle(row.figures.get(figure, [])) for figure in ("per_s", "p99_ms"))
    return f"{rate}, {p99} ms" if p99 else rate


def _cell(row: Row, figure: str) -> str:
    """Return the median, with its spread for a rate and for what only this row measures."""
    values = row.figures.get(figure, [])
    if figure in HEADINGS and figure != "per_s":
        return _middle(values)
    return spread(values) if values else ""


def _middle(values: Sequence[float]) -> str:
    return number(median(values)) if values else ""
