"""The recordings of the nodes of a campaign: where each node writes its own, and their replay."""

from __future__ import annotations

from pathlib import Path

from raftline.picture.recording.replay import replay


def options(folder: Path, name: str) -> list[str]:
    """Return the options with which a node records its steps."""
    return ["--record", f"{folder}/{name}.steps"]


def recording_findings(folder: Path) -> tuple[int, list[str]]:
    """Replay the nodes' recordings in a folder; also return how many steps matched."""
    steps, problems = 0, []
    for path in sorted([*folder.glob("*.steps"), *folder.glob("*.steps.1")]):
        with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            file.readline()
            outcome = replay(file)
        steps += outcome.steps
        if outcome.difference is not None:
            problems.append(f"{path.name} replays otherwise: {outcome.difference}")
    return steps, problems
