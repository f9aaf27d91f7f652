"""The effect of an applied command: pairs, sessions, a program's machines. Pure."""
