"""The picture of a transcript that failed, named in the failure."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..virtual.collecting import new_collector
from ..virtual.drawing import FOLDER, save_picture
from .player import TranscriptError, perform


def drawn(written: str, name: str, folder: Path = FOLDER) -> str:
    """Write the picture of a transcript, if an extension draws; return the line that names it."""
    collector = new_collector()
    if collector is None:
        return ""
    with contextlib.suppress(TranscriptError):
        perform(written, collector)
    return f"the picture: {save_picture(collector, f'transcript-{name}', folder)}"
