"""Locks, elections, semaphores, queues, parties, barriers and partitioners: an extension."""
