"""The page's server, only for this machine: files, a stream of events, lines for the nodes.

It needs aiohttp. A page of another site can't read anything or give orders here: the host name must
be this machine's, and an order must be JSON from the page itself. If there is a login or TLS, or if
the page can end processes, it has the rights of the user who started the server. Then it needs a
key, which is in the address that is printed once. The page keeps the key in memory and sends it in
a header: a cookie would go to every port of this machine.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from raftline.wire.replies.refusals import refusal_in

from .feed import PageFeed
from .picture_page import STATIC

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
HOSTS = ("localhost", "127.0.0.1", "[::1]")
KEY_HEADER = "X-Raftline-Key"
LINE_CHARACTERS_MAX = 1 << 20
CONTROLLER = "Controller"  # the sender of faults, at nodes that obey one

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ProcessOrder = Callable[[str, str], str]


class Site:
    """The answers to a browser's requests."""

    def __init__(self, feed: PageFeed, *, process: ProcessOrder | None = None) -> None:
        """Prepare the site. `process` kills, stops or starts a node's process, if this program
        started it."""
        self._feed, self._nodes = feed, feed.nodes
        self._process = process
        has_rights = feed.nodes.has_rights or process is not None
        self.key = secrets.token_urlsafe(18) if has_rights else ""
        self.app = web.Application(middlewares=[self._guard], client_max_size=4 << 20)
        self.app.add_routes(
            [
                web.get("/", self._file),
                web.get("/static/{name}", self._file),
                web.get("/favicon.ico", self._no_icon),
                web.get("/facts", self._tell_facts),
                web.get("/events", self._events),
                web.post("/line", self._line),
                web.post("/process", self._order_process),
            ]
        )
        self.app.cleanup_ctx.append(self._observing)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve only requests from this machine's page, with headers that restrict it."""
        host = request.headers.get("Host", "")
        if host.rpartition(":")[0] not in HOSTS:
            raise web.HTTPForbidden(text="this page is served only to this machine\n")
        if request.method == "POST" and not _is_own(request, f"http://{host}"):
            raise web.HTTPForbidden(text="orders are accepted only from the page\n")
        if request.match_info.handler not in (self._file, self._no_icon):
            self._check_key(request.headers.get(KEY_HEADER, ""))
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _check_key(self, key: str) -> None:
        is_right = hmac.compare_digest(key.encode("utf-8", "replace"), self.key.encode())
        if self.key and not is_right:
            raise web.HTTPForbidden(text="open the printed address, which has the key\n")

    async def _observing(self, app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._feed.run())
        yield
        task.cancel()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        path = STATIC / name
        if path.suffix not in TYPES or path not in set(STATIC.iterdir()):
            raise web.HTTPNotFound
        text = path.read_text(encoding="utf-8")
        return web.Response(text=text, content_type=TYPES[path.suffix])

    async def _no_icon(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def _tell_facts(self, request: web.Request) -> web.StreamResponse:
        members = list(self._nodes.members)
        facts = await asyncio.gather(*(self._nodes.status(name) for name in members))
        obeying = [bool(each.get("controlled")) for each in facts]
        return web.json_response(
            {"members": members, "controller": any(obeying), "processes": self._process is not None}
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue = self._feed.open_page()
        try:
            while True:
                batch = await queue.get()
                await response.write(f"data: {batch}\n\n".encode())
        except ConnectionError:
            return response
        finally:
            self._feed.close_page(queue)

    async def _line(self, request: web.Request) -> web.StreamResponse:
        node, line = await self._words(request, "node", "line")
        if node not in self._nodes.members or "\n" in line or len(line) > LINE_CHARACTERS_MAX:
            raise web.HTTPBadRequest
        try:
            answer = await self._nodes.ask(node, line)
        except OSError as error:
            return web.json_response({"answer": "", "problem": f"{node}: {error}"})
        sender, _, text = line.partition("@")
        is_done = answer and refusal_in(answer.partition("@")[2].rstrip()) is None
        if sender == CONTROLLER and is_done:
            self._feed.order(node, text)
        return web.json_response({"answer": answer, "problem": "" if answer else f"{node} hung up"})

    async def _order_process(self, request: web.Request) -> web.StreamResponse:
        node, what = await self._words(request, "node", "what")
        if self._process is None or node not in self._nodes.members:
            raise web.HTTPBadRequest
        answer = await asyncio.to_thread(self._process, node, what)
        self._feed.order(node, what)
        return web.json_response({"answer": answer, "problem": ""})

    async def _words(self, request: web.Request, *names: str) -> list[str]:
        try:
            asked: Any = json.loads(await request.text())
            words = [asked[name] for name in names]
        # This includes an unknown encoding, and lists that are nested too deep.
        except (ValueError, LookupError, TypeError, RecursionError):
            raise web.HTTPBadRequest from None
        if not all(isinstance(word, str) for word in words):
            raise web.HTTPBadRequest
        return words


def _is_own(request: web.Request, origin: str) -> bool:
    """Return whether an order comes from the page that this server sent."""
    is_json = request.content_type == "application/json"
    return is_json and request.headers.get("Origin") == origin


async def listening(site: Site, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start serving. Return the runner and the port. For port 0, any free port is used.

    Raises:
        OSError: the port can't be used.
    """
    runner = web.AppRunner(site.app, handle_signals=False, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    place = web.TCPSite(runner, host, port)
    await place.start()
    bound_port: int = runner.addresses[0][1]
    return runner, bound_port
