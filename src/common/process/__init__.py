"""This process: its threads, signals, streams, console and memory."""
