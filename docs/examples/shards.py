"""Shards that the programs which are here divide among themselves."""

import raftline

with raftline.connect() as kv:
    work = kv.partitioner("work", shards=5, ttl=5)
    with work.join("host1") as first:
        print(sorted(first.update()))
        with work.join("host2") as second:
            print(sorted(first.update()), sorted(second.update()))
            print(sorted(first.update(timeout=0)), sorted(second.update()))
            print(work.owners())
        print(sorted(first.update()))
