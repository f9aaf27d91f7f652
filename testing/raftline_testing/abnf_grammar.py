"""A grammar in ABNF (RFC 5234): whether a line matches a rule, and lines derived from a rule.

The library `abnf` reads the grammar. The matcher keeps the set of positions at which each element
may end, so the time is linear in the length of the line.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from abnf import Rule
from abnf.parser import Alternation, Concatenation, Literal, Option, Repetition

FILE = Path(__file__).resolve().parents[2] / "docs" / "develop" / "grammar.abnf"
_REPEATS_MAX = 3  # repetitions in a derived line, beyond the minimum
_DEPTH_MAX = 60  # nested rules; deeper than that, the shortest alternative is taken

Element = Any  # `abnf` has no common type for its elements
Dealer = Callable[["Grammar", random.Random], str]


class Grammar:
    """The rules of one file."""

    def __init__(self, verbs: Collection[str], file: Path = FILE) -> None:
        """Look for the rules in a file. Of the requests, only those with these verbs are derived:
        the others belong to extensions that are not there."""
        self._verbs = verbs
        self._file = file
        self._memo: dict[tuple[int, int], frozenset[int]] = {}
        self._text = ""

    @functools.cached_property
    def rules(self) -> Mapping[str, Rule]:
        """The rules by their names. Reading them takes seconds, so it is deferred to the first
        test."""

        class Rules(Rule):
            pass

        Rules.load_grammar(re.sub(" {2,}", " ", self._file.read_text("utf-8")))
        return {rule.name.lower(): rule for rule in Rules.rules()}  # type: ignore[no-untyped-call]

    def matches(self, rule: str, text: str) -> bool:
        """Whether the whole text matches the rule."""
        self._text, self._memo = text, {}
        return len(text) in self._ends(self.rules[rule], 0)

    def _ends(self, element: Element, at: int) -> frozenset[int]:
        place = (id(element), at)
        if (ends := self._memo.get(place)) is None:
            ends = self._memo[place] = frozenset(self._found(element, at))
        return ends

    def _found(self, element: Element, at: int) -> set[int]:
        match element:
            case Rule():
                return set(self._ends(element.definition, at))
            case Literal():
                return _after(element, self._text, at)
            case Alternation():
                return {end for each in element.parsers for end in self._ends(each, at)}
            case Option():
                return {at, *self._ends(element.alternation, at)}
            case Concatenation():
                places = {at}
                for each in element.parsers:
                    places = {end for place in places for end in self._ends(each, place)}
                return places
            case Repetition():
                return self._repeated(element, at)
        raise TypeError(f"{element!r} is not a supported element of ABNF")

    def _repeated(self, element: Repetition, at: int) -> set[int]:
        least, most = element.repeat.min, element.repeat.max
        ends, places, count = ({at} if not least else set()), {at}, 0
        while places and (most is None or count < most):
            places = {end for place in places for end in self._ends(element.element, place)}
            count += 1
            if count >= least:
                places -= ends
                ends |= places
        return ends

    def derive(self, rule: str, chance: random.Random, dealers: Mapping[str, Dealer]) -> str:
        """Return a text that matches the rule; a dealer with a rule's name derives it instead."""
        return self._derived(self.rules[rule], chance, dealers, 0)

    def _derived(
        self, element: Element, chance: random.Random, dealers: Mapping[str, Dealer], depth: int
    ) -> str:
        match element:
            case Rule():
                if (dealer := dealers.get(element.name.lower())) is not None:
                    return dealer(self, chance)
                return self._derived(element.definition, chance, dealers, depth + 1)
            case Literal():
                return _drawn(element, chance)
            case Alternation():
                parsers = element.parsers[:1] if depth > _DEPTH_MAX else element.parsers
                if self._left_out:
                    parsers = [each for each in parsers if not self._is_left_out(each)]
                return self._derived(chance.choice(parsers), chance, dealers, depth + 1)
            case Option():
                if chance.random() < 0.5:
                    return ""
                return self._derived(element.alternation, chance, dealers, depth + 1)
            case Concatenation():
                parts = [self._derived(each, chance, dealers, depth) for each in element.parsers]
                return "".join(parts)
            case Repetition():
                least, most = element.repeat.min, element.repeat.max
                most = least + _REPEATS_MAX if most is None else min(most, least + _REPEATS_MAX)
                return "".join(
                    self._derived(element.element, chance, dealers, depth + 1)
                    for _ in range(chance.randint(least, most))
                )
        raise TypeError(f"{element!r} is not a supported element of ABNF")

    @functools.cached_property
    def _left_out(self) -> set[str]:
        """The rules of the verbs that are not there, also within a transaction (`tx-VERB`)."""
        requests: Element = self.rules["request"].definition
        missing = {each.name.lower() for each in requests.parsers} - set(self._verbs)
        return missing | {f"tx-{verb}" for verb in missing}

    def _is_left_out(self, element: Element) -> bool:
        return isinstance(element, Rule) and element.name.lower() in self._left_out


def _after(literal: Literal, text: str, at: int) -> set[int]:
    if isinstance(literal.value, tuple):
        low, high = literal.value
        return {at + 1} if at < len(text) and low <= text[at] <= high else set()
    end = at + len(literal.value)
    piece = text[at:end]
    same = piece == literal.value or (
        not literal.case_sensitive and piece.lower() == literal.value.lower()
    )
    return {end} if same else set()


def _drawn(literal: Literal, chance: random.Random) -> str:
    if isinstance(literal.value, str):
        return literal.value
    low, high = map(ord, literal.value)
    return chr(chance.choice((low, high, chance.randint(low, high))))
