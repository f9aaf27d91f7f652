"""Nodes with a script, and clients that send them a pipeline."""

from __future__ import annotations

from collections.abc import Callable

import raftline
from raftline.clients.calls.pipeline import BasePipeline
from raftline.wire.refusal import error
from raftline_testing.doubles.scripted_node import ScriptedNode

Fill = Callable[[BasePipeline[str]], object]


class Store:
    """The answers of a node; a number of a session counts once, as a cluster has it."""

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self.sessions = 0

    def answer(self, command: str) -> str:
        verb, _, rest = command.partition(" ")
        key, _, value = rest.partition(" ")
        match verb:
            case "session":
                self.sessions += 1
                return f"SESSION response: program-{self.sessions}"
            case "set":
                self.pairs[key] = value
                return f"SET response: {key} set to {value}"
            case "incr" if key == "word":
                return error("the value of word is not a whole number. Nothing was done.")
            case "incr":
                self.pairs[key] = str(int(self.pairs.get(key, "0")) + 1)
                return f"INCR response: {self.pairs[key]}"
            case "get" if key in self.pairs:
                return f"GET response: {self.pairs[key]}"
            case "get":
                return f"GET response, no such key: {key}"
        return error(f"what is {command}")


def asks_for_no_members(kv: raftline.KV[str]) -> None:
    """A script that answers meets no question for the members."""
    kv._shared.clients.addresses.asks(1e12)


def of_threads(at: str, fill: Fill, timeout: float = 30.0) -> None:
    with raftline.connect(at, timeout=timeout) as kv:
        asks_for_no_members(kv)
        with kv.pipeline() as batch:
            fill(batch)


def at(*nodes: ScriptedNode) -> str:
    return ",".join(f"localhost:{node.port}" for node in nodes)
