"""What a thousand hostile connections do to the scrapes of a known client, kind by kind.

    .venv/bin/python benchmarks/connections.py [--seconds 60] [--connections 1000]

For each kind an exporter of its own with simulated GPUs, attacked from eight loopback addresses by
another process, and one beside it that nobody attacks: what that one suffers is the machine's
doing, since attackers take processor time like everybody.

The attacked one is scraped every second by three clients: one of another address that keeps its
connection, one of another address that opens one for each scrape, and one of an attacker's address
that keeps its connection. Exit code 1 where a scrape failed or took more than 250 ms, or a pass of
the sampler was more than 100 ms late.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
from attackers import KINDS
from measure import PLAIN, free_port, memory

ATTACKERS = [f"127.0.0.{number}" for number in range(11, 19)]
CLIENTS = (("127.0.0.2", True), ("127.0.0.3", False), (ATTACKERS[0], True))
SLOWEST_SECONDS, LATEST_SECONDS = 0.25, 0.1
SETTLE_SECONDS = 3.0
PASSWORD = "known"
EVERYTHING = ("nobody", *KINDS)
HEADING = """\
| who attacks | other address, kept | other address, new each time | attacker's address, kept \
| the one beside | latest pass below: attacked / beside | threads before / during / after \
| RSS MiB |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
LATE = re.compile(r'^gpu_sentinel_lateness_seconds_bucket\{le="([^"]+)"\} (\d+)', re.MULTILINE)


