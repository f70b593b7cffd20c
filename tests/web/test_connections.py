"""Clients that open connections and are silent, slow, or too many."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
import requests

from gpu_sentinel.web.connections import Connection, Connections, State
from gpu_sentinel.web.http import Response

HALF_OPEN = 500
GOOD = 20


def connect(server) -> socket.socket:
    parts = urlsplit(server.urls[0])
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * HALF_OPEN
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_half_open_clients_keep_nobody_out(start, ca, web_file, encrypted: bool):
    config = None
    if encrypted:
        ca.sign("server")
        config = web_file("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    server = start(config=config, max_connections=64)
    with contextlib.ExitStack() as stack:
        for number in range(HALF_OPEN):
            sock = stack.enter_context(connect(server))
            if number % 2:
                sock.send(b"\x16\x03\x01" if encrypted else b"GET / HTTP/1.1\r\nX: ")
        for _ in range(GOOD):
            answer = requests.get(server.urls[0], verify=str(ca.pair.cert), timeout=60)
            assert answer.status_code == 200
        assert len(server.connections) <= 64


def test_silent_and_slow_clients_are_ended_in_time(start, monkeypatch):
    server = start()
    silent, slow = connect(server), connect(server)
    slow.send(b"GET / HT")
    _until(lambda: len(server.connections) == 2)
    later = time.monotonic() + State.OPENING.seconds + 1
    monkeypatch.setattr(server.connections, "clock", lambda: later)
    for sock in (silent, slow):
        # It is reset where its last bytes came as the server closed it.
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b"", "the server has ended it"
        sock.close()
    _until(lambda: len(server.connections) == 0)


def test_idle_client_may_ask_again_until_its_time_is_over(start, monkeypatch):
    server = start()
    with requests.Session() as session:
        assert session.get(server.urls[0], timeout=60).ok
        now = time.monotonic()
        monkeypatch.setattr(server.connections, "clock", lambda: now + 60)
        time.sleep(0.6)
        assert len(server.connections) == 1
        monkeypatch.setattr(server.connections, "clock", lambda: now + 121)
        _until(lambda: len(server.connections) == 0)


def test_too_many_requests_at_once_are_refused_over_tls_too(start, ca, web_file):
    ca.sign("server")
    config = web_file("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    entered, release = threading.Semaphore(0), threading.Event()

    def slow(_request):
        entered.release()
        release.wait(10)
        return Response(HTTPStatus.OK, b"done\n")

    server = start(slow, config=config, max_connections=4)
    answers: list[int] = []

    def ask() -> None:
        answer = requests.get(server.urls[0], verify=str(ca.pair.cert), timeout=15)
        answers.append(answer.status_code)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for _ in clients:
        assert entered.acquire(timeout=5)
    with connect(server) as refused:
        assert refused.recv(1) == b""
    release.set()
    for client in clients:
        client.join(10)
    assert answers == [200] * 4


def test_too_many_requests_at_once_are_refused(start):
    release = threading.Event()

    def slow(_request):
        release.wait(60)
        return Response(HTTPStatus.OK, b"done\n")

    server = start(slow, max_connections=4)
    answers: list[int] = []

    def ask() -> None:
        answers.append(requests.get(server.urls[0], timeout=60).status_code)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    _until(lambda: sum(c.state is State.BUSY for c in server.connections._open) == 4)
    refused = requests.get(server.urls[0], timeout=60)
    release.set()
    for client in clients:
        client.join(60)
    assert (refused.status_code, refused.text) == (503, "too many connections\n")
    assert answers == [200] * 4


def test_who_never_asked_gives_way_before_who_waits_for_the_next_scrape():
    now = [0.0]
    connections = Connections(2, 2, lambda: now[0])
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        scraper, silent, newcomer = (
            Connection(own, ("127.0.0.1", number), lambda: now[0])
            for number, (own, _) in enumerate(pairs)
        )
        assert connections.add(scraper) is None
        scraper.proven = True
        connections.place(scraper)
        now[0] = 5.0
        assert connections.add(silent) is None
        now[0] = 6.0
        assert connections.add(newcomer) is silent
        connections.remove(silent)
        silent.abort()
        assert set(connections) == {scraper, newcomer}
        assert pairs[1][1].recv(1) == b""
    finally:
        for one, other in pairs:
            one.close()
            other.close()


def _until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_connection_is_kept_between_two_scrapes(start):
    """Longer than a read may take: servers scrape every 15 or 60 seconds."""
    server = start()
    with connect(server) as client:
        for pause in (State.READING.seconds + 1.0, 0.0):
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), "the same connection"
            time.sleep(pause)
