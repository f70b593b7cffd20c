"""GPUs of one model on one host that are at work: what they have in common, and who differs."""

from __future__ import annotations

from gpu_sentinel.rules.declare import JOIN, TARGET, Group, Record
from gpu_sentinel.rules.limits import Limits

ABOUT = (
    "Peers: GPUs of one model on one host that are busy for more than 80 % of the time. From three of "
    "them on, each is compared with their median. No long ranges: records of five minutes are used."
)
_PEERS = f"{TARGET}, name"
_BUSY = "gpu:utilization_ratio:mean5m > 0.8"
#: What is compared -> where it comes from, and how.
_COMPARED = (
    ("sm_clock", 'avg_over_time(gpu_clock_hertz{clock="sm"}[2m])', "/", "ratio"),
    ("power", "gpu:power_watts:mean5m", "/", "ratio"),
    ("temperature", "avg_over_time(gpu_temperature_celsius[2m])", "-", "celsius"),
)


def groups(limits: Limits) -> tuple[Group, ...]:  # noqa: ARG001 - every module has the same form
    """Every minute: what is compared are means."""
    rules: list[Record] = []
    for what, expr, operator, unit in _COMPARED:
        busy = f"gpu:{what}_at_work:mean"
        rules += [
            Record(
                name=busy,
                expr=f"""
                ({expr} and on ({JOIN}) ({_BUSY}))
                  * on ({JOIN}) group_left (name)
                max by ({JOIN}, name) (gpu_info)""",
            ),
            Record(
                name=f"host:{what}_at_work:median",
                expr=f"""
                quantile by ({_PEERS}) (0.5, {busy})
                  and count by ({_PEERS}) ({busy}) >= 3""",
            ),
            Record(
                name=f"gpu:{what}_to_peers:{unit}",
                expr=f"""
                {busy}
                  {operator} on ({_PEERS}) group_left ()
                (host:{what}_at_work:median {"> 0" if operator == "/" else ""})""",
            ),
        ]
    return (Group(name="gpu-peers", interval="1m", rules=tuple(rules)),)
