"""The ends of a check other than success, as exceptions."""

from __future__ import annotations


class Failed(Exception):
    """The node broke the rule; the message says by what."""


class NotJudged(Exception):
    """The check can't tell here; the message says why."""
