from __future__ import annotations

import argparse
import contextlib
import http.client
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from raftline.common.address import Endpoint, as_endpoint, is_own_name
from raftline.common.config import PortRefused
from raftline.monitoring import http_listener
from raftline.monitoring.endpoints import HttpAnswer, Pages
from raftline.monitoring.http_listener import MonitorListener
from raftline.net.connections.file_limit import raise_file_limit
from raftline_testing.nodes.processes import eventually, free_ports

HALF = 500  # connections of half requests


@contextlib.contextmanager
def opened(
    place: Endpoint, patience_s: float = 5.0, name: str = "s1", names: Collection[str] = ()
) -> Iterator[MonitorListener]:
    pages = Pages()
    pages.by_path["/long"] = lambda: HttpAnswer(200, "x" * (8 << 20))
    pages.by_path["/broken"] = lambda: HttpAnswer(200, str(1 // 0))
    door = MonitorListener(place, pages, patience_s, names)
    door.open(name, lambda _: None)
    try:
        yield door
    finally:
        door.close()


@pytest.fixture
def place() -> Endpoint:
    return Endpoint("127.0.0.1", next(free_ports))


def fetched(place: Endpoint, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(place.host, place.port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_node_reading_its_files_is_healthy_but_not_ready(place: Endpoint) -> None:
    """Before a node has read its files it is healthy and not ready."""
    with opened(place):
        assert fetched(place, "/health") == (200, "ok: reading its files\n")
        for page in ("/ready", "/leader", "/metrics", "/status"):
            assert fetched(place, page) == (503, "not ready: reading its files\n")


def test_missing_and_broken_pages_are_reported(place: Endpoint) -> None:
    """Pages that are not there and pages that break are reported."""
    with opened(place):
        status, text = fetched(place, "/")
        assert (status, "/health /ready /leader /metrics /status" in text) == (404, True)
        status, text = fetched(place, "/broken")
        assert (status, text.startswith("this page can't be made: ZeroDiv")) == (500, True)
        assert fetched(place, "/health?x=1")[0] == 200
        assert fetched(place, "/health", "HEAD") == (200, "")
        assert fetched(place, "/health", "DELETE")[0] == 501


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GETS"])
def test_the_door_only_reads(place: Endpoint, method: str) -> None:
    """Nothing but GET and HEAD is understood, whatever the page."""
    with opened(place) as door:
        made: list[str] = []

        def counted(path: str, page: Callable[[], HttpAnswer]) -> Callable[[], HttpAnswer]:
            return lambda: (made.append(path), page())[1]

        pages = door.pages.by_path
        door.pages.by_path = {path: counted(path, page) for path, page in pages.items()}
        for path in pages:
            assert fetched(place, path, method)[0] == 501
        assert made == []
        assert fetched(place, "/health")[0] == 200
        assert made == ["/health"]


def test_a_port_alone_is_one_of_this_machine() -> None:
    """Others reach the door only where an address of the network was typed."""
    alone = as_endpoint("9100")
    assert (alone.host, alone.is_open_to_network) == ("localhost", False)
    with opened(as_endpoint(str(next(free_ports)))) as door:
        assert ipaddress.ip_address(door.server_address[0]).is_loopback


def test_slow_askers_and_readers_delay_nobody(place: Endpoint) -> None:
    """Nobody who asks slowly or reads slowly keeps the others waiting."""
    with opened(place, patience_s=60.0, name="slow"), contextlib.ExitStack() as stack:
        for number in range(100):
            slow = socket.create_connection(place[:2])
            stack.enter_context(slow)
            slow.sendall(b"GET /long HTTP/1.0\r\n\r\n" if number % 2 else b"GET /hea")
        assert fetched(place, "/health")[0] == 200
        answering = [one for one in threading.enumerate() if one.name == "slow http answers"]
        assert len(answering) <= http_listener.HTTP_THREADS


def test_five_hundred_half_requests_hold_no_scrape_up(place: Endpoint) -> None:
    raise_file_limit(2 * HALF)
    with opened(place, patience_s=600.0, name="half") as door, contextlib.ExitStack() as stack:
        for number in range(HALF):
            half = stack.enter_context(socket.create_connection(place[:2], 20))
            with contextlib.suppress(OSError):  # the door has hung up on the first ones
                half.sendall(b"GET /metrics HTTP/1.1\r\nX-" + b"a" * (8 * number))
        assert fetched(place, "/metrics") == (503, "not ready: reading its files\n")
        assert len(door._connections) <= http_listener.HTTP_CONNECTIONS
        threads = [one for one in threading.enumerate() if one.name.startswith("half http")]
        assert len(threads) <= http_listener.HTTP_THREADS + 1


def test_who_came_first_is_hung_up_on_if_all_places_are_taken(
    place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_listener, "HTTP_CONNECTIONS", 3)
    with opened(place, patience_s=60.0), contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(place[:2], 60)) for _ in range(8)]
        assert fetched(place, "/health")[0] == 200
        assert [one.recv(1) for one in slow[:6]] == [b""] * 6


def test_a_page_is_made_once_for_all_who_ask_meanwhile(place: Endpoint) -> None:
    asked, may_end, made = threading.Event(), threading.Event(), []

    def slow() -> HttpAnswer:
        made.append(1)
        asked.set()
        may_end.wait(60)
        return HttpAnswer(200, f"{len(made)}\n")

    with opened(place) as door, contextlib.ExitStack() as stack:
        door.pages.by_path["/slow"] = slow
        askers = [stack.enter_context(socket.create_connection(place[:2], 60)) for _ in range(50)]
        askers[0].sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        assert asked.wait(60)
        for asker in askers[1:]:
            asker.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        assert eventually(lambda: len(door._waiting.get("/slow", [])) == 49)
        askers[49].close()
        assert fetched(place, "/health")[0] == 200
        may_end.set()
        said = [asker.makefile().read().rpartition("\n\n")[2] for asker in askers[:49]]
        assert said == ["1\n", *["2\n"] * 48]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9100", 200), ("192.0.2.7", 200), ("[::1]:9100", 200), ("::1", 200),
        ("localhost", 200), ("LocalHost.:9100", 200), ("s1.example.com:9100", 200),
        ("S1.Example.Com", 200), ("evil.example", 403), ("evil.example:9100", 403),
        ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403), ("[x]", 403),
        ("127.0.0.1\r\nHost: evil.example", 400),
    ],
)  # fmt: skip
def test_a_request_to_a_name_of_another_is_refused(place: Endpoint, host: str, status: int) -> None:
    """A web page of that name can't read this node by way of its reader's browser."""
    names = {"s1.example.com"}
    with opened(place, names=names), socket.create_connection(place[:2], 20) as asker:
        asker.sendall(f"GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        said = asker.makefile().read()
    assert said.split()[1] == str(503 if status == 200 else status)
    assert ("--advertise NAME:PORT" in said) == (status == 403)


def test_an_empty_name_is_not_a_name() -> None:
    assert not is_own_name("", {""})


@pytest.mark.parametrize("line", ["GET /health", "GET /health FTP/1.0", "", "\x16\x03\x01 x"])
def test_malformed_request_of_http_is_answered_so(place: Endpoint, line: str) -> None:
    with opened(place), socket.create_connection(place[:2], 20) as asker:
        asker.sendall(f"{line}\r\n\r\n".encode())
        assert asker.makefile().read().startswith("HTTP/1.0 400 Bad Request\n")


def test_endless_or_too_long_request_is_hung_up_on(place: Endpoint) -> None:
    """A request without an end and one that is too long are hung up on."""
    with opened(place, patience_s=0.2):
        for begin in (b"", b"GET /health HTTP/1.0\r\nx: ", b"x" * 9000):
            with socket.create_connection(place[:2], 20) as asker:
                asker.sendall(begin)
                with contextlib.suppress(ConnectionResetError):
                    assert asker.recv(100) == b""


def test_a_port_in_use_is_refused_in_one_line(place: Endpoint) -> None:
    with opened(place), pytest.raises(PortRefused, match=r"--http 127\.0\.0\.1:\d+: can't listen"):
        MonitorListener(place, Pages())


def test_unix_socket_is_served_and_goes_with_the_node(tmp_path: Path) -> None:
    """A socket in the file system is served and goes with the node."""
    path = tmp_path / "s1.http"
    with opened(Endpoint(path=str(path))):
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(path))
            asker.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert asker.makefile().read().endswith("ok: reading its files\n")
        with pytest.raises(PortRefused, match="in use"):
            MonitorListener(Endpoint(path=str(path)), Pages())
    assert not path.exists()


