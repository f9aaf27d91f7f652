"""Scripts in the files of a library, and random calls of them."""

from __future__ import annotations

import random
from pathlib import Path

from raftline.redis.harness.script_files import scripts_in

PAUSE = r"""--[[
  KEYS[1] 'wait' or 'paused'
  ARGV[1] 'paused' or 'resumed'
]]
redis.call('RENAME', KEYS[1], KEYS[2])
return string.gsub(ARGV[1], '\\d', '') .. `x`
"""


def in_javascript(text: str) -> str:
    return f"const content = `{text.replace(chr(92), chr(92) * 2).replace('`', chr(92) + '`')}`;"


def test_scripts_are_found_in_files_of_javascript(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    for name in ("pause.js", "again.js"):  # the same text in two kinds of modules
        (tmp_path / "dist" / name).write_text(in_javascript(PAUSE))
    other = tmp_path / "node_modules" / "other"
    other.mkdir(parents=True)
    (other / "own.js").write_text(in_javascript("return 1"))
    (script,) = scripts_in(tmp_path)
    assert script.text.decode() == PAUSE
    assert [{b"wait", b"paused"} <= words for words in script.keys] == [True, False]
    assert [{b"paused", b"resumed"} <= words for words in script.others] == [True]


def test_files_in_lua_are_scripts_where_no_javascript_has_them(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.lua").write_text("return redis.call('GET', KEYS[1])")
    (script,) = scripts_in(tmp_path)
    assert (len(script.keys), len(script.others)) == (1, 0)


def test_call_has_mostly_the_keys_that_a_script_expects(tmp_path: Path) -> None:
    (tmp_path / "pause.js").write_text(in_javascript(PAUSE))
    (script,) = scripts_in(tmp_path)
    keys = [b"q:wait", b"q:active", b"q:events"]
    calls = [script.call(random.Random(seed), keys, [b"7"]) for seed in range(50)]
    assert {call[:3] for call in calls} == {(b"EVAL", script.text, b"2")}
    assert 40 <= [call[3] for call in calls].count(b"q:wait") < 50
    assert {call[4] for call in calls} == {*keys}
    assert {b"7", b"paused", b"-1"} <= {call[5] for call in calls}
