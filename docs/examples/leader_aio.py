"""One of several programs that leads, and the others that take over: `leader_aio.py NAME`."""

import asyncio
import sys

import raftline.aio


async def main(name: str) -> None:
    async with raftline.aio.connect() as kv:
        election = kv.election("service", ttl=5)
        async with await election.campaign(name) as held:  # waits until this program leads
            print(f"{name} leads with token {held.token}", flush=True)
            while held.is_held:
                await asyncio.sleep(0.1)  # the work of a leader, which hands on the token


if len(sys.argv) != 2:
    sys.exit("usage: leader_aio.py NAME")
asyncio.run(main(sys.argv[1]))
