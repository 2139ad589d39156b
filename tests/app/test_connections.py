"""Unused connections do not lock others out."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from sdiff.app import server
from sdiff.app.server import connections, documents
from sdiff.app.server.connections import Connection
from tests.conftest import run

ROOM = 20


@contextmanager
def opened(port: int, n: int, send: bytes = b"", source: str = "127.0.0.1"):
    """Local connections that never send a complete request."""
    with ExitStack() as stack:
        found = []
        for _ in range(n):
            found.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 5, (source, 0))))
            found[-1].sendall(send)
        yield found


def is_open(one: socket.socket) -> bool:
    """Whether the server has not closed a connection."""
    one.settimeout(0.05)
    try:
        return one.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.fixture
def port(monkeypatch):
    """A server that allows few connections."""
    monkeypatch.setattr(connections, "CONNECTIONS", ROOM)

    async def app(scope, receive, send):
        while scope["path"] == "/wait" and (await receive())["type"] != "http.disconnect":
            pass
        while scope["path"] == "/read" and (await receive()).get("more_body"):
            pass
        await PlainTextResponse("here")(scope, receive, send)

    served = uvicorn.Server(uvicorn.Config(app, port=0, http=Connection, log_level="error", lifespan="off"))
    thread = threading.Thread(target=served.run)
    thread.start()
    while not served.started:
        time.sleep(0.005)
    yield served.servers[0].sockets[0].getsockname()[1]
    served.should_exit = served.force_exit = True
    thread.join(10)


@pytest.mark.parametrize("send", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_idle_connections_are_closed_to_make_room(port, send):
    with opened(port, 5 * ROOM, send) as idle, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/", timeout=5).text == "here"
        assert ROOM - 2 <= sum(map(is_open, idle)) <= ROOM


def test_the_address_with_the_most_connections_loses_one_first(port):
    ask = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    with opened(port, 2, ask, "127.0.0.2") as few, opened(port, 3 * ROOM, ask) as many:
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.3"), timeout=5) as client:
            assert client.get(f"http://127.0.0.1:{port}/").text == "here"
        assert all(map(is_open, few)) and not all(map(is_open, many))


def test_an_endless_request_header_is_cut_off(port):
    with opened(port, 1, b"GET / HTTP/1.1\r\nX: ") as [one], pytest.raises(OSError):
        for _ in range(100):
            one.sendall(b"x" * (1 << 16))
            time.sleep(0.001)


@pytest.mark.parametrize("path", ["/read", "/refuse"])
def test_a_connection_stays_open_whether_or_not_its_body_was_read_to_the_end(port, path):
    def answer() -> bytes:
        found = b""
        while not found.endswith(b"\r\n\r\nhere"):
            found += (more := one.recv(1 << 16))
            assert more, "the connection was closed"
        return found

    body = b"x" * (2 * connections.HEAD)
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body))
    with opened(port, 1) as [one]:
        for _ in range(2):
            one.sendall(head)
            if path == "/refuse":
                assert b" 200 " in answer()
            one.sendall(body)
            if path == "/read":
                assert b" 200 " in answer()
        one.sendall(head + body + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")  # pipelined
        assert b" 200 " in answer()


def test_endless_trailers_are_cut_off(port):
    head = b"POST /wait HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    with opened(port, 1, head) as [one], pytest.raises(OSError):
        for _ in range(100):
            one.sendall(b"X: " + b"x" * (1 << 16) + b"\r\n")
            time.sleep(0.001)


def test_connections_use_at_most_half_of_the_file_descriptors(monkeypatch):
    for files, room in ((256, 128), (1 << 20, connections.CONNECTIONS)):
        monkeypatch.setattr("resource.getrlimit", lambda _, files=files: (files, files))
        assert connections.room() == room


def test_the_app_server_uses_these_connections(demo):
    config = uvicorn.Config(server)
    config.load()
    assert config.http_protocol_class is Connection


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch):
    monkeypatch.setattr(documents, "SECONDS", 0.05)

    async def never():
        await asyncio.sleep(60)

    assert run(documents._body(never)) is None
