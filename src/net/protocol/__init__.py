"""A connection from outside as a machine: lines in, requests and replies out."""
