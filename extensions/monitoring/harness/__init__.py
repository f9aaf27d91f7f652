"""The part of the harness for the pages of figures."""
