"""The site of the pages, by Sphinx: `make docs` builds it into build/site.

The pages stay where they are. The README is the front page. The others are those that docs/index.md
and course/docs/index.md link to, and their headings are those of the navigation; a README adds the
pages below its folder. A link to any other file of the repository leads to a copy of that file.
"""

from __future__ import annotations

import re
import runpy
import shutil
from argparse import SUPPRESS, ArgumentParser
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from raftline import cli

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
FRONT, REFERENCE, OPTIONS = "README", "docs/site/reference", "docs/site/options"
PROGRAMS = "docs/use/python"  # the reference and the options stand in the same part
INDEXES = ("docs/index", "course/docs/index")
LAB = (
    "docs/learn/*.html", "docs/learn/lab/*.*", "docs/learn/lab/pyodide/*",
    "extensions/picture/view/static/*.js", "extensions/picture/view/static/*.css",
    "src/raft/*.py",
)  # fmt: skip
REDIS = "docs/use/redis"
SOUGHT = (OPTIONS, "docs/use/*", "docs/operate/*", "docs/repair", "course/docs/*", "README")
NAME = re.compile(r"(?:raftline )?([-\w]+)")
PAGE = re.compile(r"\]\(([^()#:]+)\.md\)")
ROW = re.compile(rf"^\| \[[^]]*{PAGE.pattern}", re.MULTILINE)
LINK = re.compile(r"\[((?:[^][]|\[[^][]*\])*)\]\((?![a-z]+:)([^()\s#]+)(#[^()\s]*)?\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


def place_of(link: str, page: str) -> str:
    """Return the path of what a page links to, from the root of the repository."""
    target = (ROOT / page).parent.joinpath(link).resolve()
    return target.relative_to(ROOT).as_posix()


def parts_of(index: str) -> dict[str, list[str]]:
    """Return the pages that an index links to, by heading: that of a row, or else the first."""
    text = text_of(index)
    sections = re.split(r"^#+ (.*)\n", text, flags=re.MULTILINE)[1:]
    rows, seen = set(ROW.findall(text)), {f"../{FRONT}"}
    found: dict[str, list[str]] = {}
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        for link in [
            *ROW.findall(body),
            *(link for link in PAGE.findall(body) if link not in rows),
        ]:
            page = place_of(link, index)
            if link not in seen and page not in INDEXES:
                found.setdefault(heading, []).append(page)
                seen.add(link)
    return found


def children_of(page: str, listed: set[str]) -> list[str]:
    """Return the pages below the folder of a README that it links to, and no index does."""
    if not page.endswith("/README"):
        return []
    linked = dict.fromkeys(place_of(link, page) for link in PAGE.findall(text_of(page)))
    below = page.removesuffix("README")
    return [each for each in linked if each.startswith(below) and each not in listed]


PARTS = {part: pages for index in INDEXES for part, pages in parts_of(index).items()}
LISTED = {page for pages in PARTS.values() for page in pages}
CHILDREN = {page: children_of(page, LISTED) for page in LISTED}
PAGES = {FRONT, *INDEXES, *LISTED, *(page for pages in CHILDREN.values() for page in pages)}
next(pages for pages in PARTS.values() if PROGRAMS in pages).extend([REFERENCE, OPTIONS])

project = "raftline"
release = runpy.run_path(str(ROOT / "deploy/git_version.py"))["version"]()
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.githubpages"]
root_doc = FRONT
include_patterns = [*(f"{page}.md" for page in PAGES), f"{REFERENCE}.rst", f"{OPTIONS}.rst"]
exclude_patterns = [".*", "build", "dist", "src", "logs", "*.egg-info"]
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["html_image"]
myst_heading_anchors = 6
highlight_language = "text"
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"raftline {release.partition('+')[0]}"
html_copy_source = False
html_show_copyright = False
html_search_scorer = str(ROOT / "docs/site/scorer.js")


def toctree(pages: list[str], caption: str = "") -> str:
    """Return what Sphinx makes a part of the navigation of; a reader of the page sees nothing."""
    head = ["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), ""]
    return "\n".join(["", "", *head, *(f"/{page}" for page in pages), "```", ""])


def navigation(page: str) -> str:
    """Return the pages below a page, for the navigation: all of them below the front page."""
    if page == FRONT:
        parts = [toctree(pages, part) for part, pages in PARTS.items()]
        return "".join([toctree(list(INDEXES)), *parts])
    return toctree(CHILDREN[page]) if CHILDREN.get(page) else ""


def rewritten(text: str, page: str) -> str:
    """Return a page's text with links to files that are not pages turned into links to copies."""
    code = [block.span() for block in CODE.finditer(text)]

    def link(match: re.Match[str]) -> str:
        name, target, anchor = match[1], match[2], match[3] or ""
        if any(begin <= match.start() < end for begin, end in code):
            return match[0]
        place = place_of(target, page)
        if (ROOT / place).is_dir():
            place, target = f"{place}/README.md", f"{target.rstrip('/')}/README.md"
            if place.removesuffix(".md") not in PAGES:
                return name
        if place.removesuffix(".md") in PAGES:
            return f"[{name}]({target}{anchor})"
        if fnmatch(place, LAB[0]):  # the site has it at its place, where its own links lead on
            return f'<a href="{target}{anchor}">{name}</a>'
        return f"[{name}](path:{target})"

    return LINK.sub(link, text)


def read(_: Sphinx, page: str, source: list[str]) -> None:
    if page not in (REFERENCE, OPTIONS):
        source[0] = rewritten(source[0], page) + navigation(page)


class Options(SphinxDirective):
    """The commands with their options, as `--help` prints them."""

    def run(self) -> list[nodes.Node]:
        found = cli.parsers(cli.TOOLS) if cli.TOOLS else {}
        return [self._section(name, parser) for name, parser in found.items()]

    def _section(self, name: str, parser: ArgumentParser) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(f"command-{name}")])
        self.state.document.note_explicit_target(section)
        usage = re.sub(r"\s+", " ", parser.format_usage()).strip()
        section += [
            nodes.title(text=f"raftline {name}"),
            nodes.paragraph(text=parser.description or ""),
        ]
        section += [nodes.literal_block(usage, usage, language="text"), nodes.definition_list()]
        for action in parser._actions:
            if action.help == SUPPRESS or action.dest == "help":
                continue
            value = action.metavar if isinstance(action.metavar, str) else ""
            names = action.option_strings or [value or action.dest]
            term = nodes.term()
            for each in names:
                term += [nodes.literal(text=f"{each} {value}".strip()), nodes.Text(" ")]
            text = (
                re.sub(r"\s+", " ", parser._get_formatter()._expand_help(action))
                if action.help
                else ""
            )
            section[-1] += nodes.definition_list_item(
                "", term, nodes.definition("", nodes.paragraph(text=text))
            )
        return section


