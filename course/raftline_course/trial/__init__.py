"""One trial: a cluster of real servers, clients that ask it, faults at fixed moments, a report."""
