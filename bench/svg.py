"""A figure of matplotlib as SVG: the same figure gives the same bytes, for light pages and dark."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

# Text stays text, in the reader's fonts; a dark page inverts the brightness of each colour.
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "raftline"}
DARK = "@media (prefers-color-scheme:dark){svg{filter:invert(.93) hue-rotate(180deg)}}"


def as_svg(figure: Figure, title: str) -> str:
    """Return the picture; `title` is for those who can't see it."""
    # takes a while, and is only needed for drawing
    import matplotlib  # pyright: ignore[reportMissingImports]

    written = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(
            written, format="svg", metadata={"Title": title, "Date": None, "Creator": None}
        )
    head, opened, rest = written.getvalue().partition("<defs>")
    return f"{head}<style>{DARK}</style>{opened}{rest}"
