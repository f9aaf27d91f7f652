"""How an interpreter was compiled, by what its build recorded."""

from __future__ import annotations

import pytest

from raftline.common.interpreter import is_optimized

USE = "-fprofile-use -fprofile-correction"  # recorded by each build from source


@pytest.mark.parametrize(
    ("variables", "known"),
    [
        ({"CONFIG_ARGS": "'--prefix=/usr' '--enable-shared'", "PGO_PROF_USE_FLAG": USE}, False),
        ({"CONFIG_ARGS": "", "PGO_PROF_USE_FLAG": USE}, False),
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'", "PGO_PROF_USE_FLAG": USE}, True),
        ({"CONFIG_ARGS": "'--prefix=/usr' '--enable-ipv6'", "PGO_PROF_USE_FLAG": ""}, True),
        ({"CONFIG_ARGS": "'--with-lto'"}, False),
        ({}, None),
    ],
    ids=["pyenv", "make", "python.org", "Debian", "flags not recorded", "Windows"],
)
def test_profile_is_told_by_what_the_build_recorded(
    variables: dict[str, str], known: bool | None
) -> None:
    assert is_optimized(variables) is known