@dataclass
class Client:
    """One that scrapes once a second; times in seconds."""

    port: int
    source: str
    keeps: bool
    tls: bool
    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    body: str = ""

    def __post_init__(self) -> None:
        self._connection = self._new()
        known = base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode()
        self._headers = PLAIN | {"Authorization": f"Basic {known}"}
        self._headers |= {} if self.keeps else {"Connection": "close"}

    def _new(self) -> http.client.HTTPConnection:
        more = {"timeout": 5.0, "source_address": (self.source, 0)}
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, **more)
        return http.client.HTTPConnection("127.0.0.1", self.port, **more)

    def scrape(self) -> None:
        began = time.perf_counter()
        try:
            self._connection.request("GET", "/metrics", headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:
                raise http.client.HTTPException(str(response.status))  # noqa: TRY301
            self.body = body.decode()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
            self._connection.close()
            self._connection = self._new()
        self.times.append(time.perf_counter() - began)

    def scrape_until(self, end: threading.Event) -> None:
        while not end.is_set():
            began = time.monotonic()
            self.scrape()
            end.wait(max(began + 1.0 - time.monotonic(), 0.0))


@dataclass
class Found:
    """What one kind did; RSS in MiB."""

    kind: str
    clients: list[Client]
    beside: Client
    late: str
    late_beside: str
    threads: tuple[int, int, int]
    rss: tuple[float, float, float]
    attack: str

    @property
    def good(self) -> bool:
        return (
            not any(c.failures for c in self.clients)
            and max(max(c.times) for c in self.clients) <= SLOWEST_SECONDS
            and float(self.late) <= LATEST_SECONDS
        )

    def row(self) -> str:
        cells = [self.kind]
        cells += [
            f"{len(c.failures)} of {len(c.times)}, {1000 * max(c.times):.0f} ms"
            for c in (*self.clients, self.beside)
        ]
        cells.append(f"{1000 * float(self.late):g} / {1000 * float(self.late_beside):g} ms")
        cells.append(" / ".join(map(str, self.threads)))
        cells.append(" / ".join(f"{each:.1f}" for each in self.rss))
        return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each kind (default: 60)")
    parser.add_argument("--connections", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--kind", choices=list(KINDS), action="append", help="only this one")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(HEADING)
    found = [attacked(kind, args.connections, args.seconds) for kind in args.kind or EVERYTHING]
    sys.exit(0 if all(each.good for each in found) else 1)


def attacked(kind: str, connections: int, seconds: float) -> Found:
    """What one kind did, which is printed too."""
    found = measure(kind, connections if kind in KINDS else 0, seconds)
    print(found.row(), flush=True)
    print(f"{kind}: connections and answers: {found.attack}", file=sys.stderr)
    for client in found.clients:
        for failure in client.failures[:3]:
            print(f"{kind}: {client.source}: {failure}", file=sys.stderr)
    return found


def measure(kind: str, connections: int, seconds: float) -> Found:
    tls = kind == "half a handshake"
    with contextlib.ExitStack() as stack:
        port, pid = stack.enter_context(exporter(kind))
        other_port, _ = stack.enter_context(exporter(kind))
        clients = [Client(port, source, keeps, tls) for source, keeps in CLIENTS]
        clients.append(beside := Client(other_port, CLIENTS[0][0], CLIENTS[0][1], tls))
        for client in clients:
            until_scraped(client)
        time.sleep(SETTLE_SECONDS)
        late = [counts(client) for client in (clients[0], beside)]
        threads, rss = [number_of_threads(pid)], [memory(pid)[0]]
        end = threading.Event()
        scraping = [threading.Thread(target=c.scrape_until, args=(end,)) for c in clients]
        for thread in scraping:
            thread.start()
        attack = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("attackers.py"),
             kind if connections else "silent", str(port),
             ",".join(ATTACKERS), str(connections), str(seconds)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            time.sleep(seconds / 2)
            threads.append(number_of_threads(pid))
            rss.append(memory(pid)[0])
            said, _ = attack.communicate(timeout=seconds + 60)
        finally:
            attack.kill()
            attack.wait()
            end.set()
            for thread in scraping:
                thread.join()
        worst = [
            latest(before, counts(client))
            for before, client in zip(late, (clients[0], beside), strict=True)
        ]
        time.sleep(SETTLE_SECONDS)
        threads.append(number_of_threads(pid))
        rss.append(memory(pid)[0])
    return Found(kind, clients[:-1], beside, *worst, tuple(threads), tuple(rss), said.strip())


@contextlib.contextmanager
def exporter(kind: str) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    with tempfile.TemporaryDirectory() as directory:
        yield from serving(Path(directory), kind)


def serving(directory: Path, kind: str) -> Iterator[tuple[int, int]]:
    port = free_port()
    settings: dict[str, object] = {}
    if kind == "guessing passwords":
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()
        settings["basic_auth_users"] = {"prometheus": hashed}
    if kind == "half a handshake":
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-keyout", "server.key", "-out", "server.crt"]  # fmt: skip
        subprocess.run(make, cwd=directory, check=True, capture_output=True)
        settings["tls_server_config"] = {"cert_file": "server.crt", "key_file": "server.key"}
    (directory / "web.yml").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [sys.executable, "-m", "gpu_sentinel", "serve", "--simulate", "training",
         "--web.listen-address", f"127.0.0.1:{port}",
         *(["--web.config.file", directory / "web.yml"] if settings else [])],
        stderr=None if os.environ.get("SHOW_LOG") else subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_scraped(client: Client) -> None:
    for _ in range(200):
        client.scrape()
        if client.body:
            client.times.clear()
            client.failures.clear()
            return
        time.sleep(0.1)
    sys.exit(f"no scrape succeeds: {client.failures[-1]}")


def number_of_threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def counts(client: Client) -> dict[str, int]:
    """Passes of the sampler that began at most so late, by seconds, up to its last scrape."""
    return {bound: int(number) for bound, number in LATE.findall(client.body)}


def latest(before: dict[str, int], after: dict[str, int]) -> str:
    """The bound below which all passes since then began."""
    passes = {bound: number - before[bound] for bound, number in after.items()}
    return next(bound for bound, number in passes.items() if number == max(passes.values()))


if __name__ == "__main__":
    main()
