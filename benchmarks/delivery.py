"""Time from a threshold crossed to the mail and the webhook delivered, with the shipped settings.

Simulated GPUs get hot one after the other, at moments that have nothing to do with the rhythms of
scrapes and rules. The exporter's own page says when each crossed the threshold. More runs than an
exporter has GPUs are made in rounds, each with a stack of its own. `--interval 15s` measures
another interval of scrapes and rules; `--limit` makes the exit code 1 where the 95th percentile is
higher.
"""

from __future__ import annotations

import argparse
import email
import json
import math
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml
from aiosmtpd.controller import Controller
from measure import free_port

from gpu_sentinel import durations
from gpu_sentinel.stack import programs
from gpu_sentinel.stack.plan import Notifications, Plan

#: GPUs of one round: as many as a simulated host may have, and a few less.
ROUND = 50
THRESHOLD = 2
MARGIN = re.compile(r'^gpu_temperature_margin_celsius\{gpu="(\d+)".*\} (-?\d+)$', re.MULTILINE)
PATIENCE = 60.0


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


def scenario(runs: int, seed: int, interval: float) -> str:
    chance = random.Random(seed)
    # The first one once everything has been scraped and evaluated.
    at, events = 10.0 + interval, []
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


def with_interval(config: Path, interval: float) -> None:
    """Let Prometheus scrape and evaluate at another interval than the shipped one."""
    content = yaml.safe_load(config.read_text())
    content["global"] |= {
        "scrape_interval": durations.pretty(interval),
        "scrape_timeout": durations.pretty(interval - 1),
        "evaluation_interval": durations.pretty(interval),
    }
    config.write_text(yaml.safe_dump(content))


def measure(runs: int, seed: int, interval: float) -> list[float]:
    """Seconds from crossed to both delivered, one a GPU."""
    inbox = Inbox()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yml"
        path.write_text(scenario(runs, seed, interval))
        given = Notifications("ops@localhost", inbox.smarthost, "", "", "", inbox.url)
        ports = [free_port() for _ in range(3)]
        plan = Plan(Path(folder), str(path), "", *ports, notifications=given)
        parts = [programs.exporter(plan), programs.alertmanager(plan, ("", ""))]
        parts.append(programs.prometheus(plan))
        with_interval(plan.data / "config" / "prometheus" / "prometheus.yml", interval)
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


def seconds(text: str) -> float:
    try:
        found = durations.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 2 <= found <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not from 2s to 10m")
    return found


def rounds(runs: int) -> list[int]:
    """How many GPUs each round has: as even as it goes, and at most so many."""
    count = -(-runs // ROUND)
    return [runs // count + (number < runs % count) for number in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, choices=range(2, 1001), metavar="2-1000")
    parser.add_argument("--interval", type=seconds, default=5.0, help="default: 5s, as shipped")
    parser.add_argument("--limit", type=seconds, help="of the 95th percentile; default: none")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    took: list[float] = []
    for number, runs in enumerate(rounds(arguments.runs)):
        took += measure(runs, arguments.seed + number, arguments.interval)
    took.sort()
    p95 = took[min(math.ceil(0.95 * len(took)), len(took)) - 1]
    print(f"{len(took)} runs at {arguments.interval:g} s: ", end="")
    print(f"median {statistics.median(took):.1f} s, p95 {p95:.1f} s, ", end="")
    print(f"least {took[0]:.1f} s, most {took[-1]:.1f} s")
    if arguments.limit is not None and p95 > arguments.limit:
        sys.exit(f"delivery: p95 is {p95:.1f} s, more than {arguments.limit:g} s")


if __name__ == "__main__":
    main()
