"""What a stranger can make the exporter spend: processor, memory, threads, descriptors."""

from __future__ import annotations

import base64
import contextlib
import resource
import socket
import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import urlsplit

import bcrypt
import pytest
import requests
from credentials import HASHED, PASSWORD

from gpu_sentinel.exposition.accept import NotAcceptableError, choose_format, choose_gzip
from gpu_sentinel.web import http, loop, workers
from gpu_sentinel.web.access import load_access
from gpu_sentinel.web.http import Response
from gpu_sentinel.web.throttle import BURST, EACH_SECONDS, Throttle, is_local, neighbourhood
from gpu_sentinel.web.wire import RefusedError, take_head

KIB = 1024
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
#: 64 KiB each; a pattern that is not linear takes seconds for one of them.
HEADS = {
    "spaces": GET + b"X: a" + b" " * 64 * KIB + b"b\r\n\r\n",
    "tabs": GET + b"X: a" + b"\t " * 32 * KIB + b"b\r\n\r\n",
    "short-headers": GET + b"a:\r\n" * 16 * KIB + b"\r\n",
    "one-header-again": GET + (b"a: " + b"b" * 600 + b"\r\n") * 100 + b"\r\n",
    "empty-lines": b"\r\n" * 32 * KIB,
    "half-ends": GET + b"\r" * 64 * KIB,
    "colons": GET + b":" * 64 * KIB + b"\r\n\r\n",
    "folds": GET + b"a: b\r\n" + b" b\r\n" * 16 * KIB + b"\r\n",
    "path": b"GET /" + b"?" * 64 * KIB + b" HTTP/1.1\r\n\r\n",
    "url": b"GET " + b"http://" * 9 * KIB + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "words": b"GET " * 16 * KIB + b"\r\n\r\n",
    "rubbish": b"\xff" * 64 * KIB,
}
VALUES = ("gzip;q=", "q;" * 32 * KIB, ";" * 64 * KIB, "," * 64 * KIB, "a;q=" + " " * 64 * KIB,
          "; q" * 21 * KIB, "*;q=0," * 11 * KIB, "=" * 64 * KIB, " " * 64 * KIB)  # fmt: skip
#: A thousand times what it takes, and a hundredth of what it took.
MOST_SECONDS = 0.25


def spent(work) -> float:
    """Processor time of this thread."""
    before = time.thread_time()
    with contextlib.suppress(RefusedError, NotAcceptableError):
        work()
    return time.thread_time() - before


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("size", [16, 32 * KIB], ids=["in-pieces", "at-once"])
def test_head_costs_next_to_nothing(case: str, size: int):
    def read() -> None:
        received, searched = bytearray(), 0
        for start in range(0, len(HEADS[case]), size):
            received += HEADS[case][start : start + size]
            take_head(received, searched)
            searched = len(received)

    assert spent(read) < MOST_SECONDS


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values_of_headers_cost_next_to_nothing(number: int, web_file):
    value = VALUES[number]
    access = load_access(web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))
    encoded = base64.b64encode(value.encode()).decode()
    for work in (
        lambda: choose_format(value),
        lambda: choose_gzip(value),
        lambda: access.guard.known(value),
        lambda: access.guard.known(f"Basic {value}"),
        lambda: access.guard.check(f"Basic {encoded}"),
        lambda: access.guard.known(f"Bearer {value}"),
    ):
        assert spent(work) < MOST_SECONDS


