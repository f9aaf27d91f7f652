"""One of several programs that leads, and the others that take over: `leader.py NAME`."""

import sys
import time

import raftline

if len(sys.argv) != 2:
    sys.exit("usage: leader.py NAME")
with raftline.connect() as kv:
    election = kv.election("service", ttl=5)
    with election.campaign(sys.argv[1]) as held:  # waits until this program leads
        print(f"{sys.argv[1]} leads with token {held.token}", flush=True)
        while held.is_held:
            time.sleep(0.1)  # the work of a leader, which hands on the token
