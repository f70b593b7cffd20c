"""DCGM's names beside ours, as a table for people."""

from __future__ import annotations

import re

from gpu_sentinel.catalogue.dcgm import DCGM, XID_ERRORS, DcgmMetric
from gpu_sentinel.catalogue.groups import GROUPS
from gpu_sentinel.catalogue.metric import Kind, Op
from gpu_sentinel.catalogue.metrics import METRICS


def native(metric: DcgmMetric) -> str:
    """Our metric in PromQL, in our unit; of several readings the first that is there, as there."""
    if metric.native is not None:
        return metric.native
    found = " or ".join(_shown(metric, key) for (key,) in metric.readings)
    return found if len(metric.readings) == 1 or metric.unit.promql == "{}" else f"({found})"


def _shown(metric: DcgmMetric, key: str) -> str:
    for ours in METRICS:
        for values, found in ours.value_keys() if ours.op is Op.READ else ():
            if found == key:
                pairs = zip(ours.own_labels, values, strict=True)
                labels = ",".join(f'{name}="{value}"' for name, value in pairs)
                return f"{ours.name}{{{labels}}}" if labels else ours.name
    raise LookupError(f"{metric.name}: no metric of ours shows {key}")


def groups_off(expression: str) -> list[str]:
    """The groups, off by default, without which this PromQL finds nothing."""
    names = set(re.findall(r"\bgpu_\w+", expression))
    groups = dict.fromkeys(m.group for m in METRICS if m.name in names)
    return [group for group in groups if not GROUPS[group].on]


def equivalent(metric: DcgmMetric) -> str:
    """PromQL over our metrics that gives DCGM's value; the XID has none."""
    return metric.unit.promql.format(native(metric))


def table() -> str:
    """Every name: type and unit with DCGM, and the PromQL that gives the same from ours."""
    rows = ["| DCGM | type, unit | native PromQL with the same value |", "|---|---|---|"]
    for metric in DCGM:
        kind = "counter" if metric.kind is Kind.COUNTER else "gauge"
        unit = f", {metric.unit.name}" if metric.unit.name else ""
        ours = f"`{equivalent(metric)}`"
        if metric is XID_ERRORS:
            ours = f"{ours} counts, by `xid`; see below"
        if off := groups_off(equivalent(metric)):
            ours = f"{ours}, with `--metrics.enable {','.join(off)}`"
        rows.append(f"| `{metric.name}` | {kind}{unit} | {ours} |")
    return "\n".join(rows) + "\n"
