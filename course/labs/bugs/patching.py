"""Put a bug into a copy of the sources, by its patch. This imports nothing of raftline."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path


class DoesNotApply(Exception):
    """A patch that no longer fits the program; one line says which and where."""


def apply_patch(patch: Path, sources: Path) -> None:
    """Apply the patch to the files under `sources`. Each hunk is found by its lines, not by their
    numbers, and must occur exactly once: so patches survive changes around them."""
    file: Path | None = None
    hunks: list[tuple[Path, list[str], list[str]]] = []
    for line in text_of_patch(patch).splitlines(keepends=True):
        if line.startswith("+++ "):
            file = sources / line[4:].strip().removeprefix("b/src/")
        elif line.startswith("@@"):
            assert file is not None, f"{patch.name} names no file"
            hunks.append((file, [], []))
        elif hunks and line[0] in " -+":
            before, after = hunks[-1][1:]
            if line[0] != "+":
                before.append(line[1:])
            if line[0] != "-":
                after.append(line[1:])
    for file, before, after in hunks:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        count = text.count("".join(before))
        if count != 1:
            name = file.relative_to(sources)
            raise DoesNotApply(
                f"{patch.name} does not fit src/{name} any more: what it changes is there "
                f"{count} times, beginning with {before[0].strip()!r}"
            )
        file.write_text(text.replace("".join(before), "".join(after)), encoding="utf-8")


def text_of_patch(patch: Path) -> str:
    """Return a patch. In a handout it is packed, so that it isn't read by accident."""
    if patch.exists():
        return patch.read_text(encoding="utf-8")
    packed = patch.with_suffix(".packed").read_bytes()
    return zlib.decompress(base64.b64decode(packed)).decode("utf-8")
