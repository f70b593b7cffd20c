"""Clients that mean no good, by the hundred, each kind for real; others are served meanwhile."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest
import requests
from requests.adapters import HTTPAdapter

from gpu_sentinel.web.http import Response

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KINDS = ("silent", "dripping", "half a body", "not reading", "pipelining", "guessing passwords",
         "half a handshake", "large heads")  # fmt: skip
ATTACKER, NEIGHBOUR = "127.0.0.11", "127.0.0.2"
ATTACKERS, LIMIT, EACH = 200, 48, 16
SCRAPES = 10
PAGE = b"x 1\n" * 50_000


class From(HTTPAdapter):
    """Connects from an address of the loopback network."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args, **more) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **more)


@pytest.fixture
def attack():
    """Starts attackers: `attack(kind, url)`."""
    running: list[subprocess.Popen[str]] = []

    def run(kind: str, url: str) -> subprocess.Popen[str]:
        command = [sys.executable, BENCHMARKS / "attackers.py", kind, str(urlsplit(url).port),
                   ATTACKER, str(ATTACKERS), "100"]  # fmt: skip
        running.append(subprocess.Popen(command))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()


def client(ca, address: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(ca.pair.cert)
    session.auth = ("prometheus", "known")
    for scheme in ("http://", "https://"):
        session.mount(scheme, From(address))
    return session


@pytest.fixture
def config(ca, web_file):
    """The web configuration file that a kind of attack needs."""

    def write(kind: str) -> Path:
        text = ""
        if kind == "half a handshake":
            ca.sign("server")
            text = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        if kind == "guessing passwords":
            hashed = bcrypt.hashpw(b"known", bcrypt.gensalt(10)).decode()
            text = f"basic_auth_users: {{prometheus: '{hashed}'}}\n"
        return web_file(text)

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_known_clients_are_served(start, ca, config, attack, eventually, kind: str):  # noqa: PLR0917 - fixtures
    before = threading.active_count()
    server = start(
        lambda _: Response(HTTPStatus.OK, PAGE),
        config(kind),
        max_connections=LIMIT,
        max_per_address=EACH,
        waits=lambda _: False,
    )
    url = server.urls[0] + "/metrics"
    with client(ca, NEIGHBOUR) as kept, client(ca, ATTACKER) as among_them:
        known = kept, among_them
        assert [session.get(url, timeout=5).status_code for session in known] == [200, 200]
        eventually(lambda: all(c.proven for c in server.connections), 5, "both are known")
        sockets = {id(c.socket) for c in server.connections}
        attackers = attack(kind, url)
        eventually(lambda: len(server.connections) > EACH, 10, "no room for more attackers")
        for _ in range(SCRAPES):
            for session in known:
                assert session.get(url, timeout=5).content == PAGE
            with client(ca, NEIGHBOUR) as new:
                assert new.get(url, timeout=5).content == PAGE
            assert len(server.connections) <= EACH + 3
        assert attackers.poll() is None
        assert sockets <= {id(c.socket) for c in server.connections}, "known ones are kept"
        attackers.kill()
        attackers.wait()
        eventually(lambda: len(server.connections) == 2, 15, "the others are gone")
    server.stop(2.0)
    eventually(lambda: threading.active_count() == before, 5, "so are the threads")


def test_exporter_is_as_it_was_after_a_burst(attack, free_port, eventually, tmp_path):
    """Threads, descriptors and memory of a real one, which also has to check passwords."""
    hashed = bcrypt.hashpw(b"known", bcrypt.gensalt(10)).decode()
    web, port = tmp_path / "web.yml", free_port()
    web.write_text(f"basic_auth_users: {{prometheus: '{hashed}'}}\n")
    command = ["serve", "--simulate", "steady", "--web.listen-address", f"127.0.0.1:{port}",
               "--web.config.file", str(web)]  # fmt: skip
    url = f"http://127.0.0.1:{port}/metrics"

    def page() -> str:
        answer = requests.get(url, auth=("prometheus", "known"), timeout=5)
        answer.raise_for_status()
        return answer.text

    def scraped() -> bool:
        try:
            return bool(page())
        except requests.ConnectionError:
            return False

    with subprocess.Popen([sys.executable, "-m", "gpu_sentinel", *command]) as exporter:
        try:
            process = Path(f"/proc/{exporter.pid}")

            def state() -> tuple[int, int]:
                return tuple(len(list((process / each).iterdir())) for each in ("task", "fd"))

            def resident() -> float:
                pages = int((process / "statm").read_text().split()[1])
                return pages * resource.getpagesize() / 2**20

            eventually(scraped, 10, "it answers")
            # What the first requests of each kind leave behind is there for good.
            assert requests.get(url, auth=("x", "y"), timeout=5).status_code == 401
            eventually(lambda: "gpu_power_watts{" in page(), 10, "it samples")
            before, memory = state(), resident()
            for kind in ("guessing passwords", "pipelining"):
                attackers = attack(kind, url)
                eventually(lambda: state()[1] >= before[1] + 25, 10, "they are there")
                for _ in range(SCRAPES):
                    assert scraped()
                attackers.kill()
                attackers.wait()
            # The sampler may have taken another thread where the machine is busy.
            limits = before[0] + 1, before[1]
            eventually(
                lambda: all(n <= most for n, most in zip(state(), limits, strict=True)),
                15,
                "threads and descriptors are as before",
            )
            eventually(lambda: resident() < memory + 4, 15, "so is the memory")
        finally:
            exporter.kill()
