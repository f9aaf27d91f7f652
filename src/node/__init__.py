"""The program around the consensus core: threads, queues, the disk writer, snapshots, watches."""
