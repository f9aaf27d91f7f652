"""The settings of a program on asyncio, kept in the cluster: each change is there at once."""

import asyncio

import raftline.aio


async def main() -> None:
    settings: dict[str, str] = {}
    async with raftline.aio.connect() as kv:
        async for event in kv.watch("app/"):
            if event.value is None:
                settings.pop(event.key, None)
            else:
                settings[event.key] = event.value
            print(settings, flush=True)


asyncio.run(main())
