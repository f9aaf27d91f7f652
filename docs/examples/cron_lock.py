"""A nightly job that cron begins on every machine, and one of them does: `cron_lock.py COMMAND`."""

import os
import subprocess
import sys

import raftline

if not sys.argv[1:]:
    sys.exit("usage: cron_lock.py COMMAND")
with raftline.connect() as kv:
    job = kv.lock("nightly", ttl=10)
    token = job.acquire(timeout=0)
    if token is None:
        sys.exit(f"not begun: it runs as {job.holder()}")
    try:
        done = subprocess.run(sys.argv[1:], env={**os.environ, "TOKEN": str(token)}, check=False)
    except OSError as problem:
        sys.exit(f"it can't be run: {problem}")
    finally:
        job.release()  # raises LeaseLost if somebody else may have begun meanwhile
    sys.exit(done.returncode)
