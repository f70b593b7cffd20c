"""XIDs: what the driver's error reports mean, and what to do about each.

Severities follow the immediate action that NVIDIA's catalogue asks for: a restart of the machine
is fatal, a reset of the GPU is a reset, a restart of the program without a cause in the hardware is
the application's. Where it names none yet (from 166 on), they follow the XIDs that are alike;
where what to do depends on the details (144 to 150), XID 154 and `gpu_recovery_action` tell it.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpu_sentinel.catalogue.xids.hardware import BOARD, MEMORY
from gpu_sentinel.catalogue.xids.links import DISPLAY, LINKS
from gpu_sentinel.catalogue.xids.record import Severity, Source, Xid
from gpu_sentinel.catalogue.xids.work import WORK

#: A greater number is no XID.
MOST = 999
#: How old a report may be to be shown to a person, and to be a problem where it asks for somebody.
RECENT_SECONDS, URGENT_SECONDS = 86400.0, 3600.0

#: NVIDIA says of these that no driver reports them.
RESERVED = {
    87: "telemetry report",
    90: "L2 cache error",
    91: "reserved",
}

XIDS: Mapping[int, Xid] = {
    xid.number: xid
    for xid in sorted(
        (
            *WORK,
            *MEMORY,
            *BOARD,
            *LINKS,
            *DISPLAY,
            *(
                Xid(
                    number,
                    name,
                    Severity.WARNING,
                    "NVIDIA has kept this number for itself and does not say what it means.",
                    "Ask for support if work fails.",
                    Source.LISTING,
                )
                for number, name in RESERVED.items()
            ),
        ),
        key=lambda xid: xid.number,
    )
}


def explain(number: int) -> Xid:
    """What is known of an XID; something even of one that is not in the table."""
    known = XIDS.get(number)
    if known is not None:
        return known
    return Xid(
        number,
        "not in the table",
        Severity.WARNING,
        "This XID is newer than the exporter, or no driver reports it.",
        "Look it up in NVIDIA's catalogue: " + Source.CATALOGUE.value,
        Source.NOWHERE,
    )


#: Those for which the alert fires.
PAGING: tuple[int, ...] = tuple(n for n, xid in XIDS.items() if xid.severity.pages)

__all__ = [
    "MOST",
    "PAGING",
    "RECENT_SECONDS",
    "URGENT_SECONDS",
    "XIDS",
    "Severity",
    "Source",
    "Xid",
    "explain",
]
