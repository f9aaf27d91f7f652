"""The commands of extensions: their modules `command_effects` register the functions."""

from __future__ import annotations

from ...common.extensions import joined

joined("command_effects")
