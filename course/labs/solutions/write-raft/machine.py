"""The state machine of the evening's copy."""

from logmanager import Machine as Machine
