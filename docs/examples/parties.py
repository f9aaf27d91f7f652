"""The programs that are here."""

import raftline

with raftline.connect() as kv:
    web = kv.party("web", ttl=5)
    changes = web.observe()
    print(next(changes))
    with web.join("host1"):
        print(next(changes))
        with web.join("host2"):
            print(next(changes), web.members())
        print(next(changes))
