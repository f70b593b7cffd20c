"""Requests over real sockets: what is answered, what is refused."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
import requests
from credentials import HASHED, PASSWORD

from gpu_sentinel.web.access import load_access
from gpu_sentinel.web.http import Response
from gpu_sentinel.web.server import ListenError, WebServer, probe_address


def address(server: WebServer) -> tuple[str, int]:
    parts = urlsplit(server.urls[0])
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def raw(server: WebServer, request: bytes) -> bytes:
    """What comes back for these bytes until the server ends the connection."""
    with socket.create_connection(address(server), timeout=60) as sock:
        sock.sendall(request)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
        return answer


def test_get_head_and_keep_alive(start):
    connection = http.client.HTTPConnection(*address(start()), timeout=60)
    sockets = set()
    for method, body in (("GET", b"GET /x\n"), ("HEAD", b""), ("GET", b"GET /x\n")):
        connection.request(method, "/x?query=1")
        response = connection.getresponse()
        assert response.status == 200
        assert response.read() == body
        assert int(response.headers["Content-Length"]) in (7, 8)
        assert "Server" not in response.headers
        sockets.add(connection.sock)
    assert len(sockets) == 1, "one connection for all"
    connection.close()


def test_http_1_0_ends_the_connection(start):
    answer = raw(start(), b"GET /x HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"GET /x\n")


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
MALFORMED = {
    "no-request": (b"rubbish\r\n\r\n", 400),
    "no-version": (b"GET /x HTTP/x.y\r\n\r\n", 400),
    "http-2": (b"GET /x HTTP/2.0\r\n\r\n", 505),
    "long-line": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    "many-headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "method": (b"BREW / HTTP/1.1\r\n\r\n", 501),
    "chunked": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    "length-no-number": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
    "length-negative": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "length-too-big": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    "length-absurd": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        413,
    ),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_what_is_no_proper_request_is_refused(start, fault: str):
    request, status = MALFORMED[fault]
    server = start()
    answer = raw(server, request)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
    assert b"Server:" not in answer
    assert requests.get(server.urls[0], timeout=60).ok


PROPER = {
    "empty-line-before": b"\r\n\r\n" + GET + b"Connection: close\r\n\r\n",
    "empty-host": b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
    "whole-url": b"GET http://x:1/?q HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\n\r\n",
    "upgrade-offered": GET + b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "spaces": GET + b"A: " + b" " * 30_000 + b"b \r\nConnection:  close  \r\n\r\n",
    "a-hundred-headers": GET + b"A: b\r\n" * 98 + b"Connection: close\r\n\r\n",
    "length-with-thousands-of-zeros": (
        GET + b"Content-Length: " + b"0" * 5000 + b"3\r\nConnection: close\r\n\r\nabc"
    ),
    "latin-1": GET + b"A: \xff\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("case", PROPER)
def test_what_is_unusual_but_proper_is_answered(start, case: str):
    answer = raw(start(), PROPER[case])
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
    assert answer.endswith(b"GET /\n")


def test_request_that_comes_byte_by_byte(start):
    with socket.create_connection(address(start()), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for byte in POST + b"Content-Length: 3\r\n\r\nabc":
                sock.sendall(bytes([byte]))
            assert sock.recv(65536).endswith(b"POST /\n")


def test_pipelined_requests_are_answered_in_their_order(start):
    requests_ = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(2000))
    last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(address(start()), timeout=5) as sock:
        sender = threading.Thread(target=sock.sendall, args=(requests_ + last,))
        sender.start()
        answers = b""
        while chunk := sock.recv(65536):
            answers += chunk
        sender.join(5)
    asked = [line for line in answers.split(b"\n") if line.startswith(b"GET /")]
    assert asked == [b"GET /%d" % n for n in range(2000)] + [b"GET /last"]


def test_body_is_asked_for(start):
    with socket.create_connection(address(start()), timeout=5) as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(65536).endswith(b"POST /\n")


def test_small_body_is_read_over(start):
    server = start()
    with requests.Session() as session:
        for _ in range(2):
            answer = session.post(server.urls[0] + "/x", data=b"y" * 1000, timeout=60)
            assert answer.text == "POST /x\n"


def test_application_that_fails_is_a_500(start):
    def broken(request):
        raise ValueError(request)

    server = start(broken)
    for _ in range(2):
        answer = requests.get(server.urls[0], timeout=60)
        assert (answer.status_code, answer.text) == (500, "internal error\n")


def test_headers_of_the_file_are_on_every_answer(start, web_file):
    server = start(config=web_file("http_server_config: {headers: {X-Frame-Options: deny}}\n"))
    assert requests.get(server.urls[0], timeout=60).headers["X-Frame-Options"] == "deny"
    assert b"X-Frame-Options: deny" in raw(server, b"rubbish\r\n\r\n")


def test_passwords(start, web_file):
    server = start(config=web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))
    refused = requests.get(server.urls[0], timeout=60)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert requests.get(server.urls[0], auth=("bob", "no"), timeout=60).status_code == 401
    assert requests.get(server.urls[0], auth=("bob", PASSWORD), timeout=60).status_code == 200


def test_port_in_use(start):
    host, port = address(start())
    taken = f"{host}:{port}"
    with pytest.raises(ListenError) as caught:
        probe_address(taken)
    assert str(caught.value) == (
        f"{taken}: cannot listen: address already in use: "
        "stop the other program, or choose another port"
    )
    second = WebServer(
        ("127.0.0.1:0", taken),
        lambda _: Response(HTTPStatus.OK, b""),
        load_access(None),
        max_connections=4,
    )
    with pytest.raises(ListenError):
        second.start()
    assert second.urls == [], "the first port was given back"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("nowhere.invalid:0", "is no address"), ("192.0.2.1:0", "an address of this machine")],
)
def test_address_that_is_none_of_ours(wrong: str, said: str):
    with pytest.raises(ListenError, match=said):
        probe_address(wrong)


def test_without_a_host_all_addresses_are_served(start):
    server = start(addresses=(":0",))
    _, port = address(server)
    assert requests.get(f"http://127.0.0.1:{port}/x", timeout=60).ok


def test_ipv6(start):
    try:
        probe_address("[::1]:0")
    except ListenError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server = start(addresses=("[::1]:0", "127.0.0.1:0"))
    assert server.urls[0].startswith("http://[::1]:")
    for url in server.urls:
        assert requests.get(url + "/x", timeout=60).text == "GET /x\n"


def test_stop_does_not_wait_for_idle_clients(start):
    server = start()
    idle = [socket.create_connection(address(server)) for _ in range(5)]
    with requests.Session() as session:
        assert session.get(server.urls[0], timeout=60).ok
        begun = time.monotonic()
        server.stop(40.0)
        assert time.monotonic() - begun < 20.0
    for sock in idle:
        sock.close()


def test_stop_lets_an_answer_finish(start):
    entered, answers = threading.Event(), []

    def slow(_request):
        entered.set()
        time.sleep(0.5)
        return Response(HTTPStatus.OK, b"done\n")

    server = start(slow)
    client = threading.Thread(
        target=lambda: answers.append(requests.get(server.urls[0], timeout=60).text)
    )
    client.start()
    assert entered.wait(60)
    server.stop(30.0)
    client.join(60)
    assert answers == ["done\n"]
