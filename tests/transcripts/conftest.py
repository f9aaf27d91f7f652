"""`pytest tests/transcripts --accept` rewrites the expectations of the transcripts."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept",
        action="store_true",
        default=False,
        help="rewrite what follows each act of the transcripts; review that as code",
    )
