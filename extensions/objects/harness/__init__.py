"""The part of the harness for replicated objects."""
