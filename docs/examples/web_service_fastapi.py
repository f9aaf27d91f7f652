"""A web service on FastAPI: GET /KEY, PUT /KEY, and a page that counts.
`web_service_fastapi.py PORT`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse

import raftline.aio


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    async with raftline.aio.connect(timeout=5) as app.state.kv:
        yield


def kv_of(request: Request) -> raftline.aio.KV[str]:
    kv: raftline.aio.KV[str] = request.app.state.kv
    return kv


KV = Annotated[raftline.aio.KV[str], Depends(kv_of)]
app = FastAPI(lifespan=connected, default_response_class=PlainTextResponse)


@app.get("/")
async def count(kv: KV) -> str:
    return f"visit {await kv.incr('visits')}"


@app.get("/{key}")
async def get(key: str, kv: KV) -> str:
    value = await kv.get("web/" + key)
    if value is None:
        raise HTTPException(404)
    return value


@app.put("/{key}", status_code=204)
async def put(key: str, request: Request, kv: KV) -> Response:
    await kv.set("web/" + key, (await request.body()).decode())
    return Response(status_code=204)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: web_service_fastapi.py PORT")
    uvicorn.run(app, host="localhost", port=int(sys.argv[1]))
