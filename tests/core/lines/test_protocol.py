"""Lines to requests and back: what is accepted, how it is spelled, what a refusal says."""

from __future__ import annotations

from unicodedata import category

import pytest

from raftline.wire.commands.command_table import COMMANDS, Request, help_on, read_request
from raftline.wire.operands.operands import Limits, show_operands
from raftline.wire.protocol import (
    ProtocolError,
    decode_line,
    looks_foreign,
    reply_line,
    shown,
    split_sender,
    unescape,
    without_controls,
)
from raftline.wire.refusal import (
    NO_LEADER,
    NOT_LEADER,
    OUTCOME_UNKNOWN,
    error,
    not_leader,
    outcome_unknown,
)
from raftline.wire.replies.refusals import leader_named_in
from tests.core.typed import LIMITS, command, refusal


def refused_bytes(raw: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode_line(raw)
    return str(caught.value)


def test_client_gives_its_name_and_id_before_the_first_at() -> None:
    """A client gives its name, and optionally an id, before the first `@`."""
    assert split_sender("client4@set b 5") == ("client4", "", "set b 5")
    assert split_sender("client@get a") == ("client", "", "get a")
    assert split_sender("client4#17@set b 5") == ("client4", "17", "set b 5")
    assert split_sender("client4@set b@c 5@6") == ("client4", "", "set b@c 5@6")


def test_a_node_names_itself_in_the_same_way() -> None:
    assert split_sender("s2@AppendEntries 7-11-6-[]") == ("s2", "", "AppendEntries 7-11-6-[]")


def test_an_at_sign_after_the_first_word_gives_no_name() -> None:
    assert split_sender("set mail a@b") == ("", "", "set mail a@b")
    assert split_sender("get b") == ("", "", "get b")
    assert split_sender("   get b") == ("", "", "get b")
    assert split_sender("  client4@get b") == ("client4", "", "get b")


@pytest.mark.parametrize("name", ["", "4", "-a", "é", "a" * 65, "a" * 1_000_000, "a/../b", "a\tb"])
def test_a_bad_name_is_refused_with_the_rule(name: str) -> None:
    said = refusal(f"{name}@get a")
    assert "is not a name. A name is a letter, then letters, digits, _ . or -, at most 64" in said
    assert len(said) < 300
    assert said.isprintable()


def test_the_longest_name_and_the_largest_id_are_taken() -> None:
    name = "a" * 64
    assert split_sender(f"{name}#{2**63 - 1}@get a") == (name, str(2**63 - 1), "get a")


@pytest.mark.parametrize("number", ["", "-1", "1_000", "٣", "017", "1e3", str(2**63), "9" * 30])
def test_a_bad_id_is_refused_with_the_rule(number: str) -> None:
    said = refusal(f"client4#{number}@get a")
    assert "is not a request id. An id is a number from 0 to 9223372036854775807" in said


@pytest.mark.parametrize(
    ("line", "verb", "canonical"),
    [
        ("get b", "get", "get b"),
        ("set b 5", "set", "set b 5"),
        ("delete b", "delete", "delete b"),
        ("show", "show", "show"),
        ("show pre after k", "show", "show pre after k"),
        ("help", "help", "help"),
        ("status ", "status", "status"),
    ],
)
def test_each_command_is_understood(line: str, verb: str, canonical: str) -> None:
    expected = Request("client4", "7", verb, canonical)
    assert read_request("client4", "7", line, LIMITS) == expected


@pytest.mark.parametrize("line", ["foo", "getx", "set\tb 5", "c@x@get a"])
def test_an_unknown_command_is_refused_with_the_list_of_commands(line: str) -> None:
    said = refusal(line)
    assert said.startswith("I don't understand: ")
    assert said.endswith(". Try: get KEY, set KEY VALUE, delete KEY, show, help")


def test_a_value_is_the_rest_of_the_line_kept_to_the_byte() -> None:
    assert command("set k a b c") == "set k a b c"
    assert command("set k  two  spaces  ") == "set k  two  spaces  "
    assert command("set k ") == "set k "
    assert command("set k a=b@c-d") == "set k a=b@c-d"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("", "the line is empty"),
        ("   ", "the line is empty"),
        ("set", "the key is missing: set KEY VALUE"),
        ("set  5", "the key is missing: set KEY VALUE"),
        ("set a", "the value is missing: set KEY VALUE"),
        ("get", "the key is missing: get KEY"),
        ("get  a", "the key is missing: get KEY"),
        ("delete ", "the key is missing: delete KEY"),
        ("get a b", r"a space inside a key is written \s"),
        ("delete a b", r"a space inside a key is written \s"),
        ("get a\tb", r"a tab inside a key is written \t"),
        ("show a b", "show takes [PREFIX] [after KEY] [with index]"),
        ("transfer s2 s3", "transfer takes the name of one server, or none"),
        ("transfer ²", "transfer takes the name of one server, or none"),
        ("show a  after b", "show takes [PREFIX] [after KEY] [with index]"),
    ],
)
def test_a_wrong_operand_is_refused_with_the_rule(line: str, rule: str) -> None:
    assert rule in refusal(line)


