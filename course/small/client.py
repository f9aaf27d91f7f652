"""`python course/small/client.py PORT [NUMBER]`: ask the servers by hand; it follows the leader."""

from __future__ import annotations

import re
import socket
import sys
import time
from contextlib import suppress

NOT_LEADER = re.compile(r"Sorry, I am not the leader\. .* is: \S+ \((\S+):([0-9]+)\)")


class Client:
    """A conversation with the server that leads."""

    def __init__(self, port: int, name: str) -> None:
        self._name, self._port = name, port
        self._dial("localhost", port)

    def _dial(self, host: str, port: int) -> None:
        self._link = socket.create_connection((host, port), timeout=10)
        self._replies = self._link.makefile("rb")

    def ask(self, text: str) -> str:
        """Return the reply. Who refuses has done nothing, so another server may be asked."""
        if self._replies.closed:
            self._dial("localhost", self._port)
        for _ in range(50):
            reply = ""
            with suppress(OSError):
                self._link.sendall(f"{self._name}@{text}\n".encode(errors="surrogateescape"))
                reply = self._replies.readline().decode().rstrip("\n").partition("@")[2]
            if found := NOT_LEADER.match(reply):
                with suppress(OSError):  # a dead one is named until another leads
                    self._dial(found[1], int(found[2]))
            elif not reply.startswith("Sorry, I know of no leader"):
                break
            time.sleep(0.1)  # an election takes a second
        if not reply:
            self._replies.close()
            reply = "Sorry, outcome unknown: the server closed the connection"
        return reply


def main(words: list[str]) -> None:
    if len(words) not in (1, 2) or not all(word.isdecimal() for word in words):
        sys.exit("usage: python course/small/client.py PORT [NUMBER]")
    name = "client" + "".join(words[1:])
    try:
        client = Client(int(words[0]), name)
        while True:
            print(client.ask(input(f"{name}> " if sys.stdin.isatty() else "")), flush=True)
    except (EOFError, KeyboardInterrupt):
        pass
    except (OSError, OverflowError) as error:
        sys.exit(f"[!] {name} has no server at port {words[0]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
