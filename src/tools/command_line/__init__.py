"""The arguments of all commands, and their completion."""
