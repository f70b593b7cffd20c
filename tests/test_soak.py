"""The soak tells what is wrong; a short one of the real stack."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"
sys.path.insert(0, str(SOAK.parent))

import soak  # noqa: E402
import soakclient  # noqa: E402
import soakfaults  # noqa: E402
import soakstack  # noqa: E402
from soakclient import Client, Scrape  # noqa: E402
from soakstack import BACK, Held  # noqa: E402


def client(*scrapes: Scrape) -> Client:
    """A client that has made these scrapes, and makes no more."""
    found = Client.__new__(Client)
    found.scrapes = list(scrapes)
    return found


def good(began: float) -> Scrape:
    return Scrape(began, 0.01, "")


def bad(began: float, took: float = 0.01) -> Scrape:
    return Scrape(began, took, "refused")


def test_failure_counts_where_the_exporter_is_no_victim():
    counted, excused = client(good(9), bad(11), good(12)).failed(10, 60, excused=False)
    assert (counted, excused) == ([bad(11)], 0)


def test_failure_is_excused_until_the_first_good_scrape():
    """The one that was under way is, and the one that fails again afterwards is not."""
    seen = client(good(8), bad(9.9, 0.2), bad(11), bad(12), good(13), bad(14), good(15))
    counted, excused = seen.failed(10, 60, excused=True)
    assert (counted, excused) == ([bad(14)], 3)


def test_failure_is_excused_for_30_seconds_at_most():
    seen = client(*(bad(10.5 + n) for n in range(50)))
    counted, excused = seen.failed(10, 100, excused=True)
    assert excused == BACK
    assert len(counted) == 50 - BACK


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers as its `codes` say, one a request, then 200; closes after each but says nothing."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            codes: list[int] = self.server.codes  # type: ignore[attr-defined]
            code = codes.pop(0) if codes else 200
            if code:
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.codes = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_client_counts_what_is_wrong_and_asks_again_on_a_closed_connection(
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., float],
):
    """A kept connection that the server has closed is no failure; an answer of 503 is one."""
    monkeypatch.setattr(soakclient, "EVERY", 0.02)
    stack = soakstack.Stack(tmp_path)
    stack.ports["exporter"] = server.server_port
    server.codes = [200, 200, 503, 200]
    seen = Client(stack)
    eventually(lambda: len(seen.scrapes) >= 5, 10, "scraped")
    seen.close()
    assert [s.wrong for s in seen.scrapes[:5]] == ["", "", "HTTP 503", "", ""]
    server.codes = [0]  # hangs up without an answer, on a new connection
    seen = Client(stack)
    eventually(lambda: len(seen.scrapes) >= 2, 10, "scraped")
    seen.close()
    assert [bool(s.wrong) for s in seen.scrapes[:2]] == [True, False]


def test_leak_is_told(monkeypatch: pytest.MonkeyPatch):
    start = {"exporter": Held(8, 12, 30.0), "up": Held(3, 10, 40.0)}
    now = {"exporter": Held(9, 12, 31.9), "up": Held(3, 11, 42.1)}
    monkeypatch.setattr(soak, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(soak, "held", lambda _: now)
    _, told = soak.leaks(start, None)  # type: ignore[arg-type]
    assert told == [
        "exporter: 8 threads became 9",
        "up: 10 descriptors became 11",
        "up: 40.0 MiB became 42.1",
    ]


def test_every_fault_comes_once_before_any_comes_again():
    import random  # noqa: PLC0415

    names = list(soakfaults.FAULTS)
    faults = soak.order(random.Random(1), names)
    first, second = ([next(faults) for _ in names] for _ in range(2))
    assert sorted(first) == sorted(second) == sorted(names)
    assert first != second
    again = soak.order(random.Random(1), names)
    assert [next(again) for _ in names] == first


def test_faults_are_documented(repository: Path):
    page = (repository / "docs" / "soak.md").read_text()
    for name in soakfaults.FAULTS:
        group, _, rest = name.partition(" ")
        rows = [line for line in page.splitlines() if line.startswith(f"| `{group} ")]
        told = any(f"`{rest}`" in row or f"`{name}`" in row for row in rows)
        assert told or (rows and group == "strangers"), name


@pytest.mark.long
@pytest.mark.timeout(400)
def test_short_soak(tool: Callable[..., str], tmp_path: Path):
    tool("prometheus")
    tool("alertmanager", "prometheus-alertmanager")
    file = tmp_path / "soak.json"
    faults = ("kill exporter", "strangers silent", "settings prometheus")
    chosen = [word for name in faults for word in ("--fault", name)]
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, str(SOAK), "--minutes", "0.6", "--every", "20", "--warm", "10"),
            *("--scenario", "steady", "--json", str(file), *chosen),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(file.read_text())
    assert {o["fault"] for o in found["faults"]} <= set(faults), done.stdout
    assert len(found["faults"]) >= 2
    assert not [o["wrong"] for o in found["faults"] if o["wrong"]], done.stdout
    assert found["scrapes"]["failed"] == 0
    assert found["scrapes"]["made"] > 0.5 * (time.monotonic() - began)
    # What it holds after ten seconds is not yet its usual; the long soak looks at that.
    assert done.returncode == (0 if found["passed"] else 1)
