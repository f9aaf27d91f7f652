"""A web service on asyncio: GET /KEY, PUT /KEY, and a page that counts. `web_service.py PORT`."""

import sys
from collections.abc import AsyncIterator

from aiohttp import web

import raftline.aio

KV = web.AppKey("kv", raftline.aio.KV[str])


async def connected(app: web.Application) -> AsyncIterator[None]:
    async with raftline.aio.connect(timeout=5) as app[KV]:
        yield


async def get(request: web.Request) -> web.Response:
    value = await request.app[KV].get("web/" + request.match_info["key"])
    return web.Response(text=value) if value is not None else web.Response(status=404)


async def put(request: web.Request) -> web.Response:
    await request.app[KV].set("web/" + request.match_info["key"], await request.text())
    return web.Response(status=204)


async def count(request: web.Request) -> web.Response:
    return web.Response(text=f"visit {await request.app[KV].incr('visits')}")


app = web.Application()
app.cleanup_ctx.append(connected)
app.add_routes([web.get("/", count), web.get("/{key}", get), web.put("/{key}", put)])

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: web_service.py PORT")
    web.run_app(app, host="localhost", port=int(sys.argv[1]))
