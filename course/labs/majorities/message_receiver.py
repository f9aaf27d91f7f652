"""Show the answers of the nodes to the controller, until Ctrl-C."""

from __future__ import annotations

import errno
import json
import signal
import socket
import sys

from names import NODE_PORT, host_of


def main() -> int:
    """Print each answer; return 0 after Ctrl-C, 1 if this machine can't listen here."""
    try:
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        channel.bind((host_of("Controller"), NODE_PORT))
    except OSError as error:
        hint = "; does one run?" if error.errno == errno.EADDRINUSE else ""
        why = f"{error.strerror or error}{hint}"
        print(f"message_receiver.py can't listen on port {NODE_PORT}: {why}")
        return 1
    print(f"Listening on {channel.getsockname()}", flush=True)
    with channel:
        try:
            while True:
                data, source = channel.recvfrom(65_535)
                print(f"Message Received : {_shown(data)} From : {source}", flush=True)
        except KeyboardInterrupt:
            return 0


def _shown(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    sys.exit(main())
