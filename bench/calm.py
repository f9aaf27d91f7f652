"""A measurement for a page begins on a calm machine only: other work would be taken for ours."""

from __future__ import annotations

import argparse
import os

from generator import BenchError

LOAD_MAX = 0.5  # of a core


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--any-load`."""
    parser.add_argument(
        "--any-load",
        action="store_true",
        help="begin on a busy machine too; no page gets these results",
    )


def check(arguments: argparse.Namespace) -> None:
    """Check that the machine is calm, unless any load will do.

    Raises:
        BenchError: the load of the last minute is above LOAD_MAX for each core.
    """
    load, most = os.getloadavg()[0], LOAD_MAX * (os.cpu_count() or 1)
    if load > most and not arguments.any_load:
        raise BenchError(
            f"the load of the last minute is {load:.1f}, and at most {most:.1f} is calm here: end "
            "the other work and wait a minute, or try with --any-load, whose results no page gets"
        )
