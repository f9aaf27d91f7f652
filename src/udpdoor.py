"""A door for datagrams, in front of the verbs of control.py: the course's `Message.json`.

    {"sender_name": "Controller", "request": "STORE", "term": null, "key": "k", "value": "v"}

is answered by a datagram of the same five fields. docs/controller.md is the user's view.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from raftline.control import VERBS, Control, no_order
from raftline.doors import PortRefused
from raftline.escapes import ProtocolError, escape
from raftline.faultverbs import FORMS
from raftline.permits import CONTROLLER
from raftline.requests import Request
from raftline.storing import Answer, sorry

PORT = 5555  # where the course's nodes and its controller listen
DATAGRAM_BYTES_MAX = 65_507
AT_ONCE_MAX = 16  # datagrams that are being answered; more are dropped, as datagrams are


class UdpDoor:
    """Listens from the start; answers once it was opened."""

    def __init__(self, host: str, port: int) -> None:
        """Take the port.

        Raises:
            PortRefused: it can't be had; one line says why.
        """
        self._port = port
        self._places = threading.Semaphore(AT_ONCE_MAX)
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(info[0], socket.SOCK_DGRAM)
            self._socket.bind(info[4])
        except OSError as error:
            raise PortRefused(
                f"can't listen for datagrams on {host} port {port}: {error.strerror}; "
                "choose another with --controller-udp PORT, or leave it out"
            ) from None

    def open(self, name: str, control: Control, term: Callable[[], int]) -> None:
        """Answer from now on, in threads of their own, as `name`; `term` gives its term."""
        self._name, self._control, self._term = name, control, term
        threading.Thread(target=self._listen, name=f"{name} datagrams", daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except ConnectionError:
                continue  # an earlier answer found nobody
            except OSError:
                return  # closed
            if not self._places.acquire(blocking=False):
                continue
            answering = threading.Thread(
                target=self._answer, args=(data, source), name=f"{self._name} datagram", daemon=True
            )
            try:
                answering.start()
            except RuntimeError:  # no thread to be had
                self._places.release()

    def _answer(self, data: bytes, source: tuple[Any, ...]) -> None:
        try:
            reply = self._reply(data, str(source[0]))
            if reply is not None:
                self._send(reply, source)
        finally:
            self._places.release()

    def _reply(self, data: bytes, host: str) -> dict[str, object] | None:
        """Return the answer to one datagram; None where there is to be none.

        Nobody but a controller is answered: two doors that answered each other's complaints,
        because somebody forged a sender's address, would never stop.
        """
        message = _read(data)
        if message.get("sender_name") != CONTROLLER:
            return None
        verb = message.get("request")
        if not isinstance(verb, str) or verb not in VERBS:
            said = str(verb)[:80]
            return self._spelled(sorry(said, no_order(said)))
        try:
            request = Request(CONTROLLER, "", "", _line(verb, message))
        except ProtocolError as mistake:
            return self._spelled(Answer(verb, f"Sorry, {mistake}", is_done=False))
        return self._spelled(self._control.obey(request, host))

    def _spelled(self, answer: Answer) -> dict[str, object]:
        key, value = answer.key, answer.value
        if not answer.is_done:
            key, value = "ERROR", answer.text
        elif not key:
            value = answer.text
        term = self._term()
        return {
            "sender_name": self._name, "request": answer.verb, "term": term, "key": key or None,
            "value": value,
        }  # fmt: skip

    def _send(self, reply: dict[str, object], source: tuple[Any, ...]) -> None:
        """Answer to where the request came from. The course's sender speaks from the port behind
        ours and does not listen there: its host gets a copy on our own port number, where its
        receiver does."""
        data = json.dumps(reply).encode()
        if len(data) > DATAGRAM_BYTES_MAX:
            long = {"key": "ERROR", "value": "Sorry, this is too long for a datagram; ask over TCP"}
            data = json.dumps({**reply, **long}).encode()
        copy = (source[0], self._port, *source[2:])
        with contextlib.suppress(OSError):
            self._socket.sendto(data, source)
            if source[1] == self._port + 1 and copy != self._socket.getsockname():
                self._socket.sendto(data, copy)


def _read(data: bytes) -> dict[str, Any]:
    """Return the message; {} where it is none."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _line(verb: str, message: dict[str, Any]) -> str:
    """Return the order as a line. A template's key and value may stand in any message; they mean
    something in a STORE, and the value in the verbs that bring faults about.

    Raises:
        ProtocolError: they are of no use.
    """
    if verb == "STORE":
        key, value = (_text(message.get(field)) for field in ("key", "value"))
        if not key:
            raise ProtocolError("the key is missing: STORE needs key and value")
        return f"STORE {escape(key, key=True)} {escape(value, key=False)}"
    if verb in FORMS:
        return f"{verb} {_text(message.get('value'))}".rstrip()
    return verb


def _text(value: object) -> str:
    """Return a text, or a number or list as JSON spells it; "" for null."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)
