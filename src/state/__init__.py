"""What an applied command does: the pairs, sessions, objects, a program's own machine. Pure."""
