"""Sends one request to one node, as a datagram: open this file, or give arguments.

    python3 message_sender.py                         what is set below
    python3 message_sender.py Node3 SHUTDOWN          another target, another request
    python3 message_sender.py Node1 STORE colour blue
    python3 message_sender.py Node1 DROP 30% Node2

message_receiver.py, in a second terminal, shows the answer.
"""

from __future__ import annotations

import contextlib
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
value = "Controller_Add"  # what a STORE stores; the words of DROP, DELAY and so on; else ignored


def main(arguments: list[str]) -> int:
    """Send the request; return 0, 1 if it can't be sent, 2 if there is no template."""
    if arguments and arguments[0].startswith("-"):
        print(__doc__)
        return 0
    to, *fields = _asked(arguments)
    try:
        message = json.loads(Path(__file__).with_name("Message.json").read_text(encoding="utf-8"))
        message.update(zip(("request", "key", "value"), fields, strict=True), sender_name=sender)
    except (OSError, ValueError, AttributeError) as error:
        print(
            f"Message.json is not a JSON object ({error}); `git checkout Message.json` restores it"
        )
        return 2
    print(f"Request Created : {message}")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            _send(channel, to, json.dumps(message).encode("utf-8"))
    except (socket.gaierror, UnicodeError):  # UnicodeError: an invalid name
        complaint = "nobody of this name is found; is it spelled right, and is it up?"
    except ConnectionRefusedError:
        complaint = f"nobody listens there on port {NODE_PORT}; is it up, with --controller-udp?"
    except OSError as error:
        complaint = error.strerror or str(error)
    else:
        return 0
    print(f"ERROR WHILE SENDING REQUEST ACROSS : {to}: {complaint}")
    return 1


def _asked(arguments: list[str]) -> tuple[str, str, str | None, str | None]:
    """Return target, request, key and value: by default the values set above."""
    if len(arguments) < 2:
        return (arguments or [target])[0], request, key, value
    to, verb, *words = arguments
    if verb != "STORE":
        return to, verb, None, " ".join(words).strip() or None
    if not words:
        return to, verb, key, value
    return to, verb, words[0], " ".join(words[1:]) if words[1:] else None


def _send(channel: socket.socket, to: str, data: bytes) -> None:
    """Send, and wait a moment for a report that nothing listens there.

    Raises:
        OSError, UnicodeError: it can't be sent.
    """
    if not to:
        raise UnicodeError  # which a resolver resolves to this machine
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        channel.bind((host_of(sender), SENDER_PORT))
    except OSError as error:
        raise OSError(0, f"{sender} can't speak from port {SENDER_PORT} ({error})") from None
    channel.connect((host_of(to), NODE_PORT))  # so that we learn if nothing listens there
    channel.send(data)
    channel.settimeout(0.3)
    with contextlib.suppress(TimeoutError):  # no answer yet, and no refusal
        channel.recv(65_535)  # the answer goes to the receiver; a refusal arrives here


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
