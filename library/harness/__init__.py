"""The part of the harness for the client library."""
