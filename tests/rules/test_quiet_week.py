"""Parts of a week on which nothing is wrong; `benchmarks/quietweek.py` runs all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from quietweek import DAY, EVERY, HOSTS, HOUR, RULES, Stretch
from recorded import firings, record

LOWERED = "info GpuPowerLimitLowered: GPU 3"
FULL, HELD = "info GpuMemoryFull: GPU 0", "info GpuIdleWithMemory: GPU 0"
#: A night with an inference server that nobody asks; jobs that start, a new exporter; the evening
#: before a weekend. Seconds of the week, how many, and what there is to be told of each host.
STRETCHES = {
    "night": (DAY, 2.5 * HOUR, {"node-1": {LOWERED}, "node-2": {FULL, HELD}, "node-3": set()}),
    "monday": (8.5 * HOUR, 4 * HOUR, {"node-1": {LOWERED}, "node-2": {FULL}, "node-3": set()}),
    "friday": (
        4 * DAY + 19 * HOUR,
        3 * HOUR,
        {"node-1": {LOWERED}, "node-2": {FULL}, "node-3": set()},
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("stretch", STRETCHES)
def test_nobody_is_woken(tool: Callable[..., str], tmp_path: Path, host: str, stretch: str):
    start, seconds, alerts = STRETCHES[stretch]
    part = Stretch(host, start, seconds)
    recording = part.recording(tmp_path)
    lines = record(recording)
    found = firings(tool("promtool"), tmp_path, [lines], EVERY, rules=RULES, look=60)
    told = "\n".join(["what fired, and when:", *map(str, found)])
    # While Prometheus is updated it evaluates nothing; promtool does, and finds nothing stored.
    away = [(begin, end + 60) for begin, end in recording.unscraped]
    told_for_real = {
        f.name
        for f in found
        if f.alert != "PrometheusStoresNothing"
        or not any(begin <= f.first <= f.last <= end for begin, end in away)
    }
    assert told_for_real == alerts[host], told
