"""Lets `python3 src/server.py s1 10000` find `raftline.…` in a clone that nobody installed.

Python puts the script's folder, `src/`, on its path; this package then stands for that folder.
An installed raftline never sees this file: setup.cfg maps the package `raftline` onto `src/`.
"""

__path__ = [__file__.rsplit("raftline", 1)[0]]

from raftline import exports

__getattr__ = exports.exported
__dir__ = exports.names
__all__ = exports.names()
