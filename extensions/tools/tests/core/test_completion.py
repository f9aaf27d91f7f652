"""The cluster that a completion asks: the nodes and the user of the typed line."""

from __future__ import annotations

import argparse

import pytest

from raftline.tools import completion
from raftline.tools.asking_options import add_asking_options

VALUES = {"--at": "h:7", "--timeout": "3"}


def options() -> list[str]:
    """Return the options of a request that take a value."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_cluster_options = lambda _: None  # type: ignore[attr-defined]  # as below
    add_asking_options(parser)  # type: ignore[arg-type]
    return [action.option_strings[-1] for action in parser._actions]


@pytest.mark.parametrize("option", ["--dir", "--timeout", *options()])
@pytest.mark.parametrize("rest", ["", " get a", " more --json"])
def test_completion_takes_each_typed_option_of_a_request(
    option: str, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = VALUES.get(option, "x")
    line = f"raftline get {option} {value}{rest}"
    monkeypatch.setenv("COMP_LINE", f"{line} --at behind:1")
    monkeypatch.setenv("COMP_POINT", str(len(line)))  # the rest is not typed yet
    typed = vars(completion._where())
    found = {name for name, given in typed.items() if given is not None}
    name = option.strip("-").replace("-", "_")
    assert found <= {name, "timeout"}
    assert name in found
