"""The arguments of all commands, their completion and their manual."""
