"""The effect of each command on the pairs. Deterministic and total."""

from . import (  # noqa: F401  they register the functions of commands
    extension_commands,
    key_commands,
    lease_commands,
    transaction_commands,
    user_commands,
)
