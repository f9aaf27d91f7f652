"""The tokens of a script are those that Lua 5.1 reads."""

from __future__ import annotations

import pytest

from raftline.redis.resp.known_scripts.lua_tokens import LuaError, tokens_of

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("return  1", "return 1"),
        ("return\n\t\v\f\r 1", "return 1"),
        ("a.b", "a . b"),
        ("a..b...", "a .. b ..."),
        ("a==b~=c<=d>=e<f=g", "a == b ~= c <= d >= e < f = g"),
        ("#KEYS", "# KEYS"),
        ("f(KEYS[1],ARGV[10])", "f ( KEYS [ 1 ] , ARGV [ 10 ] )"),
        ("1.5e-3+.5+0x1F+3..4", "1.5e-3 + .5 + 0x1F + 3..4"),
        ("12ab", "12ab"),
        ("local_1 _x", "local_1 _x"),
        ("é", "\xc3 \xa9"),
    ],
)
def test_a_script_has_these_tokens(text: str, tokens: str) -> None:
    assert tokens_of(text) == tokens


@pytest.mark.parametrize(
    "text",
    ["-- x\nreturn 1", "--\nreturn 1", "return 1 --", "return--[[ x\n]]1", "return --[==[ ]] ]==]1",
     "--[=x\rreturn 1", "--[x[\nreturn 1", "return -- \"\n1"],
)  # fmt: skip
def test_comments_are_not_tokens(text: str) -> None:
    assert tokens_of(text) == "return 1"


@pytest.mark.parametrize(
    "text",
    ["--[[ x ]] return 1", "-- [[ x\nreturn 1 --]]", "--[==[ x ]] return 2 ]==] return 1"],
)
def test_a_comment_ends_where_lua_ends_it(text: str) -> None:
    assert tokens_of(text) == "return 1"
    assert tokens_of(text.replace("return 1", "return 3")) == "return 3"


@pytest.mark.parametrize(
    "text",
    ["'get'", '"get"', "[[get]]", "[==[get]==]", "[[\r\nget]]", "[[\nget]]", r"'\103et'",
     r"'g\101\t'".replace(r"\t", "t"), r"'\g\e\t'".replace(r"\t", r"\116")],
)  # fmt: skip
def test_a_string_is_the_same_in_any_quotes(text: str) -> None:
    assert tokens_of(text) == '"get"'


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"'\a\b\f\n\r\t\v\\\"\''", "\a\b\f\n\r\t\v\\\"'"),
        ("'\\\n'", "\n"),
        ("'\\\r\n'", "\n"),
        ("[[a\r\nb\n\rc\rd]]", "a\nb\nc\nd"),
        ("[[\n\na]]", "\na"),
        (r"[[\n]]", "\\n"),
        (r"'\0\10\0101'", "\0\n\n1"),
        ("'--'", "--"),
        ("'[['", "[["),
        ("[=[ ]] ]=]", " ]] "),
    ],
)
def test_a_string_means_what_it_means_in_lua(text: str, content: str) -> None:
    plain = "".join([f"\\{ord(each):03}" for each in content])
    assert tokens_of(text) == tokens_of(f'"{plain}"')


def test_different_strings_are_different_tokens() -> None:
    texts = [r"'\\n'", r"'\n'", "' '", "''", r"'\32 '", r"'\\032'", "'n'", "'N'", r"'\"'", r"'\''"]
    assert len(set(map(tokens_of, texts))) == len(texts)


@pytest.mark.parametrize(
    "text",
    ["'a", "'a\n'", '"a\'', "[[a", "[==[a]=]", "--[[ a", r"'\256'", "'\\", "[[ [[ ]]",
     "--[[ [[ ]] return 1"],
)  # fmt: skip
def test_what_lua_does_not_read_has_no_tokens(text: str) -> None:
    with pytest.raises(LuaError):
        tokens_of(text)


def test_bytes_that_are_not_digits_are_not_an_escape() -> None:
    assert tokens_of("'\\²'") == tokens_of("'²'")
