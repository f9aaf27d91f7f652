"""The ends of a check other than success, as exceptions."""

from __future__ import annotations


class Failed(Exception):
    """The node broke the rule; the message names how."""


class NotJudged(Exception):
    """The check can't judge here; the message gives the reason."""
