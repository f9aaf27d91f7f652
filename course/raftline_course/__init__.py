"""What teaches or judges with raftline: simulator, kit, controller, grader, pictures, harness."""
