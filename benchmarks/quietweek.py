"""A whole week on which nothing is wrong, through Prometheus' own rule engine: what would be told?

Two simulated hosts with four GPUs each, scraped every 15 s: training, inference, batches, idle
nights, failing programs, exporters and a Prometheus that restart, clocks that are a minute off. The
week is that of the tests, tests/rules/quietweek.py, of which they run parts. Needs `promtool`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "rules")]

from quietweek import DAY, EVERY, HOSTS, HOUR, INFO, RULES, Stretch  # noqa: E402
from recorded import Firing, firings, record  # noqa: E402

#: Before each day, so that rules have what they look back at.
BEFORE = 1.5 * HOUR
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def run(host: str, day: int) -> tuple[str, int, int, list[Firing]]:
    """Host, day, scrapes, and what fired."""
    logging.disable()
    start = max(day * DAY - BEFORE, 0.0)
    part = Stretch(host, start, (day + 1) * DAY - start)
    with tempfile.TemporaryDirectory() as folder:
        lines = record(part.recording(Path(folder)))
        promtool = shutil.which("promtool") or "promtool"
        found = firings(promtool, Path(folder), [lines], EVERY, rules=RULES, look=60)
    return host, day, lines.scrapes, found


def told(found: Iterable[Firing], host: str) -> list[Firing]:
    """False alarms: all that the week has no reason for."""
    return [f for f in found if f.name not in INFO[host]]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--days", type=int, default=7, help="days from Monday on (%(default)s)")
    options.add_argument("--processes", type=int, default=2, help="at a time (%(default)s)")
    chosen = options.parse_args()
    if shutil.which("promtool") is None:
        print("quietweek.py: promtool is missing", file=sys.stderr)
        return 1
    began, false, scrapes = time.monotonic(), 0, 0
    with ProcessPoolExecutor(chosen.processes) as pool:
        parts = [pool.submit(run, host, day) for day in range(chosen.days) for host in HOSTS]
        for part in parts:
            host, day, count, found = part.result()
            wrong = told(found, host)
            false += len(wrong)
            scrapes += count
            print(f"{DAYS[day]}, {host}: {count} scrapes, {len(wrong)} false alarms", flush=True)
            for firing in found:
                print(f"  {'FALSE ' if firing in wrong else ''}{firing}", flush=True)
    took = (time.monotonic() - began) / 60
    print(f"{chosen.days} days, {scrapes} scrapes, {false} false alarms, {took:.0f} min")
    return 1 if false else 0


if __name__ == "__main__":
    sys.exit(main())
