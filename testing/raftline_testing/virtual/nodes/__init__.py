"""One simulated node: the code of a real one, with a virtual clock, disk and connections."""
