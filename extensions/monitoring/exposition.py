"""The text format of Prometheus (version 0.0.4): families of samples, each with its help. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "raftline_"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})  # in the value of a label

Labels = Mapping[str, str]


class Exposition:
    """Collects metric families in order, and returns them as text."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def gauge(self, name: str, help_text: str, value: float) -> None:
        """Add a metric that goes up and down."""
        self.family("gauge", name, help_text, [({}, value)])

    def counter(self, name: str, help_text: str, value: float) -> None:
        """Add a metric that only grows during the life of the process."""
        self.family("counter", name, help_text, [({}, value)])

    def family(
        self, kind: str, name: str, help_text: str, samples: Sequence[tuple[Labels, float]]
    ) -> None:
        """Add a metric with one sample for each set of labels. A family without samples is
        omitted."""
        if samples:
            self._begin(kind, name, help_text)
            self._lines += [_sample(name, labels, value) for labels, value in samples]

    def labelled(
        self, kind: str, name: str, help_text: str, label: str, values: Mapping[str, float]
    ) -> None:
        """Add a metric with one sample for each value of a label."""
        self.family(kind, name, help_text, [({label: one}, each) for one, each in values.items()])

    def histogram(
        self,
        name: str,
        help_text: str,
        samples: Sequence[tuple[Labels, Sequence[float], Sequence[int], float]],
    ) -> None:
        """Add a histogram of times for each set of labels: the bounds, the counts (one more than
        the bounds) and the sum."""
        self._begin("histogram", name, help_text)
        for labels, bounds, counts, total in samples:
            below = 0
            for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
                below += count
                self._lines.append(_sample(f"{name}_bucket", {**labels, "le": bound}, below))
            self._lines.append(_sample(f"{name}_sum", labels, total))
            self._lines.append(_sample(f"{name}_count", labels, below))

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _begin(self, kind: str, name: str, help_text: str) -> None:
        help_text = help_text.replace("\\", "\\\\").replace("\n", "\\n")
        self._lines += [f"# HELP {_full(name)} {help_text}", f"# TYPE {_full(name)} {kind}"]


def _full(name: str) -> str:
    return name if name.startswith("process_") else f"{PREFIX}{name}"


def _sample(name: str, labels: Labels, value: float) -> str:
    figure = str(value) if isinstance(value, int) else repr(float(value))
    if not labels:
        return f"{_full(name)} {figure}"
    pairs = ",".join([f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items()])
    return f"{_full(name)}{{{pairs}}} {figure}"
