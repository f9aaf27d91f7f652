"""The faults of a schedule, changes of members, and senders that are not trusted."""
