"""Situations of the paper as transcripts, with random names, terms, logs and values.

A server can't know these in advance, so it must implement the rule.

Each function takes a `Draw` and returns a transcript, whose first line is its title. Most play one
server of the hand-in; the transcript speaks for all others. Expectations follow from the paper's
rules, computed here from the drawn values.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence

FAR_MS = 9000  # a timeout that never fires
SOON_MS = 150
AWAY_MS = 30 * SOON_MS
NAMES = range(1, 60)


class Draw:
    """Random names, numbers and logs for a situation."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def names(self, count: int) -> list[str]:
        """Return the names of servers, in random order."""
        return [f"s{number}" for number in self.chance.sample(NAMES, count)]

    def number(self, least: int, most: int) -> int:
        return self.chance.randint(least, most)

    def one_of(self, *these: int) -> int:
        return self.chance.choice(these)

    def terms(self, length: int, first: int = 1, steps: Sequence[int] = (0, 0, 1, 2)) -> list[int]:
        """Return the terms of a log, which never decrease."""
        results: list[int] = []
        term = first
        for _ in range(length):
            term += self.chance.choice(steps)
            results.append(term)
        return results

    def key(self) -> str:
        return self.chance.choice("abcdefgh")

    def value(self) -> str:
        return str(self.chance.randint(10, 10**6))


Situation = Callable[[Draw], str]


def text_of(situation: Situation, seed: int) -> str:
    """Return the transcript of a situation for a seed."""
    return situation(Draw(seed))


# --- parts -----------------------------------------------------------------------------------


def _script(title: str, *lines: str | Iterable[str]) -> str:
    text = [f"# {title}"]
    for line in lines:
        text += [line] if isinstance(line, str) else line
    return "\n".join(line for line in text if line) + "\n"


def _log(name: str, terms: Sequence[int]) -> str:
    return f"> log {name} {' '.join(map(str, terms))}" if terms else ""


def _timeouts(soon: Iterable[str], far: Iterable[str]) -> str:
    words = [f"{name} {SOON_MS}" for name in soon] + [f"{name} {FAR_MS}" for name in far]
    return f"> timeouts {' '.join(words)}"


def _start(names: Sequence[str], down: Sequence[str] = ()) -> str:
    rest = f" with {' '.join(down)} down" if down else ""
    return f"> start {' '.join(names)}{rest}"


def _entries(first: int, terms: Sequence[int], commands: Sequence[str] = ()) -> str:
    """Return entries as in AppendEntries; without commands, those that `log` makes."""
    listed = []
    for at, term in enumerate(terms):
        index = first + at
        command = commands[at] if commands else f"set x {index}.{term}"
        listed.append({"index": index, "term": term, "command": command})
    return json.dumps(listed)


def _append(to: str, leader: str, term: int, prev: tuple[int, int], entries: str = "[]",
            commit: int = 0, number: int = 1) -> str:  # fmt: skip
    """Return the act in which an AppendEntries of a leader arrives."""
    index, prev_term = prev
    rest = f"commit {commit} round {number}"
    return f"> {to} <- {leader}@AppendEntries {term}-{index}-{prev_term}-{entries} {rest}"


def _votes(name: str, voters: Iterable[str], term: str) -> list[str]:
    """Return the acts in which the voters vote for a server."""
    return [f"> {name} <- {one}@Count on me term {term}" for one in voters]


def _never(what: str, acts: Iterable[str]) -> list[str]:
    """Return acts, none of which may cause this event."""
    return [line for act in acts for line in (act, f"- {what}")]


def _elected(name: str, voters: Iterable[str], term: int) -> list[str]:
    """Return the acts that elect a server: a timeout, then votes."""
    voters = list(voters)
    return [
        f"> wait {SOON_MS}ms",
        *_votes(name, voters, f"{term} prevote"),
        *_votes(name, voters, f"{term}"),
    ]


def _stands(name: str, others: Iterable[str], term: int) -> list[str]:
    """Return the acts and the line that show a server as a candidate in this term."""
    others = list(others)
    prevotes = _votes(name, others, f"{term} prevote")
    return [*prevotes, "> status", f"+ {name} candidate, term {term}*"]


def _majority(members: int) -> int:
    return members // 2 + 1


# --- 1: a lone server ------------------------------------------------------------------------


def lone_with_a_log(draw: Draw) -> str:
    name = draw.names(1)[0]
    terms = draw.terms(draw.number(0, 12), draw.number(1, 5))
    term = max([*terms, draw.number(0, 9)]) + 1
    last = len(terms) + 1
    key, value = draw.key(), draw.value()
    return _script(
        "A lone server with a log leads the next term and applies each entry once. Paper §5.2.",
        _log(name, terms),
        f"> state {name} {term - 1}",
        _start([name]),
        "> wait 400ms",
        (f"+ {name} applies {at} {one} *" for at, one in enumerate(terms, start=1)),
        f"+ {name} applies {last} {term} noop",
        f"> {name} <- client1@set {key} {value}",
        f"- {name} applies {last} *",
        f"+ {name} applies {last + 1} {term} set {key} {value}",
        f"+ client1 <- {name}@SET response: {key} set to {value}",
    )


