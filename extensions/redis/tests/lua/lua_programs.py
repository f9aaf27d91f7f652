"""Programs in Lua for the tests of the interpreter, drawn at random, and one run of a program."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from raftline.redis.resp.lua.scripts import ErrorReply, StatusReply, error_table, run_script
from raftline.redis.resp.lua.values import ScriptRun

STEPS: Final = 1 << 18


class OverBudgetError(Exception):
    """A program takes more steps than it may."""


class Stub:
    """A store without commands, which counts the steps of a program."""

    def __init__(self, most: int = STEPS) -> None:
        self.steps = 0
        self._most = most

    def call(self, run: ScriptRun, words: list[str]) -> Any:
        if words[0] == "x":
            return run.globals["ARGV"]
        return error_table("ERR Unknown Redis command called from script")

    def works(self, steps: int) -> None:
        self.steps += steps
        if self.steps > self._most:
            raise OverBudgetError


def reply_to(text: str, arguments: list[str] | None = None, most: int = STEPS) -> Any:
    """Return the reply of a program."""
    return run_script(Stub(most), text, [], arguments or [])


def as_bytes(reply: Any) -> Any:
    """Return a reply with its texts as the bytes that they are."""
    if isinstance(reply, (ErrorReply, StatusReply)):
        return (type(reply).__name__, reply.encode("latin-1"))
    if isinstance(reply, str):
        return reply.encode("latin-1")
    return [as_bytes(each) for each in reply] if isinstance(reply, list) else reply


LEAVES: Final = (
    "1", "0", "-3", "2.5", "1e15", "0.1", '"a"', '"10"', '" 5 "', '"x1"', '""', "nil", "true",
    "false", "t", "t[1]", "t.a", "t[2]", "#t", '#"abc"', '"0x10"', "1e300", "7", "100", "t.n",
    "-0.5", "3",
)  # fmt: skip
ONE: Final = (
    "tostring(%s)", "tonumber(%s)", "type(%s)", "math.floor(%s)", "math.ceil(%s)", "math.abs(%s)",
    "string.len(%s)", "string.upper(%s)", "string.reverse(%s)", "#%s", "not %s", "-%s",
)  # fmt: skip
TWO: Final = (
    "math.max(%s, %s)", "math.min(%s, %s)", "string.rep(%s, %s)", "string.sub(%s, %s)",
    "string.byte(%s, %s)", "math.fmod(%s, %s)", "bit.band(%s, %s)", "bit.bor(%s, %s)",
    "bit.rshift(%s, %s)", "bit.lshift(%s, %s)", "select(1, %s, %s)", "select('#', %s, %s)",
    "(%s) .. (%s)",
)  # fmt: skip


def expression(chance: random.Random, deep: int = 0) -> str:
    """Return an expression over a table `t`."""
    if deep > 3 or chance.random() < 0.3:
        return chance.choice(LEAVES)
    one, other = (expression(chance, deep + 1) for _ in range(2))
    match chance.randrange(6):
        case 0 | 1:
            return f"({one} {chance.choice('+-*/%')} {other})"
        case 2:
            return f"({one} {chance.choice(['==', '~=', '<', '<=', '>', '>='])} {other})"
        case 3:
            return f"({one} {chance.choice(['and', 'or'])} {other})"
        case 4:
            return f"({chance.choice(ONE) % one})"
    return f"({chance.choice(TWO) % (one, other)})"


SIGNS: Final = ("..", "+", "%", "^", "/", "<", "==")
ENDS: Final = ("", "if i == 2 then break end")
QUOTED_A, QUOTED_N = "'a'", "'n'"


def statement(chance: random.Random, deep: int = 0) -> str:
    """Return a statement over the tables `t` and `o`."""
    value = expression(chance)
    inner = statement(chance, deep + 1) if deep < 3 else "t.a = 1"
    rows = (
        f"local v{chance.randrange(3)} = {value}",
        f"t[{chance.choice(['1', '2', '#t', '#t+1', '3', '5'])}] = {value}",
        f"if {value} then {inner} else t.b = {value} end",
        f"for i = 1, {chance.randrange(5)} do {inner} {chance.choice(ENDS)} end",
        f"t[{chance.choice(['1', QUOTED_A, QUOTED_N])}] = {value}",
        f"table.insert(t, {value})",
        f"table.remove(t{chance.choice(['', ',1', ',2'])})",
        f"o[#o + 1] = tostring({value})",
        f"o[#o + 1] = tostring({value})",
        f"local function f(x, ...) {inner} return x, ... end o[#o + 1] = tostring(f({value}))",
        f"o[#o + 1] = tostring(select(2, pcall(function() {inner} return {value} end)))",
        f"for k, v in {chance.choice(['pairs', 'ipairs'])}({{{value}, {value}}}) do"
        " o[#o + 1] = k end",
        f"local n = 0 while n < 3 do n = n + 1 {inner} end",
    )
    return chance.choice(rows)


PARTS: Final = (
    "a", "b", ".", "%a", "%d", "[ab]", "[^a]", "(a)", "(.-)", "()", "a*", "b+", "c?", ".-", "%s*",
    "%w", "^", "[a-c]+", "%b()", "%f[%a]", "[%a]", "[]]", "[^]]", "%.", "(b*)", "[a-]", "$",
)  # fmt: skip
SEARCHES: Final = (
    'return {string.find("%s", "%s")}', 'return {string.match("%s", "%s")}',
    'local o = {} for a, b in string.gmatch("%s", "%s") do'
    ' o[#o + 1] = tostring(a) .. ":" .. tostring(b) end return o',
    'return {string.gsub("%s", "%s", "<%%0>")}',
    'return {string.gsub("%s", "%s", {a = "X", b = 1})}',
    'return {string.gsub("%s", "%s", function(x) if x == "a" then return "Q" end end)}',
    'return {string.gsub("%s", "%s", "%%1", 2)}', 'return {string.find("%s", "%s", 3)}',
)  # fmt: skip


def search(chance: random.Random) -> str:
    """Return a program with a pattern that is well formed, but for a capture that it may lack."""
    pattern = "".join(chance.choices(PARTS, k=chance.randrange(1, 6)))
    text = "".join(chance.choices("aabbc1 ()x", k=chance.randrange(10)))
    return chance.choice(SEARCHES) % (text, pattern)


def program(chance: random.Random) -> str:
    """Return a program of any of these."""
    match chance.randrange(3):
        case 0:
            one, other = expression(chance), expression(chance)
            return f"local t = {{1, 'b', a = 5}} return {{{one}, tostring({other})}}"
        case 1:
            rows = "\n".join(statement(chance) for _ in range(5))
            end = "return {o, #t, tostring(t[1]), tostring(t.a)}"
            return f"local t = {{3, 'b', a = 5}} local o = {{}} {rows} {end}"
    return search(chance)


ANYTHING: Final = (
    "nil", "true", "0", "1", "-1", "3.5", "1e308", "1/0", "-1/0", "0/0", "2^53", "2^63", '""',
    '"a"', '"abc"', '"%d"', '"%a+"', '"%1"', '"(a"', '"[a-"', '"%"', '"%b"', '"%f"',
    '"%s %d %q %5.3f %c"', '"%99999d"', '"%05s"', '"% d"', '"%#x"', '"%+.3e"', '"0x10"', '"1e5"',
    '"\\0\\255\\200"', '"[1,2"', "{}", '"{\\"a\\":[1,null]}"', '"\\222\\0\\1\\161a\\1"',
    '"\\221\\1"', '"\\223\\192"', '"\\129\\192\\1"', "t", "f", "{1,2,3}", "{a=1}", "{[2]=1}",
    "{[1e300]=1}", "{t}", "g", "function() error() end", "cjson.null",
    "function(...) return ... end", "t.t", "KEYS", 'string.rep("ab", 500)', 'redis.call("x")',
    "_G", "unpack({1,nil,3})", '"\\\\ud800"', '"\\"\\\\ud83d\\\\ude00\\""', '"1e999"', '"-nan"',
    "string", "{[1/0]=2}",
)  # fmt: skip


def strange_program(chance: random.Random, names: list[str]) -> str:
    """Return a program that calls functions with anything."""

    def called(deep: int = 0) -> str:
        values = [
            chance.choice(ANYTHING) if deep > 2 or chance.random() < 0.85 else called(deep + 1)
            for _ in range(chance.randrange(5))
        ]
        return f"{chance.choice(names)}({', '.join(values)})"

    def value() -> str:
        return chance.choice(ANYTHING) if chance.random() < 0.6 else called(1)

    rows: tuple[Callable[[], str], ...] = (
        lambda: f"t[{value()}] = {value()}",
        lambda: f"local x = {called()}",
        lambda: f"o[#o + 1] = {called()}",
        lambda: f"for i = {value()}, {value()} do if i == 3 then break end end",
        lambda: (
            f"local x = {value()} {chance.choice(['..', '+', '%', '^', '/', '<', '=='])} {value()}"
        ),
        lambda: (
            f"for k, w in {chance.choice(['pairs', 'ipairs', 'next,', 'string.gmatch'])}"
            f"({value()}, {value()}) do o.k = k break end"
        ),
        lambda: f"pcall({chance.choice(names)}, {value()}, {value()})",
        lambda: (
            f"local y = ({value()}):{chance.choice(['rep', 'sub', 'find', 'gsub', 'byte'])}"
            f"({value()}, {value()})"
        ),
        lambda: f"local z = #{value()}",
        lambda: f"t = {value()}",
    )
    lines = [chance.choice(rows)() for _ in range(chance.randrange(1, 5))]
    wrapped = [f"pcall(function() {row} end)" if chance.random() < 0.7 else row for row in lines]
    body = "\n".join(wrapped)
    begin = "local t = {1, 'b', a = 5} t.t = t local o = {} local function f(x) return x end"
    return f"{begin} local function g(a, b) return a == b end\n{body}\nreturn {value()}, o"
