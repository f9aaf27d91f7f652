"""The pages and the typed client have each command that has a row in
src/wire/commands/command_table.py.

`python -m tests.lists.test_command_pages` writes into the pages what is made from the rows. For the
rest a failure names the line that a person adds (docs/develop/add-a-command.md).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from raftline.clients.calls.calls import CallFactory
from raftline.clients.calls.transaction import Operations
from raftline.clients.kv.aio_kv import AioKV
from raftline.clients.kv.kv import KV
from raftline.wire.commands.command_table import COMMANDS, READ, Command, help_on
from raftline.wire.commands.rights import Touches
from raftline.wire.commands.transaction_line import UNDER
from tests.page_changes import changes

DOCS = Path(__file__).resolve().parents[2] / "docs"
USERS, PROTOCOL, GRAMMAR, PYTHON, TRANSACTIONS = (
    DOCS / name
    for name in (
        "use/users.md",
        "use/protocol.md",
        "develop/grammar.abnf",
        "use/python.md",
        "use/transactions.md",
    )
)
OPERATIONS = [row for row in COMMANDS.values() if row.is_operation]
OF_TRANSACTIONS = ("operation", "tx-plain", "tx-write", "tx-object")  # rules of the grammar
OF_A_SESSION = ("session", "forget")  # they have a name before them, and a rule of their own
# As set(ttl=…), as lease=…, as replicated objects, as put.
TYPED_ELSEWHERE = ("setex", "under", "object", "enqueue")


def _alternatives(rule: str, names: list[str]) -> str:
    """Return a rule of the grammar; a `/` begins each line but the first."""
    lines = [f"{rule:16}= {names[0]}"]
    for name in names[1:]:
        if len(lines[-1]) + len(name) > 96:
            lines.append(" " * 17)
        lines[-1] += f" / {name}"
    return "".join(f"{line}\n" for line in lines)


def rights() -> list[str]:
    """Return the table of rights as lines of Markdown: the forms of each right, in the order of the
    help."""
    forms: dict[str, list[str]] = {}
    for row in COMMANDS.values():
        kind = f"{row.right.in_words} | {row.right.touches.value}"
        forms.setdefault(kind, []).append(f"`{row.form}`".replace("|", "\\|"))
    rows = [f"| {kind} | {', '.join(group)} |" for kind, group in forms.items()]
    return ["| right | for | lines |", "|---|---|---|", *rows]


def made() -> Iterator[tuple[Path, str, str]]:
    """Yield the parts of pages that are made: the page, the part as a pattern, and its text."""
    table = "".join(f"{line}\n" for line in rights())
    yield USERS, r"(?<=<!-- rights -->\n)(?s:.*?)(?=<!-- end of rights -->)", table
    yield PROTOCOL, r"(?m)^s1@HELP response: .*$", f"s1@{help_on('help')}"
    *most, last = [row.verb for row in OPERATIONS]
    can = f"that can't stand in a transaction; {', '.join(most)} and {last} can."
    yield PROTOCOL, r"that can't stand in a transaction; .*? can\.", can
    alone = ", ".join(f"`{row.verb}`" for row in OPERATIONS if row.verb != UNDER)
    yield TRANSACTIONS, r"(?<=any command on one key: )`get`.*(?=\.\n\s*`under)", alone
    asked = [verb for verb in COMMANDS if verb not in OF_A_SESSION]
    yield GRAMMAR, r"(?m)^request +=.*\n(?: .*\n)*", _alternatives("request", asked)
    logged = [verb for verb in asked if COMMANDS[verb].handling.kind == "write"]
    logged[logged.index("lease")] += " [ SP lease-tag ]"
    logged.append("expired")
    yield GRAMMAR, r"(?m)^write +=.*\n(?: .*\n)*", _alternatives("write", logged)


def lacking(row: Command) -> Iterator[str]:
    """Yield what a person adds to pages for a row."""
    verb = row.verb
    if not re.search(rf"[`@]{verb}[ `\n]", _written_by_hand()):
        yield f"docs/use/protocol.md: a row, | `{row.form}` | reply | and if not |"
    grammar = GRAMMAR.read_text(encoding="utf-8")
    if verb not in OF_A_SESSION and not re.search(rf"^{verb} +=", grammar, re.M):
        yield f'docs/develop/grammar.abnf: a rule, {verb:16}= %s"{verb} " …'
    if row.is_operation:
        if not any(f'%s"{verb} "' in _rule(grammar, each) for each in OF_TRANSACTIONS):
            yield f'docs/develop/grammar.abnf: in tx-plain, / %s"{verb} " key-word …'
        if row.handling is READ and f'%s"{verb} " key' not in _rule(grammar, "as-read"):
            yield f'docs/develop/grammar.abnf: in as-read, / %s"{verb} " key'


@functools.cache
def _written_by_hand() -> str:
    """Return the pages of users without what is made."""
    pages = {page: page.read_text(encoding="utf-8") for page in (DOCS / "use").glob("*.md")}
    for page, part, _ in made():
        if page in pages:
            pages[page] = re.sub(part, "", pages[page])
    return "".join(pages.values())


def _rule(grammar: str, name: str) -> str:
    found = re.search(rf"^{name} +=.*\n(?: .*\n)*", grammar, re.M)
    assert found is not None, f"no rule {name}"
    return found[0]


def untyped(row: Command) -> Iterator[str]:
    """Yield the methods that the typed client lacks for a row."""
    places: dict[str, type] = {
        "library/clients/calls/calls.py": CallFactory,
        "library/clients/kv/kv.py": KV,
        "library/clients/kv/aio_kv.py": AioKV,
        "library/clients/calls/transaction.py": Operations,
    }
    for path, kind in places.items():
        if not hasattr(kind, row.verb):
            yield f"{path}: in {kind.__name__}, def {row.verb}(self, …), as the page shows"
    if f".{row.verb}(" not in PYTHON.read_text(encoding="utf-8"):
        yield f"docs/use/python.md: what kv.{row.verb}(…) returns"


def test_the_pages_have_what_is_made_from_the_rows() -> None:
    for page, part, text in made():
        found = re.search(part, page.read_text(encoding="utf-8"))
        assert found is not None, f"{page.name} has no {part}"
        assert found[0] == text, "run python -m tests.lists.test_command_pages"


def test_the_words_of_the_table_of_rights_are_those_of_the_kinds() -> None:
    assert any(row.startswith("| write | KEY | `set KEY VALUE`, ") for row in rights())
    assert {row.right.touches for row in COMMANDS.values()} == set(Touches)


def test_the_pages_have_each_command() -> None:
    assert [line for row in COMMANDS.values() for line in lacking(row)] == []


def test_the_typed_client_has_each_command_on_a_key() -> None:
    rows = [row for row in OPERATIONS if row.verb not in TYPED_ELSEWHERE]
    assert [line for row in rows for line in untyped(row)] == []


def test_the_changes_of_the_page_fit_the_files_of_today() -> None:
    for change in changes():
        text = (DOCS.parent / change.file).read_text(encoding="utf-8")
        assert change.applied(text) != text


if __name__ == "__main__":
    for page, part, text in made():
        before = page.read_text(encoding="utf-8")
        page.write_text(re.sub(part, text.replace("\\", r"\\"), before, count=1), encoding="utf-8")
