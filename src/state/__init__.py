"""The effect of an applied command: pairs, sessions, objects, a program's machines. Pure."""

from . import (  # noqa: F401  they register the functions of commands
    commands,
    leasecommands,
    objectcommands,
    transactions,
)
