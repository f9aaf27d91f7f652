"""`raftline docs`: the pages of this build, its alarms for Prometheus and its dashboard.

In a clone, these files are next to the package. An installed package contains them: setup.py packs
FILES.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[1]
PACKED: Final = "pages"  # the folder in an installed package
FILES: Final = (
    "docs/*.md", "docs/*/*.md", "docs/examples/*.py",
    "deploy/prometheus/alerts.yml", "deploy/prometheus/prometheus.yml",
    "deploy/grafana/raftline.json",
)  # fmt: skip
_NAMED: Final = {"raftline.json": "dashboard"}  # other files are named by their stems
_TITLES: Final = {
    "alerts": 'alarms for Prometheus; they look for the nodes under job="raftline"',
    "prometheus": "a configuration of Prometheus that scrapes the nodes under that job",
    "dashboard": "a dashboard for Grafana; import it and choose the data source",
}


def show(name: str | None, folder: Path | None) -> int:
    """Print a page or the list of all pages, or write all pages into a folder.

    Raises:
        ConfigError: there is no such page, a name and a folder are given, or the folder can't be
            written.
    """
    from ..common.config import ConfigError, complaint  # setup.py has no package yet

    all_pages = pages()
    if folder is not None:
        if name is not None:
            raise ConfigError(f"--to writes all pages, {name} too; leave out one of them")
        try:
            for path, text in all_pages.values():
                target = Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(complaint(error, folder)) from None
        print(f"{folder}: {len(all_pages)} files; begin with docs/index.md")
    elif name is None:
        width = max(map(len, all_pages))
        for each, (_, text) in all_pages.items():
            print(f"{each:<{width}}  {_TITLES.get(each) or _title(text)}")
    else:
        print(_page(name, all_pages), end="")
    return 0


def pages() -> Mapping[str, tuple[str, str]]:
    """Return the path in a clone and the text of each page, by its name."""
    packed = PACKAGE / PACKED
    root = packed if packed.is_dir() else PACKAGE.parent
    paths = [path for pattern in FILES for path in sorted(root.glob(pattern))]
    return {
        _name(path): (
            path.relative_to(root).as_posix(),
            path.read_text(encoding="utf-8"),
        )
        for path in paths
    }


def _name(path: Path) -> str:
    stem = path.parent.name if path.stem == "README" else path.stem
    return _NAMED.get(path.name, stem)


def _page(name: str, all_pages: Mapping[str, tuple[str, str]]) -> str:
    from ..common.config import ConfigError

    by_path = {path: text for path, text in all_pages.values()}
    if name in all_pages:
        return all_pages[name][1]
    if name.removeprefix("./") in by_path:
        return by_path[name.removeprefix("./")]
    near = difflib.get_close_matches(name, all_pages, 1)
    hint = f"; did you mean {near[0]}?" if near else "; raftline docs lists them"
    raise ConfigError(f"there is no page {name!r}{hint}")


def _title(text: str) -> str:
    """Return the heading of a page, or the first line of a program's docstring."""
    head = text.lstrip().partition("\n")[0]
    return head.lstrip("#!").strip().strip('"') if head else ""
