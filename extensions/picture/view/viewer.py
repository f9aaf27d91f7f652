"""`raftline view`: serve the picture of a cluster on this machine, or save it as one page."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from raftline.clients.connections.client_access import ClientAccess
from raftline.common.address import Address
from raftline.common.config import ConfigError, complaint
from raftline.common.process.private_file import private
from raftline.wire.refusal import RequestOutcome

from .viewed_nodes import CONNECT_S, ViewedNodes

if TYPE_CHECKING:
    from .page_server import ProcessOrder

HOST = "localhost"
DEFAULT_PORT = 8765
NEEDED = "the page needs aiohttp, which is not installed: pip install 'aiohttp>=3.9'"


def check_library() -> None:
    """Check that the page can be served.

    Raises:
        ConfigError: the library for it is missing.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigError(NEEDED)


def view(members: Mapping[str, Address], access: ClientAccess, port: int) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        ConfigError: the library is missing, or the port can't be used.
    """
    check_library()
    try:
        asyncio.run(_serve(ViewedNodes(members, access), port, print))
    except KeyboardInterrupt:
        return 0
    return 0


def save(members: Mapping[str, Address], access: ClientAccess, path: Path, seconds: float) -> int:
    """Observe for this time, once all nodes have answered, and write the steps as one
    self-contained page. Returns 0: done; 6 or 8: no node let the user observe, and each for a
    failed login, or for TLS; 5: no node did so, for other reasons.

    Raises:
        ConfigError: the file can't be written.
    """
    from raftline.clients.asyncio.line_protocol import ends_within

    from .feed import PageFeed
    from .picture_page import saved_page

    async def watch(feed: PageFeed) -> None:
        task = asyncio.create_task(feed.run())
        await ends_within(feed.heard(), CONNECT_S)
        await asyncio.sleep(seconds)
        task.cancel()

    feed = PageFeed(ViewedNodes(members, access))
    asyncio.run(watch(feed))
    if not feed.kept:
        why = f"raftline: none of {', '.join(members)} answered; nothing was saved"
        print(why, file=sys.stderr)
        statuses = {*feed.exit_statuses.values()}
        return statuses.pop() if len(statuses) == 1 else RequestOutcome.REFUSED
    try:
        with open(path, "w", encoding="utf-8", opener=private) as file:  # it may hold values
            file.write(saved_page(feed.everything(), path.stem))
    except OSError as error:
        raise ConfigError(f"--save {path}: {complaint(error)}") from None
    print(f"{path} holds {len(feed.kept)} events of {seconds:g} s")
    return 0


def in_background(
    members: Mapping[str, Address],
    access: ClientAccess,
    port: int,
    say: Callable[[str], None],
    process: ProcessOrder | None = None,
) -> None:
    """Serve the page in a thread, until this program ends."""
    nodes = ViewedNodes(members, access)

    def serve() -> None:
        try:
            asyncio.run(_serve(nodes, port, say, process))
        except ConfigError as error:
            say(f"[!] {error}")

    threading.Thread(target=serve, name="view", daemon=True).start()


async def _serve(
    nodes: ViewedNodes,
    port: int,
    say: Callable[[str], None],
    process: ProcessOrder | None = None,
) -> None:
    from .feed import PageFeed
    from .page_server import Site, listening

    site = Site(PageFeed(nodes, say), process=process)
    try:
        runner, bound_port = await listening(site, HOST, port)
    except OSError as error:
        raise ConfigError(f"the page can't be served on port {port}: {complaint(error)}") from None
    try:
        key = f"#key={site.key}" if site.key else ""
        say(f"[*] the picture: http://{HOST}:{bound_port}/{key}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
