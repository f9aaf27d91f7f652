"""A nightly job that cron begins on every machine, and one of them does: `cron_lock.py COMMAND`."""

import os
import subprocess
import sys

import raftline

if not sys.argv[1:]:
    sys.exit("usage: cron_lock.py COMMAND")
with raftline.connect() as kv:
    job = kv.lock("nightly", ttl=10)
    held = job.acquire(timeout=0)
    if held is None:
        sys.exit(f"not begun: it runs as {job.holder()}")
    environment = {**os.environ, "TOKEN": str(held.token)}
    with held:  # its end raises LeaseLost if somebody else may have begun meanwhile
        try:
            done = subprocess.run(sys.argv[1:], env=environment, check=False)
        except OSError as problem:
            sys.exit(f"it can't be run: {problem}")
    sys.exit(done.returncode)
