"""One request of a program: its line, its reply, and the methods made of both."""
