"""axe, which checks pages for readers with a screen reader, for tests."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.picture.harness.lab.sources import ROOT

AXE = ROOT / "build" / "axe" / "axe.min.js"
SERIOUS = ("serious", "critical")
RUN = """const done = arguments[0];
    axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations));"""
SCHEMES = ("light", "dark")
needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason="`make -C testing browser-parts` was not run"
)


def with_axe(browser: Any, scheme: str) -> None:
    """Give the page that is open axe, and this colour scheme; "" for the usual one."""
    features = [{"name": "prefers-color-scheme", "value": scheme}] if scheme else []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_script(AXE.read_text(encoding="utf-8"))


def violations(browser: Any) -> list[str]:
    """Return what is serious on the page that is open."""
    found: list[dict[str, Any]] = browser.execute_async_script(RUN)
    return [
        f"{one['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]
