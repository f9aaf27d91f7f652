"""The operands of commands, read and checked."""
