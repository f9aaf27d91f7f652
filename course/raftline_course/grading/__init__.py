"""The grader of the lab "write Raft": one world, points, isolation (course/docs/grading.md)."""
