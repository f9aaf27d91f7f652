"""Lessons and judges of raftline: simulator, kit, controller, grader, pictures, harness."""
