"""What clients saw, and whether one order of operations explains it."""
