"""The installed programs, and `python -m raftline`: each is quiet about Ctrl-C from the start."""

from __future__ import annotations

import sys

from .common.quiet_exit import end_quietly


def raftline() -> int:
    """Be `raftline`; return its exit code."""
    end_quietly()
    from . import cli

    return cli.main()


def server() -> int:
    """Be `raftline-server`; return its exit status."""
    end_quietly()
    from . import server

    return server.main()


def client() -> int:
    """Be `raftline-client`; return its exit code."""
    end_quietly()
    from . import client

    return client.main()


if __name__ == "__main__":
    sys.exit(raftline())