class Names(SphinxTransform):
    """Puts the options, verbs and commands that rows of tables begin with into the index, so that
    the site's search finds the row first, and not the pages that mention the name."""

    default_priority = 500  # before the domains read the document

    def apply(self) -> None:
        page, seen = self.env.docname, set[str]()
        if not any(fnmatch(page, pattern) for pattern in SOUGHT):
            return
        for row in self.document.findall(is_named):
            # Each command of Redis is in a row of many.
            cells = row if page == REDIS else row[0]
            for literal in list(cells.findall(nodes.literal)):
                found = NAME.match(literal.astext())
                name = found[1] if found else ""
                if not name or name in seen or not (place := nodes.make_id(f"row-{name}")):
                    continue
                seen.add(name)
                while place in self.document.ids:
                    place += "-1"
                target = nodes.target("", "", ids=[place])
                self.document.note_explicit_target(target)
                entry = addnodes.index(entries=[("single", name, place, "main", None)])
                literal.parent.insert(literal.parent.index(literal), [entry, target])


def is_named(node: nodes.Node) -> bool:
    """Whether this has the name of a command or an option, or more of them, at its beginning."""
    return isinstance(node, (nodes.row, nodes.definition_list_item))


def finish(app: Sphinx, error: Exception | None) -> None:
    """Make index.html the first page of the site, and add the lab page with what it loads."""
    if error is None:
        shutil.copy(Path(app.outdir, f"{FRONT}.html"), Path(app.outdir, "index.html"))
        add_lab(Path(app.outdir))


def add_lab(site: Path) -> None:
    """Put the lab page, the questions, and what they load where a clone has them. CPython
    comes from a CDN, unless `make -C docs lab` fetched it."""
    for pattern in LAB:
        for path in ROOT.glob(pattern):
            target = site / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    lab = ROOT / "extensions/picture/harness/lab"
    sources = runpy.run_path(str(lab / "sources.py"))["packed"]()
    (site / "docs/learn/lab/sources.zip").write_bytes(sources)


def setup(app: Sphinx) -> None:
    app.add_lexer("transcript", TextLexer)  # lines of a session in the pages
    app.add_directive("options", Options)
    app.add_transform(Names)
    app.connect("source-read", read)
    app.connect("build-finished", finish)