class TestRefusals:
    """Nobody learns from the time of a refusal which users there are."""

    @pytest.fixture
    def work(self, web_file, monkeypatch: pytest.MonkeyPatch):
        """What bcrypt has to do until a user is refused: doubles with each cost."""
        check, done = bcrypt.checkpw, []

        def counted(password: bytes, hashed: bytes) -> bool:
            done.append(2 ** int(hashed[4:6]))
            return check(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", counted)
        hashes = {cost: bcrypt.hashpw(b"right", bcrypt.gensalt(cost)).decode() for cost in (4, 7)}
        access = load_access(
            web_file(f"basic_auth_users: {{cheap: '{hashes[4]}', dear: '{hashes[7]}'}}\n")
        )

        def refused(said: bytes) -> int:
            done.clear()
            assert access.guard.check("Basic " + base64.b64encode(said).decode()) is None
            return sum(done)

        return refused

    @pytest.mark.parametrize(
        "said",
        [b"cheap:wrong", b"dear:wrong", b"nobody:wrong", b"dear:a\0b", b"\xff:x", b"", b"dear"],
    )
    def test_all_cost_the_same(self, work, said: bytes):
        assert work(said) == 2**7


class TestThrottle:
    def test_each_address_has_so_many_attempts_and_then_one_in_a_while(self):
        now = [100.0]
        throttle = Throttle(lambda: now[0])
        assert [throttle.take("a") for _ in range(BURST)] == [0.0] * BURST
        assert throttle.take("a") == EACH_SECONDS
        assert throttle.take("b") == 0.0
        now[0] += EACH_SECONDS / 2
        assert throttle.take("a") == EACH_SECONDS / 2, "asking again does not make it longer"
        now[0] += EACH_SECONDS / 2
        assert throttle.take("a") == 0.0
        assert throttle.take("a") == EACH_SECONDS
        now[0] += 1000 * EACH_SECONDS
        assert [throttle.take("a") for _ in range(BURST + 1)][-1] > 0

    def test_right_attempts_do_not_count(self):
        throttle = Throttle(lambda: 100.0)
        for _ in range(10 * BURST):
            assert throttle.take("a") == 0.0
            throttle.give_back("a")

    def test_it_does_not_grow_without_end(self):
        throttle = Throttle(lambda: 100.0)
        for number in range(10_000):
            throttle.take(str(number))
        assert len(throttle._full) < 5_000

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("192.0.2.1", "192.0.2.2", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("2001:db8::1", "2001:db8::ffff:1", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth0", True),
        ],
    )
    def test_what_counts_as_one_address(self, one: str, other: str, same: bool):
        assert (neighbourhood(one) == neighbourhood(other)) == same

    def test_what_is_local(self):
        assert all(map(is_local, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
        assert not any(map(is_local, ("192.0.2.1", "::", "::ffff:192.0.2.127", "2001:db8::127.1")))


def test_passwords_wait_for_each_other_and_who_is_known_does_not(
    start, web_file, monkeypatch, eventually
):
    """While one check hangs, who was right before is answered, and others get 429 in the end."""
    server = start(config=web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))
    url = server.urls[0]
    assert requests.get(url, auth=("bob", PASSWORD), timeout=5).ok
    release, entered = threading.Event(), threading.Event()
    monkeypatch.setattr(
        server.access.guard, "check", lambda _: entered.set() or (release.wait(60) and None)
    )
    answers: list[int] = []

    def guess() -> None:
        answers.append(requests.get(url, auth=("bob", "wrong"), timeout=60).status_code)

    guessing = [threading.Thread(target=guess) for _ in range(8)]
    for thread in guessing:
        thread.start()
    assert entered.wait(5)
    assert requests.get(url, auth=("bob", PASSWORD), timeout=5).ok
    # Of this address one is looked at, and so many wait.
    eventually(
        lambda: len(answers) == 8 - http._WAITING_EACH, 5, "the rest is refused while these wait"
    )
    release.set()
    for thread in guessing:
        thread.join(10)
    assert sorted(answers) == [401] * http._WAITING_EACH + [429] * (8 - http._WAITING_EACH)


def test_attempts_run_out(start, web_file):
    server = start(config=web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))
    ask = [requests.get(server.urls[0], auth=("bob", "x"), timeout=5) for _ in range(BURST + 3)]
    assert [answer.status_code for answer in ask[:BURST]] == [401] * BURST
    assert ask[-1].status_code == 429
    assert 1 <= int(ask[-1].headers["Retry-After"]) <= EACH_SECONDS


def test_password_that_somebody_else_is_right_with_is_not_guessed_faster(start, web_file):
    server = start(config=web_file(f"basic_auth_users: {{bob: '{HASHED}'}}\n"))
    port = int(server.urls[0].rpartition(":")[2])

    def ask(source: str, password: str) -> int:
        connection = HTTPConnection("127.0.0.1", port, timeout=5, source_address=(source, 0))
        said = base64.b64encode(f"bob:{password}".encode()).decode()
        connection.request("GET", "/", headers={"Authorization": f"Basic {said}"})
        status = connection.getresponse().status
        connection.close()
        return status

    assert ask("127.0.0.1", PASSWORD) == 200
    for source in ("127.0.0.1", "127.0.0.2"):
        assert [ask(source, f"x{n}") for n in range(BURST)] == [401] * BURST
    assert ask("127.0.0.2", PASSWORD) == 429, "guessed at last, and not told"
    assert ask("127.0.0.1", PASSWORD) == 200, "whatever others guess from there"


def test_without_threads_the_answer_is_503_and_one_line(start, monkeypatch, caplog):
    server = start()
    start_thread = threading.Thread.start

    def none_left(thread: threading.Thread) -> None:
        if thread.name == "web-answer":
            raise RuntimeError("can't start new thread")
        start_thread(thread)

    monkeypatch.setattr(threading.Thread, "start", none_left)
    for _ in range(3):
        answer = requests.get(server.urls[0], timeout=5)
        assert (answer.status_code, answer.text) == (503, "no more threads\n")
        assert answer.headers["Retry-After"]
    monkeypatch.undo()
    assert requests.get(server.urls[0], timeout=5).ok
    (line,) = caplog.records
    assert (line.message, line.fields) == ("no thread for a request", {"reason": "no more threads"})
    assert line.exc_info is None


def test_without_descriptors_the_answer_is_503_and_one_line(start, caplog):
    server = start()
    parts = urlsplit(server.urls[0])
    address = (parts.hostname, parts.port)
    kept = requests.Session()
    assert kept.get(server.urls[0], timeout=5).ok
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(5)]
    highest = max(sock.fileno() for sock in clients)
    fillers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(socket.socket())
        for sock in clients:
            sock.settimeout(5)
            sock.connect(address)
            sock.sendall(GET + b"\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert kept.get(server.urls[0], timeout=5).ok, "who is there already is served"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for sock in (*clients, *fillers):
            sock.close()
    assert requests.get(server.urls[0], timeout=5).ok
    kept.close()
    assert [(r.message, r.exc_info) for r in caplog.records] == [("cannot accept", None)]


def test_answers_that_nobody_reads_are_limited(start, monkeypatch, eventually):
    page = b"x" * 4 * KIB * KIB
    monkeypatch.setattr(loop, "_UNSENT", 10 * KIB * KIB)
    server = start(lambda _: Response(HTTPStatus.OK, page), waits=lambda _: False)
    parts = urlsplit(server.urls[0])
    with contextlib.ExitStack() as stack:
        for number in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((parts.hostname, parts.port))
            sock.sendall(GET + b"\r\n" + GET + b"\r\n")
            eventually(lambda n=number: len(server.connections) >= min(n + 1, 2), 5, "it is there")
        eventually(lambda: len(server.connections) == 2, 5, "two answers are all that may wait")
        assert sum(c.unsent for c in server.connections) <= 10 * KIB * KIB
        assert requests.get(server.urls[0], timeout=5).content == page


class TestWorkers:
    def test_jobs_of_one_thread_are_done_in_their_order(self, eventually):
        crew, done = workers.Workers("test-crew", 1), []
        for number in range(50):
            crew.submit(lambda n=number: done.append(n))
        eventually(lambda: len(done) == 50, 5, "all are done")
        assert done == list(range(50))

    def test_jobs_are_done_by_so_many_threads(self, eventually):
        crew, done, most = workers.Workers("test-crew", 2), [], []

        def job(number: int) -> None:
            most.append(sum(t.name == "test-crew" for t in threading.enumerate()))
            done.append(number)

        for number in range(50):
            crew.submit(lambda n=number: job(n))
        eventually(lambda: len(done) == 50, 5, "all are done")
        assert sorted(done) == list(range(50))
        assert max(most) <= 2
        eventually(
            lambda: not any(t.name == "test-crew" for t in threading.enumerate()),
            5,
            "the threads have ended",
        )

    def test_job_that_fails_takes_no_thread_with_it(self, eventually, caplog):
        crew, done = workers.Workers("test-crew", 1), []
        crew.submit(lambda: 1 / 0)
        crew.submit(lambda: done.append(1))
        eventually(lambda: done, 5, "the next one is done")
        assert "job failed" in caplog.text
