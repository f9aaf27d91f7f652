"""The links and the prose of a page."""

from __future__ import annotations

import re

LINK = re.compile(r"(?<!!)\[[^][]*(?:\[[^][]*\][^][]*)*\]\(([^()\s]+)\)|<img src=\"([^\"]+)\"")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", text)


def links_in(text: str) -> list[str]:
    """Return where the relative links of a page lead; its code has none."""
    found = [match[1] or match[2] for match in LINK.finditer(CODE.sub("``", prose(text)))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]
