"""The pages: every link leads somewhere, every file that is named exists, the index is whole."""

from __future__ import annotations

import re

import pytest

from raftline_testing.markdown import links_in, prose
from raftline_testing.runner.parts import is_missing, whole
from tests.lists.listed_pages import HISTORY, ROOT, pages, text_of, tracked
from tests.lists.trees import sources

NAMED = re.compile(
    r"(?<![\w/.-])((?:docs|course|bench|labs|tests|deploy|src|library|extensions)/[\w./-]*\.(?:md|py|txt|c|h|json|sh|svg))\b"
)
OUTSIDE = re.compile(r"\.\./" r"shared\b|(?<![\w.])/" r"work/")
BARE = re.compile(r"(?<![\w/.-])[\w-]+\.md\b")


def anchors_in(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for title in re.findall(r"^#{1,6} (.+?)\s*$", prose(text), re.MULTILINE):
        words = re.sub(r"\[([^][]*)\]\([^()]*\)", r"\1", title).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again = sum(one == anchor or one.startswith(f"{anchor}-") for one in found)
        found.add(f"{anchor}-{again}" if anchor in found else anchor)
    return found


def problem_of(page: str, link: str) -> str:
    """Return why a link of a page leads nowhere, or ""."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
    if not target.is_relative_to(ROOT):
        return "leads out of the repository"
    name = target.relative_to(ROOT).as_posix()
    if is_missing(name):
        return ""
    if name not in tracked() and not any(one.startswith(f"{name}/") for one in tracked()):
        return "no such file"
    if anchor and anchor not in anchors_in(text_of(name)):
        return "no such heading"
    return ""


def test_every_relative_link_leads_to_a_file_and_heading() -> None:
    """Each relative link of a page leads to an existing file and heading."""
    broken = [
        f"{page}: {link}: {problem}"
        for page in pages()
        for link in links_in(text_of(page))
        if (problem := problem_of(page, link))
    ]
    assert broken == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("docs/index.md", ""),
        ("docs/use/protocol.md#conditional-and-atomic-commands", ""),
        ("docs", ""),
        ("docs/nothing.md", "no such file"),
        ("docs/use/protocol.md#nothing", "no such heading"),
        ("../outside.md", "leads out of the repository"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, problem: str) -> None:
    assert links_in(f"see [this page]({link})") == [link]
    assert problem_of("README.md", link) == problem


def test_a_heading_that_stands_twice_has_two_anchors() -> None:
    text = "# The `log`, and why\n## Rules\n## Rules\n```\n# no heading\n```\n"
    assert anchors_in(text) == {"the-log-and-why", "rules", "rules-1"}


def test_every_file_that_a_page_or_the_code_names_exists() -> None:
    modules = [path.relative_to(ROOT).as_posix() for path in sources()]
    missing = [
        f"{name}: {path}"
        for name in sorted([*pages(), *modules])
        if name != HISTORY
        for path in NAMED.findall(text_of(name))
        if path not in tracked() and not is_missing(path)
    ]
    assert missing == []


@whole
def test_every_page_that_another_page_names_exists() -> None:
    names = {page.rpartition("/")[2] for page in pages()}
    missing = [
        f"{page}: {name}"
        for page in pages()
        for name in BARE.findall(text_of(page))
        if name not in names
    ]
    assert missing == []


def test_no_file_mentions_a_place_outside_the_repository() -> None:
    found = [
        f"{name}: {match[0]}"
        for name in sorted(tracked())
        for match in OUTSIDE.finditer(text_of(name))
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["docs", "course/docs"])
def test_an_index_lists_every_page_of_its_folder_once(folder: str) -> None:
    index = text_of(f"{folder}/index.md")
    rows = [links_in(line) for line in index.splitlines() if line.startswith("| [")]
    assert all(len(links) == 1 for links in rows)
    listed = [(ROOT / folder / links[0]).resolve().relative_to(ROOT).as_posix() for links in rows]
    assert sorted(set(listed)) == sorted(listed)
    own = {page for page in pages() if page.startswith(f"{folder}/")}
    assert own - set(listed) == {f"{folder}/index.md"}


def test_each_part_of_the_index_is_for_one_kind_of_reader() -> None:
    parts = re.split(r"^## ", text_of("docs/index.md"), flags=re.MULTILINE)
    rows = {part.split("\n")[0]: len(re.findall(r"^\| \[", part, re.M)) for part in parts}
    assert [part for part, pages in rows.items() if pages and not part.startswith("For ")] == []


@whole
def test_each_module_that_a_page_for_developers_names_is_there() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[sctel]*/**/*.py")]
    assert "src/raft/node.py" in files
    lost = [
        f"{page.name}: {name}"
        for page in sorted((ROOT / "docs" / "develop").glob("*.md"))
        for name in re.findall(r"`([a-z_/]+\.py)`", page.read_text(encoding="utf-8"))
        if not any(f"/{file}".endswith(f"/{name}") for file in files)
    ]
    assert lost == []


def test_each_name_in_the_page_of_a_step_stands_in_the_core() -> None:
    page = (ROOT / "docs" / "develop" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## A step\n")[2].partition("\n## ")[0]
    names = {name for name in re.findall(r"`(?:\w+\.)?(\w+)(?:\(NAME\))?`", section)}
    assert {"_MESSAGE_RULES", "listens_to", "may_send"} <= names
    core = "\n".join(path.read_text("utf-8") for path in (ROOT / "src" / "raft").glob("*.py"))
    modules = {path.stem for path in (ROOT / "src" / "raft").glob("*.py")}
    assert [name for name in names - modules if not re.search(rf"\b{name}\b", core)] == []
