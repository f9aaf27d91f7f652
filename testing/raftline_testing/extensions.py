"""The parts of the harness that belong to extensions, as the kernel's part asks for them."""

from __future__ import annotations

from types import ModuleType

from raftline.common.extensions import EXTENSIONS, modules_named


def joined(part: str) -> list[ModuleType]:
    """Return the module of this name of each extension's part of the harness that has one."""
    folders = [extension.rpartition(".")[2] for extension in EXTENSIONS]
    return modules_named(f"raftline_testing.{folder}.{part}" for folder in folders)
