"""Escapes: any bytes in one printable line, one form for each key, nothing forged."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.node.loop.quota import needs_room
from raftline.wire import escapes
from raftline.wire.commands.authorization import denial_reason
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.identity import Identity
from raftline.wire.protocol import ProtocolError, decode_line, escape, split_sender, unescape
from raftline_testing.runner.at_night import in_the_rest
from tests.core.typed import LIMITS, command, refusal

# Keys and values are any bytes at all, as text with a surrogate for a byte not UTF-8.
contents = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
texts = contents | st.text(max_size=60)
some_escapes = st.sampled_from([r"\\", r"\n", r"\s", r"\x41", r"\xff", r"\xc3", r"\xA9", "\t", "é"])
forms = st.lists(some_escapes | st.sampled_from("ab \u2028\u202e\u00a0"), max_size=12).map("".join)


@given(contents, st.booleans())
def test_escaping_and_unescaping_any_bytes_gives_them_back(raw: str, key: bool) -> None:
    assert unescape(escape(raw, key)) == raw


@given(texts, st.booleans())
def test_no_escaped_text_can_end_a_line_or_move_a_cursor(raw: str, key: bool) -> None:
    text = escape(raw, key)
    assert len(text.splitlines()) <= 1
    assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in text)
    assert not (key and " " in text)
    text.encode("utf-8")  # goes onto the wire as it is


@given(forms, st.booleans())
def test_canonical_form_is_a_fixed_point(text: str, key: bool) -> None:
    """The canonical form of a canonical form is itself."""
    canonical = escape(unescape(text), key)
    assert escape(unescape(canonical), key) == canonical


@given(forms.filter(lambda text: "\t" not in text and " " not in text and text), forms)
def test_command_read_from_its_log_line_is_unchanged(key: str, value: str) -> None:
    """A command read from its own log line is the same command."""
    first = command(f"set {key} {value}")
    assert command(first) == first


@given(st.binary(max_size=80))
def test_any_bytes_give_a_request_or_one_printable_refusal(raw: bytes) -> None:
    """Any bytes give a request or one printable line of refusal."""
    try:
        said = read_request(*split_sender(decode_line(raw)), LIMITS).command
    except ProtocolError as refused:
        said = str(refused)
    assert said
    assert len(said.splitlines()) == 1
    assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in said)


def test_a_key_may_hold_anything_once_it_is_escaped() -> None:
    assert command(r"get a\sb\n\t@-=\\") == r"get a\sb\n\t@-=\\"


def test_two_forms_of_one_key_are_one_key() -> None:
    assert command(r"get \x61\x62") == command("get ab")
    assert command(r"get \xc3\xa9") == command("get é") == "get é"
    assert command(r"get \xFF") == r"get \xff"
    assert command(r"set a b\sc") == "set a b c"
    assert command("set a b\tc") == r"set a b\tc"
    assert command("set a b\u2028c") == r"set a b\xe2\x80\xa8c"


@pytest.mark.parametrize("bad", [r"\q", "\\", r"\x4", r"\xg1", r"\é", "\\ "])
def test_an_escape_unknown_or_cut_in_half_is_refused(bad: str) -> None:
    assert "is not an escape" in refusal(f"set k a{bad}")


def test_composed_and_decomposed_forms_stay_two_keys() -> None:
    composed = unicodedata.normalize("NFC", "é")
    decomposed = unicodedata.normalize("NFD", "é")
    assert command(f"get {composed}") != command(f"get {decomposed}")


MANY = 400_000
LONG_CALL = 1 << 14  # characters or escapes that one call of C may look at


def steps_of_the_interpreter(work: Callable[[], object]) -> int:
    """Return how many lines of wire/escapes.py run: between two another thread may."""
    steps = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != escapes.__file__:
            return None
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize(
    "escape_of", [r"\xff", r"\xe2\x82\xac", in_the_rest(r"\n"), in_the_rest(r"\\")]
)
def test_value_of_many_escapes_lets_other_threads_run(escape_of: str) -> None:
    """A value of many escapes lets other threads run while it is read."""
    text = escape_of * MANY + r"\n"
    assert steps_of_the_interpreter(lambda: unescape(text)) >= MANY / LONG_CALL
    raw = unescape(text)
    assert raw == unescape(escape_of) * MANY + "\n", "pieces meet amid a character, or lose one"
    assert steps_of_the_interpreter(lambda: escape(raw, key=False)) >= len(raw) / LONG_CALL
    assert unescape(escape(raw, key=False)) == raw


@pytest.mark.parametrize("escape_of", [r"\xff", r"\n", r"\s", r"\xe2\x80\xa8"])
def test_a_long_text_is_written_as_its_parts_are(escape_of: str) -> None:
    raw = unescape(escape_of)
    for key in (True, False):
        assert escape(raw * MANY, key) == escape(raw, key) * MANY


class Passes:
    """Counts how often a long text is escaped or unescaped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("meant", "formatted"):
            monkeypatch.setattr(escapes, name, self._counting(getattr(escapes, name)))

    def _counting(self, function: Callable[..., str]) -> Callable[..., str]:
        def counted(text: str, *more: Any) -> str:
            self.count += len(text) >= MANY
            return function(text, *more)

        return counted

    def take(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.mark.pure
@pytest.mark.parametrize(
    "line",
    [
        "txn set k {}", "txn if k = {} then delete k", "txn setex k 5 {}", "txn append k {}",
        "txn under lease-5 set k {}", "txn cas k a {}", "set k {}",
    ],
)  # fmt: skip
def test_entry_reads_a_value_once_and_rights_do_not(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is applied while an entry is read, and a value may have a million escapes. So
    the line and the entry each unescape it once, and encode it once; the check of rights, and of
    room, reads keys only."""
    passes = Passes(monkeypatch)
    entry = command(line.format(r"\x00" * MANY))
    again = 2 * line.startswith("txn under ")  # what stands under a lease is a command by itself
    assert passes.take() == 2 + again
    identity = Identity("bob", reads=("k",), writes=("k",))
    assert denial_reason(identity, entry, lambda lease: []) == ""
    assert needs_room(entry) or "delete" in line
    assert passes.take() == 0