def test_two_forms_of_one_key_or_value_are_one() -> None:
    assert command(r"set \x61 \x62") == command("set a b") == "set a b"
    assert command("set a b\tc") == command(r"set a b\x09c") == r"set a b\tc"


def test_limits_count_the_real_bytes_not_the_form() -> None:
    limits = Limits(key_bytes=4, value_bytes=6)
    assert command(r"set \x00\xff\x01\x02 \n\n\n\n\n\n", limits).startswith("set ")
    assert command("set éé ééé", limits) == "set éé ééé"
    assert "the key has 5 bytes; the limit is 4" in refusal("get abcde", limits)
    assert "the key has 6 bytes; the limit is 4" in refusal("delete ééé", limits)
    assert "the key has 5 bytes; the limit is 4" in refusal("show after abcde", limits)
    assert "the prefix has 5 bytes; the limit is 4" in refusal("show abcde", limits)
    assert "the prefix has 5 bytes; the limit is 4" in refusal("clear abcde", limits)
    assert "the value has 7 bytes; the limit is 6" in refusal("set a 1234567", limits)
    assert "the value has 8 bytes; the limit is 6" in refusal("set a éééé", limits)
    assert "the key has 6 bytes; the limit is 4" in refusal("set ééé 1", limits)
    assert "the value has 7 bytes; the limit is 6" in refusal(r"set a \x00\x00\x00\x00é1", limits)


def test_a_key_and_a_value_over_the_usual_limits_are_refused() -> None:
    assert "the key has 65537 bytes; the limit is 1024" in refusal("get " + "k" * 65537)
    assert "the limit is 1048576" in refusal("set a " + "v" * (1 << 20) + "v")


def test_longest_line_holds_the_longest_key_and_value() -> None:
    """The longest line holds the longest escaped key and value."""
    limits = Limits(key_bytes=8, value_bytes=16)
    line = "n" * 64 + f"#{2**63 - 1}@set " + r"\x00" * 8 + " " + r"\x00" * 16 + "\r"
    assert len(line) <= limits.line_bytes
    assert command(line[:-1], limits) == "set " + r"\x00" * 8 + " " + r"\x00" * 16
    assert str(limits.line_bytes) in limits.line_too_long


@pytest.mark.parametrize(
    "raw",
    [
        b"get a",
        b"get a\r",
        b"\xff\xfd\x03\xff\xfb\x18get a\r",
        b"\xff\xf1get a\r",
        b"\xff\xfa\x18\x00xterm\xff\xf0get a",
        b"set wrong 1\xff\xf4\xff\xfd\x06get a\r",
        b"get a\r\xff\xfb\x06",
        b"\xff\xfa\x1f\x00\r\x00\x18\xff\xf0\xff\xfb\x18get a",
        b"get a\r\xff\xfa\xff\xf0\xff\xf1",
    ],
)
def test_telnet_control_bytes_are_removed_from_a_line(raw: bytes) -> None:
    assert decode_line(raw) == "get a"


