"""The data of a saved page of the picture."""

from __future__ import annotations

import json
import re
from typing import Any


def held(page: str) -> dict[str, Any]:
    """Return the data of a page."""
    match = re.search(r'id="saved">(.*)</script>', page)
    assert match is not None
    data: dict[str, Any] = json.loads(match[1])
    return data
