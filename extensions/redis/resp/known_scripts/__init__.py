"""The scripts that libraries send, recognised by their text and run as commands."""