@pytest.mark.parametrize("tail", [b"\xff\xfe", b"\xff\xfb\x06", b"\xff\xf1", b"\xff\xfa\xff\xf0"])
def test_bytes_that_telnet_uses_are_not_taken_out_of_a_value(tail: bytes) -> None:
    assert refused_bytes(b"set a " + tail) == (
        r"byte 7 of this line is not UTF-8; write it as \xff"
    )


def test_telnet_negotiation_without_an_end_is_not_a_negotiation() -> None:
    assert refused_bytes(b"\xff\xfa\xff\xf0\xff\xfaget a").startswith("byte 1 of this line")
    assert refused_bytes(b"get a\r\xff\xfa").startswith("byte 7 of this line")


def test_only_a_whole_telnet_interrupt_discards_the_typed_line() -> None:
    assert decode_line(b"set wrong 1\xff\xf4\xff\xfd\x06get a") == "get a"
    assert refused_bytes(b"set secret x\xff\xf4delete a").startswith("byte 13 of this line")
    assert refused_bytes(b"set z v\xff\xf8").startswith("byte 8 of this line")


def test_a_raw_control_character_is_refused_with_its_escape() -> None:
    assert refused_bytes(b"set a \x00") == (
        r"byte 7 of this line is a raw control character; write it as \x00"
    )
    assert refused_bytes(b"set a \x1b[2J").endswith(r"write it as \x1b")
    assert refused_bytes(b"set a \x7f").endswith(r"write it as \x7f")
    assert refused_bytes(b"set a b\rc").endswith(r"write it as \r")
    assert refused_bytes("set é \x85".encode()) == (
        r"byte 8 of this line is a raw control character; write it as \xc2\x85"
    )


def test_a_raw_tab_and_any_other_character_pass() -> None:
    assert decode_line(b"set a two  ") == "set a two  "
    assert decode_line(b"set a tab\t\r") == "set a tab\t"
    assert decode_line("set a b\tc é 漢 😀 \u00a0".encode()) == "set a b\tc é 漢 😀 \u00a0"


@pytest.mark.parametrize("raw", [b"get \xff", b"get \xc3", b"get \xed\xa0\x80", b"get \xc0\x80"])
def test_a_byte_that_is_not_utf_8_is_refused_with_its_place(raw: bytes) -> None:
    said = refused_bytes(raw)
    assert said.startswith("byte 5 of this line is not UTF-8; write it as \\x")
    assert said.endswith(f"{raw[4]:02x}")


def test_foreign_protocol_is_told_the_protocol_of_the_port() -> None:
    """A line of another protocol is refused, and the refusal names this port's protocol."""
    for raw, protocol in [
        (b"GET / HTTP/1.1\r", "HTTP"),
        (b"PRI * HTTP/2.0\r", "HTTP"),
        (b"show /x HTTP/1.1\r", "HTTP"),
        (b"Set! /x HTTP/1.0\r", "HTTP"),
        (b"Host: localhost:10000\r", "HTTP"),
        (b"hOST:x", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"SSH-2.0-OpenSSH_9.6\r", "SSH"),
    ]:
        said = looks_foreign(raw)
        assert said is not None
        assert said.startswith(f"this port speaks lines of text, not {protocol}.")
    assert looks_foreign(b"client4@set b 5") is None
    assert looks_foreign(b"GET a") is None
    assert looks_foreign(b"set x HTTP/1.1") is None
    assert looks_foreign(b"set x to HTTP/1.1\r") is None
    assert looks_foreign(b"c4#1@set x HTTP/1.1\r") is None


def test_reply_carries_no_control_and_no_bidi_characters() -> None:
    """A reply contains no control characters, and none that change the direction of text."""
    turning = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    text = "paid \x1b[31m" + turning + " 漢 é \u200d"  # this one joins pictures
    safe = without_controls(text)
    assert safe.startswith(r"paid \x1b[31m\xd8\x9c\xe2\x80\x8e")
    assert safe.endswith(" 漢 é \u200d")
    assert not set(safe) & set(turning)
    assert unescape(safe) == text


