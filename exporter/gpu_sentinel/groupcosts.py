"""What each group of metrics is worth and costs: its alerts; series and calls, as simulated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gpu_sentinel.catalogue import GROUPS, METRICS, Metric, Op, keys_needed
from gpu_sentinel.catalogue.health import verdicts
from gpu_sentinel.model import Tier, Value
from gpu_sentinel.nvml import CallStats, Device, Driver
from gpu_sentinel.rules.declare import Alert, Record
from gpu_sentinel.rules.files import FILES
from gpu_sentinel.rules.thresholds import DEFAULTS
from gpu_sentinel.simulator import Simulation, load_scenario
from gpu_sentinel.simulator.models import MODELS

#: The boards of the table.
BOARDS = ("h100-sxm", "a100-sxm", "l40s", "rtx-4080-super")
#: Of what kind a driver's call can be, as the table has it.
TIERS = (Tier.FAST, Tier.PROFILING, Tier.SLOW, Tier.STATIC)
#: Of a series in PromQL; words of the language and labels match too, and are no metrics.
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one group on one board.

    Attributes:
        series: how many it has.
        calls: calls to the driver by tier, one reading of each; calls that serve another group
            too are counted for both.
    """

    series: int
    calls: Mapping[Tier, int]


def costs(board: str) -> dict[str, Cost]:
    """Of every group, on a simulated board.

    Args:
        board: one of the simulator's models.
    """
    scenario = load_scenario("steady")
    model = MODELS[board]
    gpus = tuple((model, load) for _, load in scenario.gpus)
    simulation = Simulation(replace(scenario, gpus=gpus, driver=model.driver), lambda: 60.0)
    driver = Driver(CallStats(), simulation.library)
    driver.open()
    device = driver.device(0)
    try:
        device.probe()
        values: dict[str, Value] = {}
        for tier in Tier:
            values.update(device.read(tier))
        if device.profiler is not None:
            values.update(dict.fromkeys(device.profiler.keys, 0.0))
        identity = device.identity()
        return {group: _cost(group, device, values, identity) for group in GROUPS}
    finally:
        device.close()
        driver.close()


def _cost(
    group: str, device: Device, values: Mapping[str, Value], identity: Mapping[str, str]
) -> Cost:
    metrics = [m for m in METRICS if m.group == group]
    keys = keys_needed(metrics)
    calls = {
        tier: sum(1 for bound in device.plan[tier] if not keys.isdisjoint(bound.keys))
        for tier in TIERS
    }
    if device.profiler is not None:
        calls[Tier.PROFILING] += not keys.isdisjoint(device.profiler.keys)
    return Cost(sum(_series(m, values, identity) for m in metrics), calls)


def _series(metric: Metric, values: Mapping[str, Value], identity: Mapping[str, str]) -> int:
    """How many series a GPU has of a metric."""
    if metric.op is Op.INVENTORY:
        if metric.all_labels[:2] != ("gpu", "uuid"):
            return 0  # one a host
        if metric.name == "gpu_health_status":
            return len(verdicts(values, lost=False))
        if metric.name.endswith("_info"):
            return int(any(identity.get(name) for name in metric.all_labels[2:]))
        return int(metric.name == "gpu_lost")
    if metric.op is Op.SAMPLER:
        return int(not metric.needs or not values.keys().isdisjoint(metric.needs))
    found = (values.get(key) for key in metric.series.values())
    each = len(metric.bounds) + 1 if metric.bounds else 1
    return sum(len(v) if isinstance(v, tuple) else each for v in found if v is not None)


def alerts_by_group() -> dict[str, list[str]]:
    """The alerts that ask for a metric of a group, by themselves or by what is recorded."""
    rules = [rule for file in FILES for group in file.groups(DEFAULTS) for rule in group.rules]
    recorded: dict[str, set[str]] = {}
    for rule in rules:
        if isinstance(rule, Record):
            recorded.setdefault(rule.name, set()).update(_NAME.findall(rule.expr))
    groups = {m.name: m.group for m in METRICS}
    found: dict[str, list[str]] = {}
    for rule in rules:
        if isinstance(rule, Alert):
            asked, seen = _NAME.findall(rule.expr), set[str]()
            while asked:
                name = asked.pop()
                if name not in seen:
                    seen.add(name)
                    asked += recorded.get(name, ())
            for group in sorted({groups[name] for name in seen & groups.keys()}):
                found.setdefault(group, []).append(rule.name)
    return found


def table() -> Iterator[str]:
    """The lines of a Markdown table, and what alerts are in its last column."""
    found = {board: costs(board) for board in BOARDS}
    names = [MODELS[board].name.removeprefix("NVIDIA ") for board in BOARDS]
    alerts = alerts_by_group()
    calls = f"calls: {', '.join(t.value for t in TIERS)}"
    yield f"| group | on | {' | '.join(names)} | {calls} | alerts |"
    yield "|" + "---|" * (len(BOARDS) + 4)
    for name, group in GROUPS.items():
        series = " | ".join(str(found[board][name].series) for board in BOARDS)
        calls = ", ".join(str(found[BOARDS[0]][name].calls[tier]) for tier in TIERS)
        yield (
            f"| `{name}` | {'yes' if group.on else ''} | {series} | {calls} "
            f"| {len(alerts[name]) if name in alerts else ''} |"
        )
    totals = (sum(found[b][n].series for n, g in GROUPS.items() if g.on) for b in BOARDS)
    yield f"| all that are on | | {' | '.join(map(str, totals))} | | |"
    yield ""
    for name in (name for name in GROUPS if name in alerts):
        yield f"- `{name}`: {', '.join(f'`{alert}`' for alert in sorted(alerts[name]))}"
