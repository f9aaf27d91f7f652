"""The table of rights on docs/use/users.md is the one that nodes go by.

`python tests/lists/test_users_page.py` writes it into the page.
"""

from __future__ import annotations

from pathlib import Path

from raftline.access.rights import table

PAGE = Path(__file__).parents[2] / "docs" / "use" / "users.md"
BEGIN, END = "<!-- rights -->\n", "<!-- end of rights -->\n"


def written() -> str:
    """Return the page with the table as it is to be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end
    lines = "".join(f"{line}\n" for line in table())
    return f"{before}{BEGIN}{lines}{END}{after}"


def test_the_page_has_the_table_of_rights() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
