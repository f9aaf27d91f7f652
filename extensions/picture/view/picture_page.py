"""One page that holds the picture and everything needed to show it: nothing is loaded from
elsewhere. Pure, except for the files of the page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

STATIC = Path(__file__).with_name("static")
MODULES = (
    "model.js",
    "diagram.js",
    "cards.js",
    "logs.js",
    "details.js",
    "events.js",
    "story.js",
    "main.js",
)
_IMPORT = re.compile(r"^import .*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def saved_page(data: Mapping[str, object], title: str) -> str:
    """Return the page. The values in `data` stay text."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    style = (STATIC / "view.css").read_text(encoding="utf-8")
    script = "\n".join(
        _EXPORT.sub("", _IMPORT.sub("", (STATIC / name).read_text(encoding="utf-8")))
        for name in MODULES
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    formatted = json.dumps({**data, "anew": False, "title": title}).replace("<", "\\u003c")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>"
    )
    text = text.replace("<title>raftline view</title>", head)
    text = text.replace('<link rel="stylesheet" href="/static/view.css">\n', "")
    text = text.replace('<script type="module" src="/static/main.js"></script>\n', "")
    end = (
        f'<script type="application/json" id="saved">{formatted}</script>\n'
        f'<script type="module">{script}</script>\n</body>'
    )
    return text.replace("</body>", end)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
