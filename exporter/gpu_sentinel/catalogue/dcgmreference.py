"""DCGM's names beside ours, as a table for people."""

from __future__ import annotations

from gpu_sentinel.catalogue.dcgm import DCGM, XID_ERRORS, DcgmMetric
from gpu_sentinel.catalogue.metric import Kind, Op
from gpu_sentinel.catalogue.metrics import METRICS


def native(metric: DcgmMetric) -> str:
    """Our metric in PromQL, in our unit."""
    if metric.native is not None:
        return metric.native
    key = metric.readings[0][0]
    for ours in METRICS:
        for values, found in ours.value_keys() if ours.op is Op.READ else ():
            if found == key:
                pairs = zip(ours.own_labels, values, strict=True)
                labels = ",".join(f'{name}="{value}"' for name, value in pairs)
                return f"{ours.name}{{{labels}}}" if labels else ours.name
    raise LookupError(f"{metric.name}: no metric of ours shows {key}")


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
        rows.append(f"| `{metric.name}` | {kind}{unit} | {ours} |")
    return "\n".join(rows) + "\n"
