"""How a process hears Ctrl-C, and ends with its starter."""
