"""A sentence for a student about each failure, with the section of the paper."""

from __future__ import annotations

import re

# The first row that matches counts; `testing/raftline_testing/invariants.py` has the words.
SECTIONS: tuple[tuple[str, str, str], ...] = (
    (r"busy loop|no time passes|stand still", "a Tick must move wake_at_ms on", "§5.2"),
    (r"quiet", "a quiet cluster keeps its leader", "§5.2"),
    (r"does not (elect|serve|settle|agree|answer)", "the cluster must serve again", "§5.2, §5.6"),
    (r"by the votes of", "a majority of votes makes a leader", "§5.2"),
    (r"and \w+ lead term", "Election Safety: one leader a term", "§5.2, Figure 3"),
    (r"leads term \d+ without entry", "Leader Completeness", "§5.4, Figure 3"),
    (r"votes for|changes its vote|takes back its vote", "one vote a term", "§5.2"),
    (r"restarts? (in|with)|its disk has|saves term", "on disk before anybody hears of it",
     "§5.1, Figure 2"),
    (r"stays in term|says term \d+, but",
     "a later term is taken over, and saved before its entries", "§5.1, Figure 2"),
    (r"does not contradict", "only what differs is dropped", "§5.3, Figure 2"),
    (r"on the disks of", "a majority's disks, and an entry of the leader's term", "§5.3, §5.4.2"),
    (r"takes Entry.* for committed|others|applies entr", "State Machine Safety",
     "§5.4.3, Figure 3"),
    (r"cut after \d+, but", "what is committed stays", "§5.4.3, Figure 3"),
    (r"commit index falls|goes back to term", "terms and commit index only grow", "Figure 2"),
    (r"cuts its own log", "Leader Append-Only", "§5.3, Figure 3"),
    (r"acknowledges entr", "an answer says only what this disk holds", "§5.3, Figure 2"),
    (r"elsewhere|to append entry|was to append", "Log Matching", "§5.3, Figure 3"),
    (r"of the reads that|keeps \d+ reads", "each read is answered once, or refused", "§8"),
    (r"round \d+ was never sent", "an answer is to a round that was sent", "thesis §6.4"),
    (r"serves a read|history of|increment|journal", "linearizability", "§8"),
    (r"leads on", "a leader without a majority steps down", "thesis §6.2"),
    (r"lost entry", "what was acknowledged stays on the disk", "Figure 2"),
    (r"the first time", "a request is executed once", "§8, thesis §6.3"),
    (r"snapshot", "snapshots", "§7"),
    (r"from a non-member", "a newborn hears its members alone", "docs/repair.md"),
    (r"makes voters|members", "members change through a joint configuration", "§6"),
)  # fmt: skip

# Advice to an operator about files, which doesn't help a student.
ADVICE = re.compile(r"[:;.] (one of the two is from|s\d+ does not start before).*", re.I)


def sentence(error: BaseException) -> str:
    """Return the meaning of an error in one line: the rule with its section, then the
    observation."""
    text = ADVICE.sub("", " ".join(str(error).split())[:600]) or type(error).__name__
    for pattern, rule, section in SECTIONS:
        if re.search(pattern, text):
            return f"{rule} ({section}): {text}"
    return text
