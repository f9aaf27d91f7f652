"""A nightly job that one of several machines does: `cron_lock_aio.py COMMAND`, on asyncio."""

import asyncio
import os
import sys

import raftline.aio


async def main(command: list[str]) -> int:
    async with raftline.aio.connect() as kv:
        job = kv.lock("nightly", ttl=10)
        held = await job.acquire(timeout=0)
        if held is None:
            sys.exit(f"not begun: it runs as {await job.holder()}")
        environment = {**os.environ, "TOKEN": str(held.token)}
        async with held:  # its end raises LeaseLost if somebody else may have begun meanwhile
            try:
                process = await asyncio.create_subprocess_exec(*command, env=environment)
                return await process.wait()
            except OSError as problem:
                sys.exit(f"it can't be run: {problem}")


if not sys.argv[1:]:
    sys.exit("usage: cron_lock_aio.py COMMAND")
sys.exit(asyncio.run(main(sys.argv[1:])))
