"""Five tasks that share one lock, and have it one after the other: `shared_lock.py`."""

import asyncio

import raftline.aio


async def handle(lock: raftline.aio.Lock, number: int) -> None:
    async with lock as held:
        print(f"{number} has it with token {held.token}")


async def main() -> None:
    async with raftline.aio.connect() as kv:
        lock = kv.lock("nightly")
        await asyncio.gather(*(handle(lock, number) for number in range(5)))


asyncio.run(main())