def test_an_echo_is_cut_and_cannot_forge_a_line() -> None:
    said = refusal("foo\u2028s1@SET response: \u202eforged" + "x" * 5000)
    assert said.isprintable()
    assert r"\xe2\x80\xa8" in said
    assert len(said) < 200
    assert shown("plain") == "plain"
    assert len(shown("x" * 1000)) == 63


def test_an_echo_is_the_same_whatever_characters_a_python_knows() -> None:
    """Every node keeps the reply to an entry, and nodes may run different versions of Python."""
    assert shown("\u0378 \U0001fae8 \U000e1000") == "\u0378 \U0001fae8 \\xf3\\xa1\\x80\\x80"
    known = [each for each in map(chr, range(0x110000)) if category(each) != "Cn"]
    assert [each for each in known if (shown(each) == each) != each.isprintable()] == []


def test_show_reads_its_operands_so_that_after_may_be_a_prefix() -> None:
    assert show_operands("show") == (None, None)
    assert show_operands("show after") == ("after", None)
    assert show_operands("show after k") == (None, "k")
    assert show_operands("show after after k") == ("after", "k")


def test_the_sorry_line_names_the_leader_and_can_be_read_back() -> None:
    line = not_leader("s1", "localhost", 10000)
    assert line == ("Sorry, I am not the leader. Last leader I heard from is: s1 (localhost:10000)")
    assert leader_named_in(line) == ("s1", "localhost", 10000)
    assert leader_named_in(not_leader("s1", "::1", 10000)) == ("s1", "::1", 10000)


def test_no_stored_value_reads_as_an_error() -> None:
    for text in (NO_LEADER, "GET response: " + not_leader("s9", "evil", 1)):
        assert leader_named_in(text) is None
    for text in (NO_LEADER, NOT_LEADER, OUTCOME_UNKNOWN, outcome_unknown("why"), error("why")):
        assert text.startswith("Sorry, ")
    assert not reply_line("s1", "", "GET response: Sorry, no").startswith("s1@Sorry, ")


def test_a_reply_carries_the_servers_name_and_the_requests_id() -> None:
    assert reply_line("s1", "", "GET response: 5") == "s1@GET response: 5\n"
    assert reply_line("s1", "17", "GET response: 5") == "s1#17@GET response: 5\n"
    assert split_sender("s1#17@GET response: 5") == ("s1", "17", "GET response: 5")


def test_whole_help_is_one_line_and_names_every_command() -> None:
    whole = help_on("help all")
    assert whole.startswith("HELP response: ")
    assert whole.isprintable()
    assert [row.form for row in COMMANDS.values() if row.form not in whole] == []


def test_help_is_one_line_that_fills_ten_of_a_terminal() -> None:
    """It has the commands that a person types, without those of the recipes and other extensions,
    and says how to see the rest."""
    first = help_on("help")
    assert first.startswith("HELP response: get KEY | set KEY VALUE | ")
    assert first.isprintable()
    assert len(f"s1@{first}") <= 10 * 80
    forms = first.removeprefix("HELP response: ").partition(". A value")[0]
    assert all(f"| {verb}" in forms for verb in ("show", "watch", "txn", "status", "members"))
    inner = {"redis", "machine", "object", "hold", "dequeue", "auth", "lines", "user-add"}
    assert not {form.split()[0] for form in forms.split(" | ")} & inner
    assert "help all" in first


def test_command_in_capitals_is_told_its_form() -> None:
    """Verbs are words in small letters, in the log and between nodes, too."""
    said = "I don't understand: GET b. Commands have small letters: get KEY"
    assert refusal("GET b") == refusal("ada@GET b") == said
    assert refusal("SING b").startswith("I don't understand: SING b. Try: get KEY")
