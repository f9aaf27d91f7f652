"""The checks of the kit, level by level."""
