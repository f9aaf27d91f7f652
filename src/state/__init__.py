"""The effect of an applied command: pairs, sessions, objects, a program's machines. Pure."""
