"""How tests and campaigns are run: lanes, progress, copies of the tree, the night."""
