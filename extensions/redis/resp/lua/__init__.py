"""Lua 5.1 as scripts of Redis use it: a deterministic interpreter that counts its work."""
