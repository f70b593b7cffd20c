"""The metrics of XIDs."""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import Kind, Metric, Op

_SOURCE = "the kernel log (/dev/kmsg) where it can be read and understood, else nvmlEventSetWait_v2"
_LABELS = ("gpu", "uuid", "xid")

XID_METRICS = (
    Metric(
        name="gpu_xid_errors_total",
        kind=Kind.COUNTER,
        group="xid",
        op=Op.INVENTORY,
        labels=_LABELS,
        help="Reports of this XID since the exporter started. A series begins with the first "
        "report, at 1, which increase() misses: alert on the timestamp. It begins at 0 where the "
        "kernel log held the XID before the exporter started.",
        source=_SOURCE,
    ),
    Metric(
        name="gpu_xid_last_timestamp_seconds",
        kind=Kind.GAUGE,
        group="xid",
        op=Op.INVENTORY,
        labels=_LABELS,
        help="Unix time of the last report of this XID, also of those that the kernel log held "
        "before the exporter started.",
        source=_SOURCE,
    ),
)
