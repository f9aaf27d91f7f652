"""Workers with libraries of Redis, which run_workers.py runs."""
