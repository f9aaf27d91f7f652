"""The grader's own test, and the hand-ins that it grades."""
