"""The installed programs and `python -m raftline`. Each handles Ctrl-C quietly from the start."""

from __future__ import annotations

import sys

from .common.process.quiet_exit import end_quietly


def raftline() -> int:
    """Run `raftline`; return its exit code."""
    end_quietly()
    from . import cli

    return cli.main()


def server() -> int:
    """Run `raftline-server`; return its exit status."""
    end_quietly()
    from . import server

    return server.main()


def client() -> int:
    """Run `raftline-client`; return its exit code."""
    end_quietly()
    from . import client

    return client.main()


if __name__ == "__main__":
    sys.exit(raftline())
