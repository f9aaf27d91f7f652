"""Lets `python3 src/server.py s1 10000` find `raftline.…` in a clone that nobody installed.

Python puts the script's folder, `src/`, on its path; this package then stands for that folder.
An installed raftline never sees this file: setup.cfg maps the package `raftline` onto `src/`.
"""

__path__ = [__file__.rsplit("raftline", 1)[0]]

TYPE_CHECKING = False
if not TYPE_CHECKING:  # mypy would see one file under two names
    from raftline.__init__ import __all__, __dir__, __getattr__  # noqa: F401 - of this one, too
