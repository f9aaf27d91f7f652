"""The interpreter of Lua: what programs return, and that no exception of Python leaves it."""

from __future__ import annotations

import hashlib
import random
from typing import Any, Final

import pytest

from raftline.redis.resp.lua.scripts import GLOBALS
from raftline.redis.resp.lua.values import Builtin, Table
from raftline.redis.resp.scripts import sha_of
from raftline.redis.tests.lua.lua_programs import (
    OverBudgetError,
    as_bytes,
    program,
    reply_to,
    strange_program,
)
from raftline_testing.runner.at_night import at_night

pytestmark = pytest.mark.pure
NAMES: Final = [
    name
    for library, value in GLOBALS.items()
    for name in (
        [library] if type(value) is Builtin
        else [f"{library}.{each}" for each, one in value.hash.items() if type(one) is Builtin]
        if type(value) is Table
        else []
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("return 1", 1),
        ("return {1, 2.9, '3', true, false, {ok = 'yes'}, {}, nil, 9}",
         [1, 2, "3", 1, None, "yes", []]),
        ("local a, b, c = (function() return 1, 2, 3 end)() return {a, b, c}", [1, 2, 3]),
        ("return {(function() return 1, 2 end)(), (function() return 1, 2 end)()}", [1, 1, 2]),
        ("return {(function() return 1, 2 end)(), a = 1}", [1]),
        ("local f = {} for i = 1, 3 do f[i] = function() i = i + 1 return i end end"
         " return {f[1](), f[1](), f[3]()}", [2, 3, 4]),
        ("local n = 0 repeat local x = n n = n + 1 until x == 3 return n", 4),
        ("local t = {1, 2, 3} t[2] = nil return {#t, t[3]}", [3, 3]),
        ("local t = {} t[3] = 'c' t[2] = 'b' t[1] = 'a' return {#t, table.concat(t)}", [3, "abc"]),
        ("local t = {b = 1, a = 2, 'x'} local o = {} for k in pairs(t) do o[#o + 1] = k end"
         " return o", [1, "b", "a"]),
        ("local t = {a = 1, b = 2, c = 3} local n = 0 for k in pairs(t) do t[k] = nil n = n + 1 end"
         " return {n, next(t) == nil}", [3, 1]),
        ("local t = {[true] = 'a', [1] = 'b'} return {t[true], t[1]}", ["a", "b"]),
        ("return {('x'):rep(3), ('%d-%s'):format(5, 'a')}", ["xxx", "5-a"]),
        ("return {string.find('hello world', 'o (w)')}", [5, 7, "w"]),
        ("return {('abc'):gsub('%w', '<%0>')}", ["<a><b><c>", 3]),
        ("return {10 / 4, 7 % -3, -7 % 3, 2 ^ 10}", [2, -2, 2, 1024]),
        ("return {tostring(1e15), tostring(0.1), 1 .. ''}", ["1e+15", "0.1", "1"]),
        ("local t = {5, 2, 8} table.sort(t, function(a, b) return a > b end) return t", [8, 5, 2]),
        ("return cjson.encode({1, 'a/b', {x = cjson.null}})", '[1,"a\\/b",{"x":null}]'),
        ("return cjson.decode('[1, {\"a\": \"\\\\u00e9\"}]')[2].a", "Ã©"),
        ("return {cmsgpack.unpack('\\147\\1\\161a\\192')}", [[1, "a"]]),
        ("return cjson.encode(cjson.decode('[01, 1., 0x1F, -1e2, +5]'))", "[1,1,31,-100,5]"),
        ("return tostring(cjson.decode('[-Infinity]')[1])", "-inf"),
        ("return redis.sha1hex('')", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("return {pcall(error, {err = 'x'})}", [None, "x"]),
        ("return -(2 ^ 63)", -(1 << 63)),
    ],
)  # fmt: skip
def test_program_returns_what_lua_returns(text: str, reply: Any) -> None:
    assert reply_to(text) == reply


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("return 1 +", "ERR Error compiling script (new function): user_script:1: unexpected"),
        ("\nerror('no')", "ERR user_script:2: no script: {sha}, on @user_script:2."),
        ("error({err = 'MINE no'})", "MINE no script: {sha}, on @user_script:1."),
        ("return redis.call('nope')", "ERR Unknown Redis command called from script script: {sha}"),
        ("redis = 1", "ERR user_script:1: Attempt to modify a readonly table"),
        ("redis.call = 1", "ERR user_script:1: Attempt to modify a readonly table"),
        (
            "return nope",
            "ERR user_script:1: Script attempted to access nonexistent global variable",
        ),
        ("local x = {} x.y.z = 1", "ERR user_script:1: attempt to index field 'y' (a nil value)"),
        ("return 2 ^ 1.5", "ERR user_script:1: a power whose exponent is not a whole number"),
        (
            "cjson.decode('[1 \"a\"]')",
            "ERR user_script:1: Expected comma or array end but found T_STRING at character 4",
        ),
        (
            "cjson.decode('{\"a\":1,}')",
            "ERR user_script:1: Expected object key string but found T_OBJ_END at character 8",
        ),
        (
            "cjson.decode('[-]')",
            "ERR user_script:1: Expected value but found invalid number at character 2",
        ),
        ("return math.exp(1)", "ERR user_script:1: 'exp' is not supported here"),
        ("local function f() return f() end return f()", "ERR user_script:1: stack overflow"),
        ("return " + "(" * 300 + "1" + ")" * 300, "ERR Error compiling script (new function)"),
        ("return " + "1+" * 20_000 + "1", "ERR Error compiling script (new function)"),
        ("return " + "{" * 5000, "ERR Error compiling script (new function)"),
        ("local t = {} return t" + ".a" * 5000, "ERR Error compiling script (new function)"),
    ],
)
def test_mistake_is_an_error_in_the_words_of_redis(text: str, problem: str) -> None:
    assert str(reply_to(text)).startswith(problem.format(sha=sha_of(text)))


