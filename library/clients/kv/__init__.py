"""A program's typed view of the cluster: `raftline.connect()` and `raftline.aio.connect()`."""
