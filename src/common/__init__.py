"""Shared by all programs: configuration, arguments, console, signals. Imports no other room."""