@pytest.mark.parametrize(
    "text",
    [
        "while true do end",
        "for i = 2, 1, 0 do end",
        "while true do pcall(function() while true do end end) end",
        "return ('a'):rep(2 ^ 27)",
        "local s = 'a' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
        "return (('a'):rep(3000)):match(('.-'):rep(20) .. 'b')",
        "return ('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(31))",
        "local s = 'aaaaaaaaaa' while true do s = s:gsub('a', 'aaaaaaaaaa') end",
        "local t = {} for i = 1, 7999 do t[i] = i end while true do select('#', unpack(t)) end",
        "local a, b = ('a'):rep(4e6), ('a'):rep(4e6) while true do if a == b then end end",
        "local s = ('a'):rep(4e6) while true do s:find('b', 1, true) end",
        "local t = {} for i = 1, 1000 do t['a' .. i] = 1 end while true do next(t) end",
        "local t = {3, 2, 1} table.sort(t, function() while true do end end)",
        "while true do pcall(cjson.decode, '[1') end",
    ],
)
def test_endless_program_ends_by_its_budget(text: str) -> None:
    with pytest.raises(OverBudgetError):
        reply_to(text)


@pytest.mark.parametrize(
    "text",
    [
        "local function f() d[1] = d[1] + 1 return f() end",
        "local function f() d[1] = d[1] + 1 return pcall(f) end",
        "local function f(x) d[1] = d[1] + 1 return (tostring(x):gsub('.', f)) end",
        "local function f() d[1] = d[1] + 1 table.sort({3, 2, 1}, f) end",
        "local function f() d[1] = d[1] + 1 local t = {f(), {f()}} for i = 1, f() do end end",
        "local function f(...) d[1] = d[1] + 1 return f(...) .. 'a' .. f({{{{f()}}}}) end",
        "local function f() d[1] = d[1] + 1 cjson.decode(('['):rep(99) .. (']'):rep(99)) f() end",
        "local function f() d[1] = d[1] + 1 ('a'):rep(99):find(('a?'):rep(90)) f() end",
        "local function f() d[1] = d[1] + 1 do do if 1 then for i = 1, 2 do while true do repeat"
        " f() until false end end end end end end",
    ],
)
def test_deep_recursion_is_an_error_of_lua(text: str) -> None:
    """Its frames are counted; how many Python has is of no concern."""
    depth = reply_to(f"local d = {{0}} {text} pcall(f, 'a') return d[1]")
    assert 50 < depth < 300


@pytest.mark.parametrize("seed", [*range(4), *at_night(*range(4, 200))])
def test_no_exception_of_python_leaves_a_program(seed: int) -> None:
    """Each function of the libraries is called with anything."""
    chance = random.Random(seed)
    for _ in range(250):
        text = strange_program(chance, NAMES)
        try:
            as_bytes(reply_to(text, ["a"], most=50_000))
        except OverBudgetError:
            continue
        except Exception as problem:
            raise AssertionError(text) from problem


# What each supported Python computes: a change of these replies is another state machine.
DIGEST: Final = "bd555182953f5744"


def test_programs_have_the_same_replies_with_each_python() -> None:
    chance, digest = random.Random(7), hashlib.sha256()
    for _ in range(1500):
        text = program(chance)
        try:
            digest.update(repr(as_bytes(reply_to(text))).encode())
        except OverBudgetError:
            digest.update(b"budget")
    assert digest.hexdigest()[:16] == DIGEST
