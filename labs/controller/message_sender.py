"""Sends one request to one node, as a datagram: open this file, or give arguments.

    python message_sender.py                         what is set below
    python message_sender.py Node3 SHUTDOWN          another target, another request
    python message_sender.py Node1 STORE colour blue

What comes back is shown by message_receiver.py, in a second terminal.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from names import NODE_PORT, SENDER_PORT, host_of

sender = "Controller"
target = "Node1"
request = "RETRIEVE"
# request = "STORE"
# request = "SHUTDOWN"
# request = "RESTART"
key = "Controller_Operation"
value = "Controller_Add"


def main(arguments: list[str]) -> int:
    """Send what was asked for; return 0, or 1 where it can't be sent."""
    settings = [target, request, key, value]
    settings[: len(arguments)] = arguments
    to, *fields = [*settings[:3], " ".join(settings[3:])]
    message = json.loads(Path(__file__).with_name("Message.json").read_text(encoding="utf-8"))
    message.update(zip(("request", "key", "value"), fields, strict=True), sender_name=sender)
    print(f"Request Created : {message}")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            channel.bind((host_of(sender), SENDER_PORT))
            channel.connect((host_of(to), NODE_PORT))  # so that we hear if nobody is there
            channel.send(json.dumps(message).encode("utf-8"))
            channel.settimeout(0.3)
            channel.recv(65_535)  # the answer is for the receiver; a refusal comes up here
    except TimeoutError:
        pass  # no answer yet, and nobody said that none will come
    except OSError as error:
        print(f"ERROR WHILE SENDING REQUEST ACROSS : {to}: {error.strerror or error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
