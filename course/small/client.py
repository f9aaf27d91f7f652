"""`python course/small/client.py PORT [NUMBER]`: ask the servers by hand; it follows the leader."""

from __future__ import annotations

import re
import socket
import sys
import time
from contextlib import suppress

NOT_LEADER = re.compile(r"Sorry, I am not the leader\. .* is: \S+ \((\S+):([0-9]+)\)")

AGAIN = ("Sorry, I know of no leader", "Sorry, outcome unknown")


class Client:
    """A conversation with the server that leads."""

    def __init__(self, port: int, name: str) -> None:
        self._name, self._port = name, port
        self._number = time.time_ns() // 1_000_000  # above those of an earlier client of this name
        self._dial("localhost", port)

    def _dial(self, host: str, port: str | int) -> None:
        self._link = socket.create_connection((host, int(port)), timeout=10)
        self._replies = self._link.makefile("rb")

    def ask(self, text: str) -> str:
        """Return the reply. Each try has the same number, so the servers execute the request once,
        also if an earlier try was executed and its reply was lost (§8)."""
        self._number += 1
        line = f"{self._name}#{self._number}@{text}\n".encode(errors="surrogateescape")
        for _ in range(50):
            reply = ""
            with suppress(OSError):
                self._link.sendall(line)
                reply = self._replies.readline().decode().rstrip("\n").partition("@")[2]
            found = NOT_LEADER.match(reply)
            if reply and not found and not reply.startswith(AGAIN):
                return reply
            if found or not reply:
                with suppress(OSError):  # a dead one is named until another leads
                    self._dial(*(found.groups() if found else ("localhost", self._port)))
            time.sleep(0.1)  # an election takes a second
        return reply or "Sorry, outcome unknown: no server answers"


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
