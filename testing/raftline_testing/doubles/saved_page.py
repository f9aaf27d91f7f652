"""The data of a saved page of the picture."""

from __future__ import annotations

import json
import re
from typing import Any


def held(page: str) -> dict[str, Any]:
    """Return the data of a page."""
    found = re.search(r'id="saved">(.*)</script>', page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data
