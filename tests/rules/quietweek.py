"""A week of three hosts on which nothing is wrong, from Monday 0:00 on.

Four H100 that train by day and at night, and two L40S and two desktop boards with fans: inference
that holds its memory, batches, short experiments; and a host that tells whose its GPUs are
(quietpeople.py). Any stretch of it can be recorded on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import quietpeople
import yaml
from recorded import RULE_FILES, Recording

from gpu_sentinel.sampling import Pace

MINUTE, HOUR, DAY = 60, 3600, 86400
EVERY = 15.0
#: As seldom as is of no account for alerts: a week has many seconds.
_PACE = Pace(fast=5.0, slow=15.0, buffers=15.0, profiling=1e6, static=1e6)
#: No alert asks for what these record.
RULES = [path for path in RULE_FILES if path.name not in ("fleet.yml", "dashboards.yml")]

HOSTS = {
    "node-1": [{"model": "h100-sxm", "count": 4}],
    "node-2": [{"model": "l40s", "count": 2}, {"model": "rtx-4080-super", "count": 2}],
    "node-3": quietpeople.GPUS,
}
#: By how much their clocks are ahead of Prometheus'.
AHEAD = {"node-1": -60.0, "node-2": 60.0, "node-3": 0.0}

#: What there is to be told in the week, for information.
INFO = {
    "node-1": frozenset({"info GpuPowerLimitLowered: GPU 3"}),
    # The inference server holds the memory of its GPU, at night without any work.
    "node-2": frozenset({"info GpuMemoryFull: GPU 0", "info GpuIdleWithMemory: GPU 0"}),
    "node-3": frozenset(),
}

_IDLE: dict[str, Any] = {"kind": "idle"}
#: Seconds of the week, and what happens then.
_Event = tuple[float, dict[str, Any]]


def _load(at: float, gpus: range | tuple[int, ...], load: dict[str, Any]) -> Iterator[_Event]:
    for gpu in gpus:
        yield at, {"gpu": gpu, "do": "load", "load": load}


def _training(utilization: float, memory: float) -> dict[str, Any]:
    """A checkpoint of 48 s every ten minutes."""
    return {"kind": "training", "utilization": utilization, "memory": memory, "period": "10m"}


def _steady(utilization: float, memory: float) -> dict[str, Any]:
    return {"kind": "steady", "utilization": utilization, "memory": memory}


def _serving(utilization: float, memory: float) -> dict[str, Any]:
    return {"kind": "inference", "utilization": utilization, "memory": memory, "period": "90s"}


def _node_1() -> Iterator[_Event]:
    every = range(4)
    yield 0, {"gpu": 3, "do": "power-limit", "watts": 600}
    for day in range(5):
        at = day * DAY
        yield from _load(at + 4 * HOUR, every, _IDLE)  # the night's job has ended
        yield from _load(at + 8 * HOUR + day * 7 * MINUTE, every, _training(0.98, 0.88))
        # The air is warmer in the afternoon.
        for hour, factor in ((13, 0.95), (14, 0.9), (17, 0.95), (19, 1.0)):
            yield at + hour * HOUR, {"gpu": "all", "do": "cooling", "factor": factor}
        yield from _load(at + 12 * HOUR, every, _IDLE)
        yield from _load(at + 12 * HOUR + 20 * MINUTE, every, _steady(0.85, 0.6))
        yield from _load(at + 15 * HOUR, (0, 1), _training(0.95, 0.7))
        yield from _load(at + 15 * HOUR, (2, 3), _serving(0.7, 0.5))
        yield from _mishap(at + 16 * HOUR)
        yield from _load(at + 19 * HOUR + 30 * MINUTE, every, _IDLE)
        if day < 4:
            yield from _load(at + 20 * HOUR, every, _training(0.99, 0.92))
    yield from _load(5 * DAY + 10 * HOUR, (0,), _steady(0.9, 0.8))  # a short one on Saturday
    yield from _load(5 * DAY + 11 * HOUR, (0,), _IDLE)


def _mishap(at: float) -> Iterator[_Event]:
    """A program of a user fails, and is started again."""
    for xid in (31, 43, 13):
        yield at, {"gpu": 1, "do": "xid", "xid": xid}
    yield from _load(at, (0, 1), _IDLE)
    yield from _load(at + 3 * MINUTE, (0, 1), _training(0.95, 0.7))


def _node_2() -> Iterator[_Event]:
    for day in range(7):
        at = day * DAY
        yield from _load(at, (0,), {"kind": "idle", "memory": 0.97})
        yield from _load(at + 6 * HOUR, (0,), _serving(0.3, 0.97))
        yield from _load(at + 9 * HOUR, (0,), _serving(0.8, 0.97))
        yield from _load(at + 21 * HOUR, (0,), _serving(0.2, 0.97))
        if day > 4:
            continue
        yield from _warm_up(at + 9 * HOUR + 30 * MINUTE)
        yield from _load(at + 18 * HOUR, (1,), _IDLE)
        # Experiments: started, mended, started again.
        for number in range(12):
            begin = at + 10 * HOUR + number * 8 * MINUTE
            yield from _load(begin, (2,), _steady(0.95, 0.85))
            yield from _load(begin + (2 + number % 3) * MINUTE, (2,), _IDLE)
        yield from _load(at + 14 * HOUR, (2, 3), _training(0.9, 0.7))
        yield from _load(at + 17 * HOUR, (2, 3), _IDLE)
        yield from _load(at + 20 * HOUR, (1, 2), _steady(0.9, 0.5))
        yield from _load(at + 22 * HOUR, (1, 2), _IDLE)


def _warm_up(at: float) -> Iterator[_Event]:
    """A batch that fills its caches for ten minutes."""
    for minute in range(11):
        yield from _load(at + minute * MINUTE, (1,), _steady(0.9, 0.3 + 0.04 * minute))


_PLANS = {"node-1": _node_1, "node-2": _node_2, "node-3": quietpeople.events}


@dataclass(frozen=True)
class Stretch:
    """Seconds of the week."""

    host: str
    start: float
    seconds: float

    def recording(self, folder: Path) -> Recording:
        """Its scenario is written into a folder."""
        path = folder / f"{self.host}-{self.start:.0f}.yml"
        path.write_text(yaml.safe_dump(self._scenario()))
        return Recording(
            str(path),
            self.seconds,
            every=EVERY,
            host=self.host,
            # A new version of the exporter, and an update of Prometheus.
            down=self._daily(9 * HOUR + 45 * MINUTE, 15),
            unscraped=self._daily(20 * HOUR + 10 * MINUTE, 4 * MINUTE),
            ahead=AHEAD[self.host],
            pace=_PACE,
            lean=True,
        )

    def _daily(self, at: float, seconds: float) -> list[tuple[float, float]]:
        begins = (day * DAY + at - self.start for day in range(7))
        return [(b, b + seconds) for b in begins if 0 < b < self.seconds]

    def _scenario(self) -> dict[str, Any]:
        events, people = [], []
        before: dict[tuple[str, str], dict[str, Any]] = {}
        for at, event in sorted(_PLANS[self.host](), key=lambda pair: pair[0]):
            if at < self.start and event["do"] in quietpeople.ACTIONS:
                people.append({"at": "0s", **event})
            elif at < self.start:
                # What holds at the beginning is what was set last.
                before[str(event["gpu"]), event["do"]] = event
            elif at < self.start + self.seconds:
                events.append({"at": f"{at - self.start:.0f}s", **event})
        set_ = [{"at": "0s", **event} for event in before.values() if event["do"] != "xid"]
        return {
            "description": f"{self.host}, a stretch of a quiet week.",
            "gpus": HOSTS[self.host],
            "events": [*set_, *people, *events],
        }
