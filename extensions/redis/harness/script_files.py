"""The scripts in the files of a library, also those that no program of ours calls, and random
calls of them."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

Words = tuple[bytes, ...]
CONTENT: Final = re.compile(rb"content = `((?:[^`\\]|\\.)*)`", re.DOTALL)  # of a file in JavaScript
ESCAPED: Final = re.compile(rb"\\([`\\$])")
OPERAND: Final = re.compile(rb"(KEYS|ARGV)\[(\d+)\](?=([^\n]*))")
WORD: Final = re.compile(rb"[\w-]+")
FITS: Final = 0.9  # share of keys that a script gets where it expects them
OTHER_WORDS: Final = (b"", b"0", b"1", b"-1", b"1.5", b"x", b"{}", b"[]")


class ScriptFile(NamedTuple):
    """A script, with the words of its file about each key and each other operand."""

    text: bytes
    keys: Sequence[frozenset[bytes]]
    others: Sequence[frozenset[bytes]]

    @property
    def sha(self) -> str:
        return hashlib.sha1(self.text).hexdigest()

    def call(self, chance: random.Random, keys: Sequence[bytes], words: Sequence[bytes]) -> Words:
        """Return a call with some of these keys, mostly those whose last part is in the words of
        the file, and some of these words."""
        operands = []
        for wanted in self.keys:
            fitting = [key for key in keys if key.rpartition(b":")[2] in wanted]
            operands.append(chance.choice(fitting if fitting and chance.random() < FITS else keys))
        count = str(len(operands)).encode()
        for wanted in self.others:
            own = sorted(wanted) if chance.random() < 0.3 else []
            operands.append(chance.choice(own or [*words, *OTHER_WORDS]))
        return (b"EVAL", self.text, count, *operands)


def scripts_in(folder: Path) -> Iterator[ScriptFile]:
    """Yield the scripts of a library: each `content` of its files in JavaScript, and each file in
    Lua that includes no other."""
    texts = dict[bytes, None]()
    for path in sorted(folder.glob("**/*.js")):
        if "node_modules" not in path.relative_to(folder).parts:
            texts |= dict.fromkeys(ESCAPED.sub(rb"\1", each) for each in
                                   CONTENT.findall(path.read_bytes()))  # fmt: skip
    if not texts:
        texts = dict.fromkeys(path.read_bytes() for path in sorted(folder.glob("lib/**/*.lua")))
    for text in texts:
        yield ScriptFile(text, _operands(text, b"KEYS"), _operands(text, b"ARGV"))


def _operands(text: bytes, kind: bytes) -> list[frozenset[bytes]]:
    """Return the words about each operand, in order."""
    found = dict[int, set[bytes]]()
    for name, number, rest in OPERAND.findall(text):
        if name == kind:
            found.setdefault(int(number), set()).update(WORD.findall(rest))
    return [frozenset(found.get(number, ())) for number in range(1, max(found, default=0) + 1)]
