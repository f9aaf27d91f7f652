"""A nightly job that cron begins on every machine, and one of them does: `cron_lock.py COMMAND`."""

import os
import subprocess
import sys

import raftline

with raftline.connect() as kv:
    job = kv.lock("nightly", ttl=10)
    token = job.acquire(timeout=0)
    if token is None:
        sys.exit(f"not begun: it runs as {job.holder()}")
    done = subprocess.run(sys.argv[1:], env={**os.environ, "TOKEN": str(token)}, check=False)
    job.release()  # raises LeaseLost if somebody else may have begun meanwhile
    sys.exit(done.returncode)