def lone_with_a_slow_disk(draw: Draw) -> str:
    name = draw.names(1)[0]
    terms = draw.terms(draw.number(0, 5))
    last, term = len(terms) + 1, (terms[-1] if terms else 0) + 1
    key, value = draw.key(), draw.value()
    return _script(
        "A lone server replies once the entry is on its own disk. Paper §5.3.",
        _log(name, terms),
        _start([name]),
        "> wait 400ms",
        f"+ {name} applies {last} {term} noop",
        f"> hold disk {name}",
        f"> {name} <- client1@set {key} {value}",
        f"- {name} applies *",
        f"- client1 <- {name}@*",
        f"> release disk {name}",
        f"+ client1 <- {name}@SET response: {key} set to {value}",
    )


# --- 2: votes --------------------------------------------------------------------------------


def split_vote(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    names = draw.names(members)
    first, second, *rest = names
    term = draw.number(0, 30) + 1
    again_ms = draw.number(250, 400)
    each = 1 if members > 3 else 0  # votes besides its own: two of four, or two of five
    return _script(
        f"Two of {members} split the vote, so neither wins; one tries again. Paper §5.2.",
        f"> timeouts {first} {SOON_MS} {again_ms} {second} {SOON_MS} {FAR_MS} "
        + " ".join(f"{name} {FAR_MS}" for name in rest),
        (f"> state {name} {term - 1}" for name in names),
        _start(names, rest),
        f"> wait {SOON_MS}ms",
        _votes(first, names[1:], f"{term} prevote"),
        _votes(second, [first, *rest], f"{term} prevote"),
        _votes(first, rest[:each], f"{term}"),
        _votes(second, rest[each : 2 * each], f"{term}"),
        f"> deliver {first}",
        f"> deliver {second}",
        "> status",
        f"- {first} leader*",
        f"- {second} leader*",
        f"> wait {again_ms}ms",
        _votes(first, names[1:], f"{term + 1} prevote"),
        _votes(first, rest, f"{term + 1}"),
        "> status",
        f"+ {first} leader, term {term + 1}*",
    )


def no_half_is_a_majority(draw: Draw) -> str:
    members = draw.one_of(4, 6)
    name, *others = draw.names(members)
    term = draw.number(0, 40) + 1
    needed = _majority(members) - 1
    voters = draw.chance.sample(others, len(others))
    lines: list[str] = []
    for count, voter in enumerate(voters[:needed], start=1):
        times = 2 if count < needed else 1
        lines += [f"> {name} <- {voter}@Count on me term {term}"] * times
        lines += ["> status", f"{'+' if count == needed else '-'} {name} leader, term {term}*"]
    return _script(
        f"Of {members} votes, a candidate needs {needed + 1}; each voter counts once. Paper §5.2.",
        _timeouts([name], others),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        f"> wait {SOON_MS}ms",
        _votes(name, others, f"{term} prevote"),
        "> status",
        f"- {name} leader*",
        lines,
    )


def a_vote_in_each_term(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    begun = term = draw.number(1, 40)
    lines: list[str] = []
    for _ in range(4):
        term += draw.one_of(1, 1, 3)
        first, second = draw.chance.sample(others, 2)
        lines += [
            f"> {name} <- {first}@RequestVote {term}-0-0",
            f"+ {first} <- {name}@Count on me term {term}",
            f"> {name} <- {second}@RequestVote {term}-0-0",
            f"- {second} <- {name}@Count on me*",
            f"+ {second} <- {name}@Not this time term {term}*",
        ]
    return _script(
        "A server votes once in each term. Paper §5.2.",
        _timeouts([], [name, *others]),
        f"> state {name} {begun} {draw.chance.choice(others)}",
        _start([name, *others], others),
        lines,
    )


def timeouts_are_drawn(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    term = draw.number(0, 30)
    first_ms, again_ms = draw.number(250, 400), draw.number(500, 900)
    return _script(
        "Whenever the election timer starts, `pick_timeout_ms` draws a timeout. Paper §5.2.",
        f"> timeouts {name} {first_ms} {again_ms} "
        + " ".join(f"{other} {FAR_MS}" for other in others),
        f"> state {name} {term}",
        _start([name, *others], others),
        f"> wait {first_ms - 20}ms",
        f"- {name} saves *",
        "> wait 20ms",
        _stands(name, others, term + 1),
        f"> wait {again_ms - 20}ms",
        f"- {name} saves *",
        "> wait 20ms",
        _stands(name, others, term + 2),
    )


def a_vote_resets_the_timer(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    term = draw.number(1, 30)
    at_ms = draw.number(20, SOON_MS - 20)
    candidate = draw.chance.choice(others)
    return _script(
        "A server that grants its vote resets its election timer. Paper §5.2.",
        f"> timeouts {name} {SOON_MS} {FAR_MS}",
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        f"> wait {at_ms}ms",
        f"> {name} <- {candidate}@RequestVote {term}-0-0",
        f"+ {candidate} <- {name}@Count on me term {term}",
        f"> wait {SOON_MS}ms",
        f"- {name} saves *",
        "> status",
        f"+ {name} follower, term {term}*",
    )


def nothing_else_resets_the_timer(draw: Draw) -> str:
    """The messages: another candidate of the term, an earlier candidate, and stray replies."""
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    term = draw.number(3, 30)
    first, second = draw.chance.sample(others, 2)
    useless = [
        f"> {name} <- {second}@RequestVote {term}-0-0",
        f"> {name} <- {second}@RequestVote {term - 1}-0-0",
        f"> {name} <- {second}@Count on me term {term - 1}",
        f"> {name} <- {second}@Not this time term {term} voted: already voted",
    ]
    chosen = draw.chance.sample(useless, draw.number(1, 3))
    return _timer_runs_on(
        draw, "Only a leader's message and a granted vote reset the timer. Paper §5.2.",
        name, others, term, first, [], chosen,
    )  # fmt: skip


def _timer_runs_on(
    draw: Draw, title: str, name: str, others: Sequence[str], term: int, vote: str,
    terms: Sequence[int], acts: Iterable[str], stands_in: int = 0,
) -> str:  # fmt: skip
    """Return a transcript in which a server becomes a candidate after its first timeout, whatever
    it received before."""
    at_ms = draw.number(60, SOON_MS - 20)
    return _script(
        title,
        f"> timeouts {name} {SOON_MS} {FAR_MS}",
        _log(name, terms),
        f"> state {name} {term} {vote}",
        _start([name, *others], others),
        f"> wait {at_ms}ms",
        acts,
        f"> wait {SOON_MS - at_ms + 10}ms",
        _stands(name, others, stands_in or term + 1),
    )


# --- 3: the more up-to-date log --------------------------------------------------------------


def the_better_log(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    terms = draw.terms(draw.number(1, 12), draw.number(1, 4))
    mine = (terms[-1], len(terms))
    term = terms[-1] + draw.number(0, 5)
    lines: list[str] = []
    for _ in range(6):
        term += draw.one_of(1, 2)
        candidate = draw.chance.choice(others)
        last_term = max(1, mine[0] + draw.one_of(-1, 0, 0, 1))
        last_term = min(last_term, term - 1)
        index = max(1, mine[1] + draw.one_of(-3, -1, 0, 0, 1, 3))
        sign = "+" if (last_term, index) >= mine else "-"
        lines += [
            f"> {name} <- {candidate}@RequestVote {term}-{index}-{last_term}",
            f"{sign} {candidate} <- {name}@Count on me term {term}",
        ]
    return _script(
        "The log with the later last term is more up to date; then the longer one. Paper §5.4.1.",
        _timeouts([], [name, *others]),
        _log(name, terms),
        f"> state {name} {terms[-1]}",
        _start([name, *others], others),
        lines,
    )


def a_denied_vote_resets_no_timer(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    terms = draw.terms(draw.number(2, 8), draw.number(2, 5))
    term = terms[-1] + draw.number(0, 5)
    new = term + draw.number(1, 3)
    first, second = draw.chance.sample(others, 2)
    return _timer_runs_on(
        draw,
        "A server that denies its vote, since its own log is more up to date, does not reset its "
        "timer. Paper §5.4.1.",
        name, others, term, first, terms,
        [
            f"> {name} <- {second}@RequestVote {new}-{len(terms) - 1}-1",
            f"- {second} <- {name}@Count on me*",
        ],
        new + 1,
    )  # fmt: skip


def a_vote_outlives_a_crash(draw: Draw) -> str:
    name, first, second = draw.names(3)
    term = draw.number(2, 50)
    return _script(
        "A vote is saved before it is sent, and survives a crash. Paper §5.1, Figure 2.",
        _timeouts([], [name, first, second]),
        f"> state {name} {term - 1}",
        _start([name, first, second], [first, second]),
        f"> hold disk {name}",
        f"> {name} <- {first}@RequestVote {term}-0-0",
        f"- {first} <- {name}@Count on me*",
        f"> release disk {name}",
        f"+ {first} <- {name}@Count on me term {term}",
        f"> restart {name}",
        f"> {name} <- {second}@RequestVote {term}-0-0",
        f"- {second} <- {name}@Count on me*",
        f"+ {second} <- {name}@Not this time term {term}*",
        f"> {name} <- {second}@RequestVote {term + 1}-0-0",
        f"+ {second} <- {name}@Count on me term {term + 1}",
    )


# --- 4: replication --------------------------------------------------------------------------


def answers_are_counted(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    name, *others = draw.names(members)
    term, noop = draw.number(1, 20), 1  # entries of earlier terms belong to milestone 7
    commands = [f"set {draw.key()} {draw.value()}" for _ in range(draw.number(2, 5))]
    last = noop + len(commands)
    held = dict.fromkeys(others, 0)
    committed = 0
    lines: list[str] = []
    for _ in range(3 * members):
        peer = draw.chance.choice(others)
        index = draw.number(1, last)
        held[peer] = max(held[peer], index)
        lines.append(f"> {name} <- {peer}@I am up to date term {term} index {index} round 1")
        reached = sorted([*held.values(), last], reverse=True)[_majority(members) - 1]
        now = reached if reached >= noop else committed
        if now < last:
            lines.append(f"- {name} applies {now + 1} *")
        if now > committed:
            lines.append(f"+ {name} applies {now} *")
        committed = now
    return _script(
        "An entry is committed once a majority has acknowledged its index. Paper §5.3.",
        _timeouts([name], others),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        _elected(name, others, term),
        f"- {name} applies *",
        _never(
            f"{name} applies *",
            (f"> {name} <- client{at}@{one}" for at, one in enumerate(commands, start=1)),
        ),
        lines,
    )


def a_minority_is_away(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    names = draw.names(members)
    down = names[_majority(members) :]
    key, value = draw.key(), draw.value()
    return _script(
        f"{_majority(members)} of {members} servers suffice, and the others catch up. Paper §5.3.",
        _timeouts(names[:1], names[1:]),
        _start(names, down),
        "> settle 400ms",
        f"> {names[0]} <- client1@set {key} {value}",
        "> settle 200ms",
        f"+ client1 <- {names[0]}@SET response: {key} set to {value}",
        (f"> restart {name}" for name in down),
        "> settle 400ms",
        (f"+ {name} applies 2 1 set {key} {value}" for name in down[-1:]),
    )


def a_candidate_yields(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    leader = draw.chance.choice(others)
    term = draw.number(1, 30)
    return _script(
        "A candidate follows the leader of its own term, so late votes make no second leader. "
        "Paper §5.2.",
        _timeouts([name], others),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        f"> wait {SOON_MS}ms",
        _stands(name, others, term),
        _append(name, leader, term, (0, 0)),
        "> status",
        f"+ {name} follower, term {term}*",
        _votes(name, others, f"{term}"),
        "> status",
        f"+ {name} follower, term {term}*",
    )


# --- 5: conflicting logs ---------------------------------------------------------------------


def figure_7(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    names = draw.names(members)
    leader, *followers = names
    # Each term has one leader, so the term of a conflicting entry is in no other log.
    numbers = iter(range(1, 200))
    mine: list[int] = []
    spare: list[int] = []
    for _ in range(draw.number(3, 5)):
        term = next(numbers)
        mine += [term] * draw.number(1, 4)
        spare += [next(numbers) for _ in range(draw.number(1, 2))]
    mine += [next(numbers)] * draw.number(1, 3)
    draw.chance.shuffle(spare)
    logs = [_log(leader, mine)]
    for follower in followers:
        agreed = draw.number(0, len(mine))
        kept = mine[:agreed]
        after = sorted(one for one in spare[:3] if one > (kept[-1] if kept else 0))
        spare = spare[3:]
        if draw.chance.random() < 0.8 and agreed < len(mine):
            kept = kept + [term for term in after for _ in range(draw.number(1, 3))]
        logs.append(_log(follower, kept))
    term = mine[-1] + 1
    whole = " ".join(map(str, [*mine, term]))
    last = len(mine) + 1
    return _script(
        "Logs as in Figure 7 become the leader's, whatever is missing or extra. Paper §5.3.",
        _timeouts([leader], followers),
        logs,
        (f"> state {name} {mine[-1]}" for name in names),
        _start(names),
        "> settle 4000ms",
        "> status",
        (
            f"+ {name} {'leader' if name == leader else 'follower'}, term {term}, "
            f"log {whole}, commit {last}"
            for name in names
        ),
    )


def what_comes_before_must_agree(draw: Draw) -> str:
    name, leader, other = draw.names(3)
    terms = draw.terms(draw.number(2, 12), draw.number(1, 3), (0, 1, 1, 2))
    last = len(terms)
    term = terms[-1] + draw.number(1, 4)
    beyond = last + draw.number(1, 3)
    at = draw.number(1, last)
    wrong = terms[at - 1] + 1
    cut = draw.number(0, last - 1)
    prev = (cut, terms[cut - 1] if cut else 0)
    return _script(
        "A follower accepts entries if the one before them matches, and deletes conflicting ones. "
        "Paper §5.3.",
        _timeouts([], [name, leader, other]),
        _log(name, terms),
        f"> state {name} {terms[-1]}",
        _start([name, leader, other], [leader, other]),
        _append(name, leader, term, (beyond, term - 1), _entries(beyond + 1, [term], ["noop"])),
        f"- {name} appends *",
        f"- {leader} <- {name}@I am up to date*",
        f"+ {leader} <- {name}@GiveEntriesAfterIndex * term {term} round 1",
        _append(name, leader, term, (at, wrong), _entries(at + 1, [term], ["noop"]), number=2),
        f"- {name} appends *",
        f"- {leader} <- {name}@I am up to date*",
        f"+ {leader} <- {name}@GiveEntriesAfterIndex * term {term} round 2",
        _append(name, leader, term, prev, _entries(cut + 1, [term], ["noop"]), number=3),
        f"+ {name} cuts after {cut}",
        f"+ {name} appends {cut + 1} {term} noop",
        f"+ {leader} <- {name}@I am up to date term {term} index {cut + 1} round 3",
    )


def a_cut_entry_left_the_disk(draw: Draw) -> str:
    """The disk has held an entry at the index of the client's write, which was cut since."""
    members = draw.one_of(3, 5)
    name, leader, *rest = draw.names(members)
    agreed = draw.number(1, 5)  # entries; the leader's one, a no-op and a write follow
    terms = draw.terms(agreed + draw.number(3, 6))
    term = terms[-1] + draw.number(1, 4)
    last = agreed + 3
    key, value = draw.key(), draw.value()
    others = [leader, *rest]
    near = draw.chance.sample(others, _majority(members) - 1)
    return _script(
        "A leader counts itself for an entry once its disk holds that entry, not one that was cut "
        "at its index. Paper §5.3, Figure 2.",
        _timeouts([name], others),
        _log(name, terms),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        _append(name, leader, term, (agreed, terms[agreed - 1]),
                _entries(agreed + 1, [term], ["set x new"])),
        f"+ {name} cuts *",
        _elected(name, others, term + 1),
        f"> hold disk {name}",
        f"> {name} <- client1@set {key} {value}",
        _never(
            f"{name} applies {last} *",
            (
                f"> {name} <- {one}@I am up to date term {term + 1} index {last} round 2"
                for one in near
            ),
        ),
        f"> release disk {name}",
        f"+ {name} applies {last} {term + 1} set {key} {value}",
        f"+ client1 <- {name}@SET response: {key} set to {value}",
    )  # fmt: skip


# --- 6: delayed messages ---------------------------------------------------------------------


def a_late_append_cuts_nothing(draw: Draw) -> str:
    name, leader, other = draw.names(3)
    before = draw.terms(draw.number(0, 6))
    held = before[-1] if before else 0
    term = held + draw.number(1, 4)
    prev = (len(before), held)
    count = draw.number(2, 6)
    commands = ["noop", *(f"set {draw.key()} {draw.value()}" for _ in range(count - 1))]
    some = draw.number(0, count - 1)
    last = len(before) + count
    return _script(
        "A delayed message with fewer entries deletes nothing. Paper, Figure 2, receiver 3.",
        _timeouts([], [name, leader, other]),
        _log(name, before),
        _start([name, leader, other], [leader, other]),
        _append(name, leader, term, prev, _entries(prev[0] + 1, [term] * count, commands),
                number=3),
        f"+ {leader} <- {name}@I am up to date term {term} index {last} round 3",
        _append(name, leader, term, prev, _entries(prev[0] + 1, [term] * some, commands[:some])),
        f"- {name} cuts *",
        f"- {name} appends *",
        f"+ {leader} <- {name}@I am up to date term {term} index {prev[0] + some} round 1",
        _append(name, leader, term, prev, _entries(prev[0] + 1, [term] * count, commands),
                number=2),
        f"- {name} cuts *",
        f"- {name} appends *",
        "> status",
        f"+ {name} follower, term {term}, log {' '.join(map(str, before + [term] * count))}, "
        "commit 0",
    )  # fmt: skip


def words_of_earlier_terms(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    terms = draw.terms(draw.number(0, 6))
    term = (terms[-1] if terms else 0) + draw.number(3, 9)
    early = draw.number(1, term - 1)
    noop = len(terms) + 1
    leader = others[0]
    return _script(
        "Votes, replies and leaders of an earlier term are ignored. Paper §5.1.",
        _timeouts([name], others),
        _log(name, terms),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        _append(name, leader, early, (len(terms), terms[-1] if terms else 0),
                _entries(noop, [early], ["set x old"]), commit=noop) if early < term - 1 else "",
        f"- {name} appends *",
        f"- {name} applies *",
        f"> wait {SOON_MS}ms",
        _votes(name, others, f"{term} prevote"),
        _votes(name, others, f"{early}"),
        "> status",
        f"- {name} leader*",
        _votes(name, others, f"{term}"),
        "> status",
        f"+ {name} leader, term {term}*",
        _never(
            f"{name} applies *",
            (
                f"> {name} <- {one}@I am up to date term {early} index {noop} round 1"
                for one in others
            ),
        ),
        (
            f"> {name} <- {one}@I am up to date term {term} index {noop} round 1"
            for one in others[: _majority(members) - 1]
        ),
        f"+ {name} applies {noop} {term} noop",
    )  # fmt: skip


def commit_what_matched(draw: Draw) -> str:
    name, leader, other = draw.names(3)
    terms = draw.terms(draw.number(3, 12))
    term = terms[-1] + draw.number(1, 4)
    matched = draw.number(1, len(terms) - 1)
    first = draw.number(0, matched - 1)
    commit = draw.number(matched, len(terms) + 3)
    sent = terms[first:matched]
    return _script(
        "A follower commits up to the last new entry of the message, not all that it holds. "
        "Paper, Figure 2, receiver 5.",
        _timeouts([], [name, leader, other]),
        _log(name, terms),
        f"> state {name} {term}",
        _start([name, leader, other], [leader, other]),
        _append(name, leader, term, (first, terms[first - 1] if first else 0),
                _entries(first + 1, sent), commit=commit),
        f"- {name} applies {matched + 1} *",
        f"- {name} cuts *",
        f"+ {leader} <- {name}@I am up to date term {term} index {matched} round 1",
        f"+ {name} applies {matched} {terms[matched - 1]} *",
    )  # fmt: skip


# --- 7: Figure 8 -----------------------------------------------------------------------------


def figure_8(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    terms = draw.terms(draw.number(2, 9), draw.number(1, 6))
    term = terms[-1] + draw.number(1, 5)
    noop = len(terms) + 1
    needed = _majority(members) - 1
    near = draw.chance.sample(others, draw.number(needed, len(others)))
    # They acknowledge the entries of earlier terms first, and then the no-op.
    steps = sorted(draw.chance.sample(range(1, noop), draw.number(1, noop - 1)))
    steps = sorted({*steps, noop - 1})
    lines: list[str] = []
    for index in steps:
        for one in near:
            lines.append(f"> {name} <- {one}@I am up to date term {term} index {index} round 1")
            lines.append(f"- {name} applies *")
    lines += ["> status", f"- {name} leader*, commit [1-9]*"]
    for count, one in enumerate(near[:needed], start=1):
        lines.append(f"> {name} <- {one}@I am up to date term {term} index {noop} round 1")
        if count < needed:
            lines.append(f"- {name} applies *")
    lines += [f"+ {name} applies {at} {one} *" for at, one in enumerate(terms, start=1)]
    return _script(
        "Figure 8: counting replicas does not commit an entry of an earlier term. Paper §5.4.2.",
        _timeouts([name], others),
        _log(name, terms),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        _elected(name, others, term),
        lines,
        f"+ {name} applies {noop} {term} noop",
    )


# --- 8: crashes ------------------------------------------------------------------------------


def a_restart_keeps_all(draw: Draw) -> str:
    name, leader, other = draw.names(3)
    terms = draw.terms(draw.number(2, 12))
    term = terms[-1] + draw.number(1, 9)
    commit = draw.number(1, len(terms) - 1)
    last = len(terms)
    log = " ".join(map(str, terms))
    return _script(
        "A restart keeps the term, the vote and the log; nothing is committed yet. "
        "Paper, Figure 2.",
        _timeouts([], [name, leader, other]),
        _log(name, terms),
        f"> state {name} {term} {other}",
        _start([name, leader, other], [leader, other]),
        f"- {name} applies *",
        f"> restart {name}",
        f"- {name} applies *",
        "> status",
        f"+ {name} follower, term {term}, log {log}, commit 0",
        f"> {name} <- {leader}@RequestVote {term}-{last}-{terms[-1]}",
        f"- {leader} <- {name}@Count on me*",
        _append(name, leader, term, (last, terms[-1]), commit=commit),
        f"- {name} applies {commit + 1} *",
        f"+ {name} applies {commit} {terms[commit - 1]} *",
    )


def an_answer_waits_for_the_disk(draw: Draw) -> str:
    name, leader, other = draw.names(3)
    before = draw.terms(draw.number(0, 6))
    held = before[-1] if before else 0
    term = held + draw.number(1, 4)
    count = draw.number(1, 4)
    last = len(before) + count
    commands = ["noop", *(f"set {draw.key()} {draw.value()}" for _ in range(count - 1))]
    return _script(
        "A follower acknowledges entries once they are on its disk. Paper §5.3, Figure 2.",
        _timeouts([], [name, leader, other]),
        _log(name, before),
        _start([name, leader, other], [leader, other]),
        f"> hold disk {name}",
        _append(name, leader, term, (len(before), held),
                _entries(len(before) + 1, [term] * count, commands)),
        f"- {leader} <- {name}@I am up to date*",
        f"> release disk {name}",
        f"+ {name} appends {last} {term} *",
        f"+ {leader} <- {name}@I am up to date term {term} index {last} round 1",
        f"> restart {name}",
        f"+ {name} starts in term {term}*log ends at {last}",
    )  # fmt: skip


def lost_files_lost_vote(draw: Draw) -> str:
    name, first, second = draw.names(3)
    terms = draw.terms(draw.number(1, 6))
    term = terms[-1] + draw.number(1, 4)
    what = draw.chance.choice(["log", "storage"])
    return _script(
        "A server that lost its files may have forgotten a vote, so it has none. Paper §5.1.",
        _log(name, terms),
        f"> state {name} {term}",
        _start([name, first, second], [first, second]),
        f"> lose {what} {name}",
        f"> {name} <- {first}@RequestVote {term + 1}-{len(terms)}-{terms[-1]}",
        f"- {first} <- {name}@Count on me*",
        f"> {name} <- {second}@RequestVote {term + 3}-{len(terms) + 2}-{term + 1}",
        f"- {second} <- {name}@Count on me*",
        "> wait 2000ms",
        f"- {name} saves term * vote {name}",
    )


# --- 9: reads --------------------------------------------------------------------------------


def a_read_without_a_majority(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    names = draw.names(members)
    leader = names[0]
    near = names[1 : 1 + draw.number(0, _majority(members) - 2)]
    far = [name for name in names[1:] if name not in near]
    key, value = draw.key(), draw.value()
    return _script(
        "A leader that cannot reach a majority serves no reads. Paper §8.",
        _timeouts([leader], names[1:]),
        _start(names),
        "> settle 400ms",
        f"> {leader} <- client1@set {key} {value}",
        "> settle 200ms",
        f"+ client1 <- {leader}@SET response: {key} set to {value}",
        f"> cut {' '.join([leader, *near])} | {' '.join(far)}",
        f"> {leader} <- client2@get {key}",
        f"- client2 <- {leader}@GET response*",
        f"> settle {draw.number(20, 100)}ms",
        f"- client2 <- {leader}@GET response*",
        f"> {far[0]} <- client3@get {key}",
        f"- client3 <- {far[0]}@GET response*",
    )


def a_stale_read(draw: Draw) -> str:
    """A leader is cut off, another one is elected and writes, and then the old one is read."""
    members = draw.one_of(3, 5)
    names = draw.names(members)
    old, new, *rest = names
    key, first, second = draw.key(), draw.value(), draw.value()
    return _script(
        "A read sees every write acknowledged before it, at any server. Paper §8, thesis §6.4.",
        f"> timeouts {old} {SOON_MS} {FAR_MS} {new} 160 "
        + " ".join(f"{name} {FAR_MS}" for name in rest),
        _start(names),
        "> settle 155ms",
        f"> {old} <- client1@set {key} {first}",
        "> settle 10ms",
        f"+ client1 <- {old}@SET response: {key} set to {first}",
        f"> cut {old}",
        f"> {old} <- client2@get {key}",
        f"- client2 <- {old}@GET response*",
        "> settle 400ms",
        f"- client2 <- {old}@GET response*",
        f"> {new} <- client1@set {key} {second}0",
        "> settle 100ms",
        f"+ client1 <- {new}@SET response: {key} set to {second}0",
        f"> {old} <- client3@get {key}",
        f"- client3 <- {old}@GET response*",
        "> heal",
        "> settle 500ms",
        f"- client2 <- {old}@GET response: {first}",
        f"> {new} <- client4@get {key}",
        "> settle 100ms",
        f"+ client4 <- {new}@GET response: {second}0",
    )


def a_round_before_the_read(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    names = draw.names(members)
    leader, *others = names
    key, value = draw.key(), draw.value()
    return _script(
        "A round of heartbeats sent before a read does not confirm the read. Thesis §6.4.",
        _timeouts([leader], others),
        _start(names),
        "> settle 400ms",
        f"> {leader} <- client1@set {key} {value}",
        "> settle 55ms",
        "> wait 50ms",
        (f"> deliver {name}" for name in others),
        f"> {leader} <- client2@get {key}",
        f"- client2 <- {leader}@GET response*",
        f"> deliver {leader}",
        f"- client2 <- {leader}@GET response*",
        "> settle 100ms",
        f"+ client2 <- {leader}@GET response: {value}",
    )


def a_read_before_the_first_commit(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    name, *others = draw.names(members)
    terms = draw.terms(draw.number(1, 8))
    term = terms[-1] + draw.number(1, 4)
    acks = [
        f"> {name} <- {one}@I am up to date term {term} index {len(terms)} round {number}"
        for number in (1, 2, 3)
        for one in others
    ]
    return _script(
        "A new leader serves no reads until an entry of its own term is committed. Paper §8.",
        _timeouts([name], others),
        _log(name, terms),
        f"> state {name} {term - 1}",
        _start([name, *others], others),
        _elected(name, others, term),
        _never(
            f"client1 <- {name}@GET response*", [f"> {name} <- client1@get {draw.key()}", *acks]
        ),
    )


# --- 10: a leader without replies ------------------------------------------------------------


def a_leader_cut_off(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    names = draw.names(members)
    leader = names[0]
    count = draw.number(0, members - 1)
    near = names[1 : 1 + count]
    far = names[1 + count :]
    leads = 1 + len(near) >= _majority(members)
    return _script(
        f"A leader that reaches {1 + len(near)} of {members} servers, itself included, "
        f"{'keeps leading' if leads else 'steps down'}. Thesis §6.2.",
        _timeouts([leader], names[1:]),
        _start(names),
        "> settle 400ms",
        f"> cut {' '.join([leader, *near])} | {' '.join(far)}" if far else "",
        "> settle 1000ms",
        "> status",
        f"+ {leader} leader, term 1,*" if leads else f"- {leader} leader*",
    )


def a_minority_stays_away(draw: Draw) -> str:
    members = draw.one_of(3, 4, 5)
    leader, *others = names = draw.names(members)
    enough = _majority(members)
    return _script(
        f"With the leader itself {enough} of {members} are up, a majority: it leads on in its "
        "term, however long the others are away. Thesis §6.2.",
        _timeouts([leader], others),
        _start(names, names[enough:]),
        "> settle 400ms",
        f"> settle {AWAY_MS}ms",
        "> status",
        f"+ {leader} leader, term 1,*",
    )


def a_later_term(draw: Draw) -> str:
    members = draw.one_of(3, 5)
    leader, *others = draw.names(members)
    term = draw.number(5, 60)
    first, second = draw.chance.sample(others, 2)
    return _script(
        "A leader that learns of a later term steps down, and rejects an earlier one. Paper §5.1.",
        _timeouts([leader], others),
        _start([leader, *others]),
        "> settle 400ms",
        f"> cut {leader}",
        f"> {leader} <- {first}@GiveEntriesAfterIndex 0 term {term} round 1",
        f"+ {leader} saves term {term}",
        "> status",
        f"+ {leader} follower, term {term}*",
        _append(leader, second, draw.number(1, term - 1), (0, 0), number=4),
        f"+ {second} <- {leader}@GiveEntriesAfterIndex * term {term} round *",
    )


# --- 11 and 12: snapshots, members -----------------------------------------------------------


def a_snapshot_refills(draw: Draw) -> str:
    names = draw.names(3)
    leader, other, late = names
    count = draw.number(1, 4)
    pairs = [(draw.key(), draw.value()) for _ in range(count)]
    key, value = draw.key(), draw.value()
    lines: list[str] = []
    for one, held in pairs:
        lines += [f"> {leader} <- client1@set {one} {held}", "> settle 100ms"]
    return _script(
        "A follower gets compacted entries as a snapshot. Paper §7.",
        _timeouts([leader], [other, late]),
        f"> chunk {draw.one_of(20, 30, 64, 1000)}",
        _start(names, [late]),
        "> settle 400ms",
        lines,
        f"> snapshot {leader}",
        f"> restart {late}",
        "> settle 2000ms",
        f"+ {late} has the snapshot of entry {count + 1} in force",
        f"> {leader} <- client1@set {key} {value}",
        "> settle 200ms",
        f"+ {late} applies {count + 2} 1 set {key} {value}",
    )


def members_come_and_go(draw: Draw) -> str:
    first, *rest = draw.names(3)
    key, value = draw.key(), draw.value()
    lines: list[str] = []
    for name in rest:
        voter = f"{name}={name}:1,voter"
        lines += [
            f"> join {name}",
            f"> {first} <- client1@add {name}",
            "> settle 1500ms",
            f"+ {first} appends * members * | *{voter}*",
            f"+ {first} appends * members *{voter}*",
        ]
    return _script(
        "Members are added one by one, each through a joint configuration. Paper §6.",
        _timeouts([first], rest),
        _start([first]),
        "> settle 400ms",
        lines,
        f"> {first} <- client1@set {key} {value}",
        "> settle 300ms",
        (f"+ {name} applies * set {key} {value}" for name in rest[-1:]),
    )
