"""The package of an editable install: its modules are those of this clone, in `src/`.

setup.py puts the folder above this one on Python's path. A package with an `__init__.py` comes
before any plain folder called `raftline`, wherever that lies: the clone itself, say.
"""

# jedi reads no `__path__`. At the text extend_path(__path__ it looks through all of sys.path, and
# finds build/typing, which deploy/rules.mk puts there.
__path__ = [__file__.rsplit("/", 4)[0] + "/src"]

TYPE_CHECKING = False
if not TYPE_CHECKING:  # mypy would see one file under two names
    from raftline.__init__ import __all__, __dir__, __getattr__  # noqa: F401 - of this one, too
