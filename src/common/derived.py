"""Classes of the compiled wheel that Python classes may be derived from.

mypyc asks for that in a decorator, which is in a package for the time of compiling alone. Here it
is for a clone: it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    _Class = TypeVar("_Class", bound=type)

    def mypyc_attr(**_: bool) -> Callable[[_Class], _Class]:
        """Return a decorator that leaves a class as it is."""
        return lambda decorated: decorated
