"""Classes of the compiled wheel from which Python classes may be derived.

mypyc requires a decorator for that, from a package that is installed only for compilation. In a
clone, the decorator in this module does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    _Class = TypeVar("_Class", bound=type)

    def mypyc_attr(**_: bool) -> Callable[[_Class], _Class]:
        """Return a decorator that leaves a class unchanged."""
        return lambda decorated: decorated