def test_stale_socket_is_taken_over_and_another_file_is_not(tmp_path: Path) -> None:
    """A socket that a killed node left is taken over and another file is not."""
    path = tmp_path / "s1.http"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with opened(Endpoint(path=str(path))):
        assert path.is_socket()
    path.write_text("mine")
    with pytest.raises(PortRefused):
        MonitorListener(Endpoint(path=str(path)), Pages())
    assert path.read_text() == "mine"
    os.unlink(path)


def test_socket_with_a_deaf_listener_is_refused_at_once(tmp_path: Path) -> None:
    """A socket whose listener takes nobody is refused and not waited for."""
    path = str(tmp_path / "door")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)  # it takes the one place
        with pytest.raises(PortRefused, match="can't listen there: "):
            MonitorListener(Endpoint(path=path), Pages())


@pytest.mark.parametrize(
    ("text", "place", "is_open"),
    [
        ("9100", Endpoint("localhost", 9100), False),
        ("0.0.0.0:9100", Endpoint("0.0.0.0", 9100), True),
        ("[::1]:9100", Endpoint("::1", 9100), False), ("h1:9100", Endpoint("h1", 9100), True),
        ("unix:/run/x", Endpoint(path="/run/x"), False),
    ],
)  # fmt: skip
def test_a_place_is_a_port_a_host_and_a_port_or_a_path(
    text: str, place: Endpoint, is_open: bool
) -> None:
    assert as_endpoint(text) == place
    assert place.is_open_to_network == is_open
    assert as_endpoint(str(place)) == place


@pytest.mark.parametrize("text", ["", "x", "0", "70000", "h:", ":1", "unix:", "a b:1", "h:x"])
def test_malformed_place_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        as_endpoint(text)
