"""The metrics of events in the kernel log."""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import Kind, Metric, Op

_SOURCE = "the kernel log (/dev/kmsg, or --xid.kernel-log) where it can be read"
_LABELS = ("gpu", "uuid", "pci_bus_id", "event", "code")

KERNEL_METRICS = (
    Metric(
        name="gpu_kernel_events_total",
        kind=Kind.COUNTER,
        group="xid",
        op=Op.INVENTORY,
        labels=_LABELS,
        help="Events in the kernel log beside XIDs since the exporter started (docs/xids.md lists "
        "them). `gpu` and `uuid` are empty where the event is about no GPU, as those of a switch "
        "and of the whole host; `code` is the number of an SXid, or XID, unit and link of an error "
        "of NVLink. A series begins with the first "
        "event, at 1, which increase() misses: alert on the timestamp. It begins at 0 where the "
        "log held the event before the exporter started.",
        source=_SOURCE,
    ),
    Metric(
        name="gpu_kernel_event_last_timestamp_seconds",
        kind=Kind.GAUGE,
        group="xid",
        op=Op.INVENTORY,
        labels=_LABELS,
        help="Unix time of the last of these events, also of those that the kernel log held before "
        "the exporter started.",
        source=_SOURCE,
    ),
)
