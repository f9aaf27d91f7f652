"""A typed client of real nodes."""

from __future__ import annotations

from tests.processes.conftest import kv as kv
from tests.processes.conftest import nothing_from_before as nothing_from_before
from tests.processes.conftest import three as three
