"""A plugin of pytest for CPython in WebAssembly: skip tests that need an operating system."""

from __future__ import annotations

import hashlib
import hmac

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("timeout", "of pytest-timeout, which needs signals and is not here")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout, which is not here")
    if not hasattr(hashlib, "pbkdf2_hmac"):
        hashlib.pbkdf2_hmac = pbkdf2_hmac


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        needs = {mark.args[0] for mark in item.iter_markers("needs")}
        if needs:
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(sorted(needs))}"))


def pbkdf2_hmac(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """Derive a key of the length of a digest (RFC 8018). `hashlib` offers it only with OpenSSL."""
    keyed = hmac.new(password, digestmod=name)

    def digest(text: bytes) -> bytes:
        copy = keyed.copy()
        copy.update(text)
        return copy.digest()

    block = digest(salt + b"\x00\x00\x00\x01")
    key = int.from_bytes(block)
    for _ in range(iterations - 1):
        block = digest(block)
        key ^= int.from_bytes(block)
    return key.to_bytes(len(block))
