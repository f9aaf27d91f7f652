"""One trial: a cluster of real servers, its clients, faults at fixed moments, and a report."""
