"""The grader of the lab "write Raft": its world, points and isolation (course/docs/grading.md)."""
