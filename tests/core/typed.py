"""A typed line as a node reads it: its command, or its error."""

from __future__ import annotations

import pytest

from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, split_sender

LIMITS = Limits()


def command(line: str, limits: Limits = LIMITS) -> str:
    return read_request(*split_sender(line), limits).command


def refusal(line: str, limits: Limits = LIMITS) -> str:
    with pytest.raises(ProtocolError) as caught:
        command(line, limits)
    return str(caught.value)
