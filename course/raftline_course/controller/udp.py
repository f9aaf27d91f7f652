"""A listener for datagrams, in front of the verbs of control.py: the course's `Message.json`.

    {"sender_name": "Controller", "request": "STORE", "term": null, "key": "k", "value": "v"}

is answered by a datagram of the same five fields. course/docs/controller.md is the user's view.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

from raftline.common.config import PortRefused
from raftline.wire.commands.command_table import Request
from raftline.wire.protocol import ProtocolError, escape, shown
from raftline_course.controller.control import CONTROLLER, Control, no_order
from raftline_course.controller.leader_orders import OrderAnswer, sorry
from raftline_course.controller.orders import FAULT_FORMS, ORDERS

PORT = 5555  # the port of the course's nodes and its controller
CLOSE_S = 5.0  # for the end of the listening thread
DATAGRAM_BYTES_MAX = 65_507
AT_ONCE_MAX = 16  # datagrams being answered; more are dropped, as datagrams may be
WAIT_FOR_A_QUORUM = ("STORE", "RETRIEVE")  # with a separate limit: a HEAL must get past them
_PAGE = re.compile(r"after [0-9]{1,18}", re.ASCII)


class UdpListener:
    """A listener that takes the port at once, and answers after `open`."""

    def __init__(self, host: str, port: int) -> None:
        """Take the port.

        Raises:
            PortRefused: it isn't available; the message is one line.
        """
        self._port = port
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None
        self._places = {waits: threading.Semaphore(AT_ONCE_MAX) for waits in (False, True)}
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(info[0], socket.SOCK_DGRAM)
            self._socket.bind(info[4])
        except OSError as error:
            raise PortRefused(
                f"can't listen for datagrams on {host} port {port}: {error.strerror}; "
                "choose another with --controller-udp PORT, or leave it out"
            ) from None

    def open(
        self,
        name: str,
        control: Control,
        term: Callable[[], int],
        ignored: Callable[[str, str], None],
    ) -> None:
        """Answer from now on, in separate threads, as `name`; `term` returns its term. `ignored`
        gets the sender of each unanswered datagram, and the reason."""
        self._name, self._control, self._term, self._ignored = name, control, term, ignored
        self._listener = threading.Thread(
            target=self._listen, name=f"{name} datagrams", daemon=True
        )
        self._listener.start()

    def close(self) -> None:
        """Stop listening; the port is free at once."""
        self._closing.set()
        with contextlib.suppress(OSError):  # it isn't connected, but the waiting thread wakes
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.join(CLOSE_S)
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except ConnectionError:
                continue  # an earlier answer had no receiver
            except OSError:
                return
            if self._closing.is_set():
                return
            message = _read(data)
            why = _why_not(message)
            places = self._places[message.get("request") in WAIT_FOR_A_QUORUM]
            if not why and not places.acquire(blocking=False):
                why = f"{AT_ONCE_MAX} such requests wait for their answers already"
            if why:
                self._ignored(str(source[0]), why)
                continue
            answering = threading.Thread(
                target=self._answer,
                args=(message, source, places),
                name=f"{self._name} datagram",
                daemon=True,
            )
            try:
                answering.start()
            except RuntimeError:  # no thread is available
                places.release()

    def _answer(
        self, message: dict[str, Any], source: tuple[Any, ...], places: threading.Semaphore
    ) -> None:
        try:
            self._send(self._reply(message, str(source[0])), source)
        finally:
            places.release()

    def _reply(self, message: dict[str, Any], host: str) -> dict[str, object]:
        verb = _text(message.get("request"))
        if verb not in ORDERS:
            return self._formatted(sorry(verb[:80], no_order(verb[:80])))
        try:
            request = Request(CONTROLLER, "", "", _line(verb, message))
        except ProtocolError as mistake:
            return self._formatted(sorry(verb, mistake.refusal))
        return self._formatted(self._control.obey(request, host))

    def _formatted(self, answer: OrderAnswer) -> dict[str, object]:
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
        """Send the answer to the source of the request. The course's sender uses the port after
        ours and does not listen there: its host also gets a copy on our port number, where its
        receiver listens."""
        data = json.dumps(reply).encode()
        if len(data) > DATAGRAM_BYTES_MAX:
            data = json.dumps({**reply, **_shortened(reply)}).encode()
        copy = (source[0], self._port, *source[2:])
        with contextlib.suppress(OSError):
            self._socket.sendto(data, source)
            if source[1] == self._port + 1 and copy != self._socket.getsockname():
                self._socket.sendto(data, copy)


def _shortened(reply: dict[str, object]) -> dict[str, object]:
    """Return a replacement for a key and value that don't fit into a datagram. The STORE was
    carried out, so it isn't an error; and a key always fits."""
    if reply["request"] == "STORE":
        return {"value": f"… {len(str(reply['value']))} characters; ask over TCP to see them"}
    return {"key": "ERROR", "value": "Sorry, this is too long for a datagram; ask over TCP"}


def _read(data: bytes) -> dict[str, Any]:
    """Return the message; {} if it is invalid."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _why_not(message: dict[str, Any]) -> str:
    """Return why this datagram gets no answer; "" if it gets one.

    Only a controller gets answers: with an address forged by an attacker, two listeners that
    answered each other's complaints would never stop.
    """
    if not message:
        return "it is not a JSON object"
    sender = message.get("sender_name")
    return "" if sender == CONTROLLER else f"its sender_name is {shown(_text(sender)) or 'missing'}"


def _line(verb: str, message: dict[str, Any]) -> str:
    """Return the order as a line. A template's key and value may occur in any message; they have a
    meaning in a STORE, and the value also in the verbs of faults, and for a page of RETRIEVE.

    Raises:
        ProtocolError: they can't be used.
    """
    key, value = (_text(message.get(field)) for field in ("key", "value"))
    if verb == "STORE":
        missing = "key" if not key else "" if value or message.get("value") == "" else "value"
        if missing:
            raise ProtocolError(f"the {missing} is missing: STORE needs key and value")
        return f"STORE {escape(key, key=True)} {escape(value, key=False)}"
    if verb in FAULT_FORMS:
        words = message.get("value")
        return f"{verb} {' '.join(map(_text, words) if isinstance(words, list) else [value])}"
    if verb == "RETRIEVE" and _PAGE.fullmatch(value):
        return f"RETRIEVE {value}"
    return verb


def _text(value: object) -> str:
    """Return a text, or a number or list as JSON writes it; "" for null, and for values that are
    nested too deeply."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value)
    except RecursionError:
        return ""
