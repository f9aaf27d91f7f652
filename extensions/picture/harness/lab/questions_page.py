"""Make docs/learn/questions.html, for a wall: `questions_page.py FILE`.

Each question has the nodes at its moment, the answer on a press, and an address of the lab. The
words of the answer are those of the run. The page needs no other file, and works from a disk.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from raftline.picture.harness.lab.lab import Lab
from raftline.picture.harness.lab.questions import QUESTIONS, Question
from raftline.raft.node_view import NodeView

TITLE = "Twenty questions about Raft"
HERE = Path(__file__).parent
COLOURS = 8  # of terms; a later term has the colour of an earlier one again

LEGEND = (
    "Each cell is an entry, and its number is its term. A solid border: this node knows that the "
    "entry is committed."
)


def page() -> str:
    """Return the page."""
    sections = "\n".join(
        _section(question, place) for place, question in enumerate(QUESTIONS, start=1)
    )
    style, script = (
        (HERE / name).read_text(encoding="utf-8") for name in ("questions.css", "questions.js")
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{TITLE}</h1>\n{sections}\n"
        f"</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _section(question: Question, place: int) -> str:
    lab = question.lab()
    address, before = lab.facts()["address"], _nodes(lab, "now")
    said = question.said_in(lab)
    assert said is not None, f"{question.name}: nobody says {question.says!r}"
    section = f" ({escape(said.section)})" if said.section else ""
    word, name = "says" if said.section else "is told", question.name
    return f"""<section class="question" id="{name}" aria-labelledby="{name}-question">
<p class="count">{place} of {len(QUESTIONS)}</p>
<p class="belief">Many say: <q>{escape(question.belief)}</q></p>
<h2 id="{name}-question">{_marked(question.question)}</h2>
<div class="tables">{before}
{_nodes(lab, "then")}</div>
<details><summary>What happens next?</summary>
<p>{_marked(question.answer)}</p>
<blockquote>{question.by} {word}: {escape(said.text)}{section}</blockquote>
</details>
<nav aria-label="Pages">
<a href="lab.html#{escape(address)}" target="lab">Open this moment in the lab</a>
<span>{LEGEND}</span> <span>← and →: other questions; space: the answer</span></nav>
</section>"""


def _marked(text: str) -> str:
    """Return a text whose words between backquotes are code."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{one}</code>" if at % 2 else one for at, one in enumerate(parts))


def _nodes(lab: Lab, when: str) -> str:
    """Return the nodes and their logs as a table, which is hidden until the answer if it tells of
    later."""
    rows = "\n".join(
        f'<tr><th scope="row">{name}</th>{_cells(host.node.view)}</tr>'
        if host.node is not None
        else f'<tr><th scope="row">{name}</th><td class="state">down</td></tr>'
        for name, host in lab.cluster.hosts.items()
    )
    return f'<table class="{when}"><caption>{when}</caption>\n{rows}\n</table>'


def _cells(view: NodeView) -> str:
    cells = f'<td class="state">{view.role.value}, term {view.term}</td>'
    for index in range(view.log.base_index + 1, view.log.last_index + 1):
        term, is_sure = view.log.term_at(index) or 0, index <= view.commit_index
        what = "committed" if is_sure else "not known to be committed"
        command = escape(view.log.entries(index, index)[0].command)
        sure = " sure" * is_sure
        cells += f'<td class="entry t{term % COLOURS}{sure}" title="{command}: {what}">{term}</td>'
    return cells


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
