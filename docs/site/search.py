"""Asks the site's search what readers look for: `make -C docs search`, after `make docs`.

Each question has a page that answers it, which must be among the first three results. The search
runs in Chromium as a reader's; without one the check says that it was skipped.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

FIRST = 3
QUESTIONS = {
    "--compact-at": "docs/site/options.html#row-compact-at",
    "first-admin": "docs/site/options.html#row-first-admin",
    "--ttl": "docs/use/commands.html",
    "fsck": "docs/use/commands.html#row-fsck",
    "recover": "docs/use/commands.html#row-recover",
    "lock": "docs/use/commands.html#row-lock",
    "setnx": "docs/use/commands.html#row-setnx",
    "exit statuses": "docs/use/commands.html#exit-statuses",
    "BLPOP": "docs/use/redis.html#row-blpop",
    "EXPIRE": "docs/use/redis.html#row-expire",
    "WATCH": "docs/use/redis.html#row-watch",
    "outcome-unknown": "docs/use/protocol.html#row-outcome-unknown",
    "queue": "docs/use/queues.html",
    "lease": "docs/use/leases.html",
    "OutcomeUnknown": "docs/use/python.html#row-outcomeunknown",
    "disk full": "docs/operate/service.html",
    "lost its memory": "docs/repair.html",
    "prometheus": "docs/operate/monitoring.html",
    "certificate": "docs/operate/tls-and-secret.html",
    "add a member": "docs/operate/membership.html",
}
RESULT = re.compile(r'<li class="kind-[^>]*><a href="([^"]*)"')


def results(site: Path, chromium: str, question: str) -> list[str]:
    """Return the addresses that the site's search lists, in its order."""
    address = f"file://{site}/search.html?q={quote(question)}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=9000"]
    page = subprocess.run(
        [chromium, *options, "--dump-dom", address],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=120,
    )
    return RESULT.findall(page.stdout)


def is_at(place: str, wanted: str) -> bool:
    """Whether this is the place that answers the question, or on the page that does."""
    return wanted in (place, place.partition("#")[0])


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("skipped: the questions to the site's search need Chromium", file=sys.stderr)
        return 0

    with ThreadPoolExecutor(2) as readers:
        found = list(readers.map(lambda each: results(site, chromium, each), QUESTIONS))
    missed = [
        f"{question!r} leads to {', '.join(places[:FIRST]) or 'nothing'}, and not to {wanted}"
        for (question, wanted), places in zip(QUESTIONS.items(), found, strict=True)
        if not any(is_at(place, wanted) for place in places[:FIRST])
    ]
    print(
        "\n".join(missed) or f"{len(found)} questions answered", file=sys.stderr if missed else None
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
