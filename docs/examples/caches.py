"""A copy of some keys in memory, which a watch keeps up to date."""

import raftline

with raftline.connect() as kv:
    kv.set("colours/door", "blue")
    with kv.cached("colours/") as cache:
        print(cache["colours/door"], len(cache))
        kv.set("colours/door", "green")
        cache.sync()  # the copy has this write now, and all that were acknowledged before
        print(cache["colours/door"], cache.get("colours/roof"), cache.age < 1)
