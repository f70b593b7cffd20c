"""Events of the kernel log with what to do, in the catalogue's words."""

from __future__ import annotations

from core import Panel
from panels import override
from promql import GPU, Scope
from tables import Column, table
from xidtable import COLOURS, words

from gpu_sentinel.catalogue.kernel import KERNEL_EVENTS
from gpu_sentinel.catalogue.xids import Severity

_LABELS = f"{GPU}, event, code, pci_bus_id, action"


def kernel_table(scope: Scope, *, width: int = 24, height: int = 6) -> Panel:
    """Events, the newest first, but those that ask for nothing."""
    shown = [e for e in KERNEL_EVENTS.values() if e.severity is not Severity.INFO]
    names = {e.name: (e.name, COLOURS[e.severity]) for e in shown}
    actions = {e.name: (e.action, COLOURS[Severity.INFO]) for e in shown}
    only = f'event=~"{"|".join(names)}"'
    last, count = (
        f"max by ({_LABELS}) (label_replace({scope.gpu(name, only)}, "
        "'action', '$1', 'event', '(.*)'))"
        for name in ("gpu_kernel_event_last_timestamp_seconds", "gpu_kernel_events_total")
    )
    return table(
        "Other events in the kernel log",
        "What the kernel says of GPUs, NVSwitches and their bus beside XIDs. Without a GPU where "
        "it is about a switch or about the whole host.",
        [
            Column("Last", f"topk(200, 1000 * {last})", "dateTimeFromNow"),
            Column("Times", count, decimals=0),
        ],
        labels=("host", "gpu"),
        more={
            "event": "Event",
            "code": "Code",
            "pci_bus_id": "Address",
            "action": "What to do",
        },
        sort="Last",
        overrides=[
            override(
                "Event",
                {"id": "mappings", "value": words(names)},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                {"id": "custom.width", "value": 160},
            ),
            override(
                "What to do",
                {"id": "mappings", "value": words(actions)},
                {"id": "custom.cellOptions", "value": {"type": "auto", "wrapText": True}},
                {"id": "custom.minWidth", "value": 400},
            ),
        ],
        width=width,
        height=height,
    )
