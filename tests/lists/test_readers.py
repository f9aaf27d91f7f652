"""Each page says at its top for whom it is."""

from __future__ import annotations

import re

import pytest

from tests.lists.listed_pages import pages, text_of

READERS = re.compile(
    r"\bfor (?:the )?(?:all|auditors|authors?|contributors|developers|every|everybody|learners"
    r"|newcomers|operators|people|students|teachers|those|users)\b",
    re.IGNORECASE,
)
FOR_EVERYBODY = {"README.md", ".github/PULL_REQUEST_TEMPLATE.md"}


def names_its_readers(page: str) -> bool:
    """Whether the title or the first line of a page names its readers."""
    lines = [line for line in page.splitlines() if line and line[:3] != "## "]
    return page.startswith("# ") and READERS.search("\n".join(lines[:2])) is not None


def test_each_page_names_its_readers_in_its_title_or_first_line() -> None:
    unsaid = [page for page in pages() if not names_its_readers(text_of(page))]
    assert sorted({*unsaid} - FOR_EVERYBODY) == []


@pytest.mark.parametrize(
    ("page", "is_said"),
    [
        ("# Locks\n\nThis page is for authors of programs.\n", True),
        ("# Key of lab 1, for teachers\n\n## 1\n", True),
        ("# Locks\n\nA lock is held by one program.\nFor operators: more.\n", False),
        ("# Locks\n\nA lock is good for a program.\n", False),
    ],
)
def test_a_page_that_names_nobody_is_found(page: str, is_said: bool) -> None:
    assert names_its_readers(page) == is_said
