"""The thresholds as series, for dashboards and for the GPUs for which they are others."""

from __future__ import annotations

import textwrap

from gpu_sentinel.rules.declare import GPU, Group, Record
from gpu_sentinel.rules.limits import OVERRIDE, Limits

ABOUT = "Thresholds as series: what holds by default, and what for some GPUs. From thresholds.yml."


def groups(limits: Limits) -> tuple[Group, ...]:
    """Slow, because they change with the file only; the overrides follow `gpu_info`."""
    defaults = tuple(
        Record(
            name="gpu_sentinel:threshold:default",
            expr=f"vector({limits.number(key)})",
            labels=(("threshold", key),),
        )
        for key in limits.values
    )
    overrides = tuple(_override(limits, key) for key in limits.values if limits.overridden(key))
    slow = Group(name="gpu-thresholds", rules=defaults, interval="1m")
    if not overrides:
        return (slow,)
    return slow, Group(name="gpu-threshold-overrides", rules=overrides, interval="15s")


def _override(limits: Limits, key: str) -> Record:
    parts = [
        f"max by ({GPU}) (gpu_info{{{each.selector}}}) * 0 + {each.values[key]:.12g}"
        for each in limits.overridden(key)
    ]
    return Record(
        name=OVERRIDE,
        expr="\nor\n".join(textwrap.indent(part, "  ") for part in parts),
        labels=(("threshold", key),),
    )
