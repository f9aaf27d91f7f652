"""Lines of docs/develop/grammar.abnf by chance, with what a grammar can't say.

The indexes of entries follow on one another, and a key stands in an object once: a dealer draws a
line that keeps to such a rule.
"""

from __future__ import annotations

import json
import random

from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.operands.lease_operands import format_seconds

from .abnf_grammar import Dealer, Grammar

GRAMMAR = Grammar(COMMANDS)


def _number(grammar: Grammar, chance: random.Random) -> str:
    return "0" if chance.random() < 0.2 else positive(grammar, chance)


def positive(grammar: Grammar, chance: random.Random) -> str:
    return str(chance.choice([chance.randint(1, 12), chance.randint(1, 2**63 - 1), 2**63 - 1]))


def _log_end(grammar: Grammar, chance: random.Random) -> str:
    last_term = chance.randint(0, 9)
    index = chance.randint(1, 99) if last_term else 0
    return f"{last_term + chance.randint(1, 9)}-{index}-{last_term}"


def _append_entries(grammar: Grammar, chance: random.Random) -> str:
    prev_term = term = chance.randint(0, 9)
    index = prev_index = chance.randint(1, 99) if prev_term else 0
    entries = []
    for _ in range(chance.randint(0, 3)):
        index, term = index + 1, max(term + chance.randint(0, 2), 1)
        command = json.dumps(derived("command", chance), ensure_ascii=False)
        entries.append(f'{{"index": {index}, "term": {term}, "command": {command}}}')
    term = max(term, 1) + chance.randint(0, 2)
    commit, number = _number(grammar, chance), _number(grammar, chance)
    again = f" vote again {positive(grammar, chance)}" if chance.random() < 0.2 else ""
    return (
        f"AppendEntries {term}-{prev_index}-{prev_term}-[{', '.join(entries)}]"
        f" commit {commit} round {number}{again}"
    )


def _install_snapshot(grammar: Grammar, chance: random.Random) -> str:
    last_term = chance.randint(1, 9)
    data = derived("data-string", chance)
    offset = chance.randint(0, 1 << 30)
    size = offset + len(json.loads(data).encode("utf-8", "surrogateescape"))
    return (
        f"InstallSnapshot {last_term + chance.randint(0, 2)}-{chance.randint(1, 99)}-{last_term}"
        f" offset {offset} of {size + chance.randint(0, 2)} crc32 {derived('crc32', chance)}"
        f" round {_number(grammar, chance)} data {data}"
    )


def _stray_byte(grammar: Grammar, chance: random.Random) -> str:
    """Bytes that never begin a character of UTF-8, so that no two of them are one."""
    return rf"\x{chance.choice([*range(0x80, 0xC0), *range(0xF8, 0x100)]):02x}"


def _stray_data(grammar: Grammar, chance: random.Random) -> str:
    """A character of a snapshot's data, one that is a byte among them."""
    byte = chance.randint(0x80, 0xBF)
    return chance.choice(["a", " ", "é", "😀", r"\n", r"\"", "\\\\", r"\u0001", rf"\udc{byte:02x}"])


def _object(grammar: Grammar, chance: random.Random) -> str:
    """A key stands in an object once."""
    if chance.random() < 0.4:
        return "{}"
    return f"{{{derived('jstring', chance)}: {derived('json', chance)}}}"


def _fraction(grammar: Grammar, chance: random.Random) -> str:
    tiny = chance.random() * 10.0 ** -chance.randint(5, 99)
    return repr(chance.choice([chance.uniform(-9, 9), tiny]))


def _object_in_transaction(grammar: Grammar, chance: random.Random) -> str:
    """The operands are one word: a space is written `\\s`."""
    name, space, operands = derived("operation-name", chance).partition(" ")
    return name + space + operands.replace(" ", r"\s")


DEALERS: dict[str, Dealer] = {
    "number": _number,
    "positive": positive,
    "log-end": _log_end,
    "append-entries": _append_entries,
    "install-snapshot": _install_snapshot,
    "stray-byte": _stray_byte,
    "data-char": _stray_data,
    "jobject": _object,
    "fraction": _fraction,
    "tx-object-do": _object_in_transaction,
    "iterations": lambda _, chance: str(chance.randint(4096, 10_000_000)),
    "port": lambda _, chance: str(chance.randint(1, 65535)),
    "seconds": lambda _, chance: format_seconds(
        chance.randint(1, 1_000_000_000) * chance.choice([1, 1000])
    ),
}


def derived(rule: str, chance: random.Random) -> str:
    """Return a line of a rule."""
    line = GRAMMAR.derive(rule, chance, DEALERS)
    if rule in DEALERS or chance.random() < 0.2:  # a dealer keeps to its rule
        assert GRAMMAR.matches(rule, line), f"no {rule}: {line}"
    return line
