"""Lets `python3 src/server.py s1 10000` find `raftline.…` in a clone that nobody installed.

Python puts the script's folder, `src/`, on its path; this package then stands for that folder,
the library and the extensions. An installed raftline never sees this file: setup.py maps the
package `raftline` onto these folders.
"""

from os.path import abspath, dirname

_ROOT = dirname(dirname(dirname(abspath(__file__))))
__path__ = [f"{_ROOT}/{folder}" for folder in ("src", "library", "extensions")]

TYPE_CHECKING = False
if not TYPE_CHECKING:  # mypy would see one file under two names
    from raftline.__init__ import __all__, __dir__, __getattr__  # noqa: F401 - of this one, too
