"""The package of an editable install. Its modules are those of `src/`, `library/` and
`extensions/` in this clone.

setup.py puts the folder above this one on Python's path. A package with an `__init__.py` comes
before any plain folder called `raftline`, wherever that lies: the clone itself, say.
"""

# jedi does not read `__path__`. The words extend_path(__path__ make it search all of sys.path, and
# find build/typing, which deploy/rules.mk puts there.
_ROOT = __file__.rsplit("/", 4)[0]
__path__ = [f"{_ROOT}/{folder}" for folder in ("src", "library", "extensions")]

TYPE_CHECKING = False
if not TYPE_CHECKING:  # mypy would see one file under two names
    from raftline.__init__ import __all__, __dir__, __getattr__  # noqa: F401 - of this one, too
