"""Looks for broken links in the site, and for what it would load from elsewhere: `make docs`.

It reads the pages as a browser does, so it also sees what is not Markdown. It follows the links of
the search as well, which lead to a wrong page if a copied file has taken the place of one. Standard
library only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:|//")
SEARCH = "searchindex.js"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The links of one page, what it loads, and the places in it that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.places = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places.add(found.get("id", ""))
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        elif (name := LOADED.get(tag)) and name in found:
            self.loaded.add(found[name])


def problems(site: Path) -> list[str]:
    """Return one line for each link that leads nowhere, and for each file from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found: list[str] = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        found += [f"{name} loads {link}" for link in page.loaded if OUTSIDE.match(link)]
        for link in page.links | page.loaded:
            place, _, anchor = unquote(link).partition("#")
            if OUTSIDE.match(link):
                continue
            target = (path.parent / place.partition("?")[0]).resolve() if place else path
            if not target.is_file():
                found.append(f"{name}: {link}: no such file")
            elif target in pages and anchor not in pages[target].places and not _is_run(anchor):
                found.append(f"{name}: {link}: no such place")
    for link in _found_by_search(site):
        place, _, anchor = link.partition("#")
        target = site / place
        if target not in pages or anchor not in pages[target].places:
            found.append(f"{SEARCH}: {link}: no such place")
    return found


def _found_by_search(site: Path) -> Iterator[str]:
    """Yield the links to all headings that a search finds."""
    index = site / SEARCH
    if index.is_file():
        search = json.loads(index.read_text(encoding="utf-8").partition("(")[2].rpartition(")")[0])
        for places in search["alltitles"].values():
            for number, anchor in places:
                yield f"{search['docnames'][number]}.html#{anchor or ''}"


def _is_run(anchor: str) -> bool:
    """Whether this is a run of the lab, which no place can have as its name."""
    return " " in anchor


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    found = problems(site)
    print("\n".join(found) or f"{site}/index.html", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
