"""Connections that do not end by themselves, on real sockets, with a service of a few lines."""

import resource
import socket
import threading
import time
from contextlib import closing, contextmanager

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from fmnist_utils.service.fairness import Shares
from fmnist_utils.service.limits import Limits
from fmnist_utils.service.protocol import bounded

SECONDS = 0.4
LARGE = 20_000_000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
MEMORY = Shares(6 * LARGE)


async def app(scope, receive, send):
    request, text = Request(scope, receive), "done"
    if scope["path"] == "/body":
        text = str(len(await request.body()))
    elif scope["path"] == "/large":
        text = "a" * LARGE
    await PlainTextResponse(text)(scope, receive, send)


@contextmanager
def served(**limits):
    """Serve; give a way to connect, and the server."""
    protocol = bounded(Limits(**{"seconds": SECONDS, "bytes": 100_000, **limits}), MEMORY)
    config = uvicorn.Config(
        app, http=protocol, lifespan="off", log_config=None, timeout_keep_alive=SECONDS
    )
    server, listening = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()

    def connected(*, source="127.0.0.2", room=None):
        client = socket.socket()
        if room is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        client.settimeout(10)
        client.bind((source, 0))
        client.connect(listening.getsockname())
        return closing(client)

    try:
        yield connected, server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def connected():
    with served() as (connected, _):
        yield connected


def answers(client):
    """Return what comes until the server closes, or resets, the connection; and after how long."""
    began, received = time.monotonic(), b""
    try:
        while part := client.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received, time.monotonic() - began


def test_a_silent_connection_is_told_and_closed(connected):
    with connected() as client:
        received, seconds = answers(client)
    assert received.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in received
    assert SECONDS - 0.1 < seconds < SECONDS + 1


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
        (b"POST /body HTTP/1.1\r\nContent-Length: 90000\r\n\r\n", b"a"),
        (b"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (GET, b"\r\n"),
        (b"GET / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n", b"a"),
        (b"POST /none HTTP/1.1\r\nContent-Length: 90000\r\n\r\n", b"a"),
    ],
    ids=["head", "body", "chunks", "line ends", "unread body", "another unread body"],
)
def test_drops_keep_no_connection_alive(connected, begin, drop):
    with connected() as client:
        client.sendall(begin)
        began = time.monotonic()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            while time.monotonic() < began + 10:
                client.sendall(drop)
                time.sleep(0.05)
        assert time.monotonic() < began + SECONDS + 1


def test_an_unread_body_is_not_taken_without_end(connected):
    with connected() as client:
        client.sendall(b"POST /none HTTP/1.1\r\nContent-Length: 900000000\r\n\r\n")
        sent = 0
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            while sent < 900_000_000:
                sent += client.send(bytes(100_000))
        assert sent < 20_000_000


def test_a_client_that_does_not_read_is_dropped_and_its_memory_given_back():
    with served() as (connected, server), connected(room=4096) as client:
        client.sendall(GET.replace(b"/ ", b"/large ", 1))
        until = time.monotonic() + 5
        while not MEMORY.taken and time.monotonic() < until:
            time.sleep(0.01)
        assert MEMORY.taken > LARGE / 2
        began = time.monotonic()
        while server.server_state.connections and time.monotonic() < until:
            time.sleep(0.01)
        assert time.monotonic() < began + SECONDS + 1
        assert MEMORY.taken == 0


def test_a_client_that_reads_slowly_gets_everything():
    with served(seconds=10) as (connected, _), connected(room=100_000) as client:
        client.sendall(GET.replace(b"/ ", b"/large ", 1))
        time.sleep(SECONDS + 1)  # the connection's end, were it idle
        received, _ = answers(client)
    assert received.count(b"a") > LARGE


def test_one_address_leaves_room_for_others():
    with served(connections=20, seconds=5) as (connected, _):
        crowd = [connected() for _ in range(8)]
        refused = [client.thing for client in crowd[4:]]
        with connected(source="127.0.0.3") as other:
            other.sendall(GET)
            assert other.recv(100).startswith(b"HTTP/1.1 200")
        assert all(client.recv(1000).startswith(b"HTTP/1.1 503") for client in refused)
        for client in crowd:
            client.__exit__()


def test_many_pipelined_requests_are_answered_and_endless_ones_end_the_connection(connected):
    with connected() as client:
        client.sendall(10 * GET + GET[:9])
        time.sleep(SECONDS / 4)
        client.sendall(GET[9:])
        received, _ = answers(client)
        assert received.count(b"HTTP/1.1 200") == 11
    with connected() as client:
        client.sendall(GET * 1_000)
        received, _ = answers(client)
        assert received.count(b"HTTP/1.1 200") < 100


def test_a_split_head_after_a_large_body_is_not_too_large(connected):
    body = b"POST /body HTTP/1.1\r\nContent-Length: 90000\r\n\r\n" + bytes(90_000)
    with connected() as client:
        client.sendall(body + GET[:9])
        time.sleep(SECONDS / 4)
        client.sendall(GET[9:])
        received, _ = answers(client)
    assert received.count(b"HTTP/1.1 200") == 2


def test_a_head_has_a_limit_even_in_parts(connected):
    with connected() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        time.sleep(SECONDS / 4)
        client.sendall(b"A: " + b"a" * 70_000)
        assert client.recv(100).startswith(b"HTTP/1.1 431")


def test_the_end_does_not_wait_for_a_body_that_stalls():
    with served(seconds=60) as (connected, server), connected() as client:
        client.sendall(b"POST /body HTTP/1.1\r\nContent-Length: 90000\r\n\r\na")
        time.sleep(0.3)
        server.should_exit = True
        received, seconds = answers(client)
    assert received.startswith(b"HTTP/1.1 408")
    assert seconds < 5


def test_connections_leave_files_to_be_opened():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        shares = bounded(Limits(), MEMORY).open
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 150 < sum(shares.take(None) for _ in range(1_000)) < 256
