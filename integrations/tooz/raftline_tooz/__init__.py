"""raftline as a driver of tooz: `get_coordinator("raftline://h1:10000,h2:10000", b"member")`."""
