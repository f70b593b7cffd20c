"""Time from a threshold crossed to the mail and the webhook delivered, with the shipped settings.

Thirty simulated GPUs get hot one after the other, at moments that have nothing to do with the
rhythms of scrapes and rules. The exporter's own page says when each crossed the threshold.
"""

from __future__ import annotations

import argparse
import email
import json
import random
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from aiosmtpd.controller import Controller

from gpu_sentinel.stack import programs
from gpu_sentinel.stack.plan import Notifications, Plan

THRESHOLD = 2
MARGIN = re.compile(r'^gpu_temperature_margin_celsius\{gpu="(\d+)".*\} (-?\d+)$', re.MULTILINE)
PATIENCE = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Inbox:
    """When the mail and the webhook about each GPU arrived."""

    def __init__(self) -> None:
        self.mails: dict[int, float] = {}
        self.hooks: dict[int, float] = {}
        port = free_port()
        self.smarthost = f"127.0.0.1:{port}"
        self._smtp = Controller(self, hostname="127.0.0.1", port=port)
        self._smtp.start()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                for alert in body["alerts"]:
                    if alert["labels"]["alertname"] == "GpuOverheating":
                        inbox.hooks.setdefault(int(alert["labels"]["gpu"]), time.monotonic())

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self._web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._web.server_port}/"
        threading.Thread(target=self._web.serve_forever, daemon=True).start()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        subject = str(email.message_from_bytes(envelope.content)["Subject"])
        if found := re.search(r"GPU (\d+) on .* overheats", subject):
            self.mails.setdefault(int(found[1]), time.monotonic())
        return "250 OK"

    def close(self) -> None:
        self._smtp.stop()
        self._web.shutdown()


def scenario(runs: int, seed: int) -> str:
    chance = random.Random(seed)
    at, events = 15.0, []
    for gpu in range(runs):
        at += chance.uniform(4.0, 8.0)
        event = f"  - {{at: {at:.3f}s, gpu: {gpu}, do: set, reading: temperature, value: 88}}"
        events.append(event)
    gpus = f"gpus: [{{model: h100-sxm, count: {runs}}}]"
    return "\n".join(["description: One GPU after the other gets hot.", gpus, "events:", *events])


def watch(url: str, inbox: Inbox, runs: int) -> dict[int, float]:
    """When each GPU crossed the threshold; returns once everything has arrived."""
    crossed: dict[int, float] = {}
    deadline = time.monotonic() + 15 + 8 * runs + PATIENCE
    while len(inbox.mails) < runs or len(inbox.hooks) < runs:
        if time.monotonic() > deadline:
            sys.exit(f"delivery: only {len(inbox.mails)} mails, {len(inbox.hooks)} webhooks")
        now = time.monotonic()
        for gpu, margin in MARGIN.findall(requests.get(url, timeout=5).text):
            if int(margin) <= THRESHOLD:
                crossed.setdefault(int(gpu), now)
        time.sleep(0.05)
    return crossed


def measure(runs: int, seed: int) -> list[float]:
    """Seconds from crossed to both delivered, one a GPU."""
    inbox = Inbox()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yml"
        path.write_text(scenario(runs, seed))
        given = Notifications("ops@localhost", inbox.smarthost, "", "", "", inbox.url)
        ports = [free_port() for _ in range(3)]
        plan = Plan(Path(folder), str(path), "", *ports, notifications=given)
        parts = [programs.exporter(plan), programs.alertmanager(plan, ("", ""))]
        parts.append(programs.prometheus(plan))
        started = []
        try:
            for part in parts:
                if part is None:
                    sys.exit("delivery: Prometheus and Alertmanager are needed")
                started.append(part)
                part.start()
                part.wait_ready(_ok, 30)
            crossed = watch(f"http://127.0.0.1:{ports[0]}/metrics", inbox, runs)
        finally:
            for part in reversed(started):
                part.stop()
            inbox.close()
    return [max(inbox.mails[g], inbox.hooks[g]) - crossed[g] for g in range(runs)]


def _ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, choices=range(2, 61), metavar="2-60")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    took = sorted(measure(arguments.runs, arguments.seed))
    p95 = took[min(round(0.95 * len(took)), len(took) - 1)]
    print(f"{len(took)} runs: median {statistics.median(took):.1f} s, p95 {p95:.1f} s, ", end="")
    print(f"least {took[0]:.1f} s, most {took[-1]:.1f} s")


if __name__ == "__main__":
    main()
