"""`pytest tests/transcripts --accept` rewrites what the transcripts expect."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept",
        action="store_true",
        default=False,
        help="rewrite what follows each act of the transcripts; review that as code",
    )
