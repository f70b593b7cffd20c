"""XIDs with what they mean and what to do, in the catalogue's words."""

from __future__ import annotations

from collections.abc import Mapping

from colours import CAUTION, CRITICAL, NEUTRAL, QUIET, WARNING
from core import Json, Panel
from panels import override
from promql import GPU, Scope
from tables import Column, table

from gpu_sentinel.catalogue.xids import XIDS, Severity

COLOURS = {
    Severity.FATAL: CRITICAL,
    Severity.RESET: WARNING,
    Severity.WARNING: CAUTION,
    Severity.APPLICATION: NEUTRAL,
    Severity.INFO: QUIET,
}


def words(texts: Mapping[int, tuple[str, str]] | Mapping[str, tuple[str, str]]) -> list[Json]:
    """Value mappings: what is shown, and in which colour."""
    options = {
        str(number): {"text": text, "color": color, "index": index}
        for index, (number, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def xid_table(scope: Scope, *, width: int = 24, height: int = 8) -> Panel:
    """Reports, the newest first; each leads to its GPU."""
    names = {n: (f"{n}: {x.name}", COLOURS[x.severity]) for n, x in XIDS.items()}
    actions = {n: (x.action, QUIET) for n, x in XIDS.items()}
    last = scope.read("gpu_xid_last_timestamp_seconds")
    reported = f"max by ({GPU}, xid, action) (label_replace({last}, 'action', '$1', 'xid', '(.*)'))"
    count = scope.read("gpu_xid_errors_total")
    counted = f"max by ({GPU}, xid, action) (label_replace({count}, 'action', '$1', 'xid', '(.*)'))"
    return table(
        "XIDs",
        "Error reports of the driver: what each means, and what to do. Times, where the exporter "
        "saw them; those of before its start come from the kernel log.",
        [
            Column("Last", f"topk(200, 1000 * {reported})", "dateTimeFromNow"),
            Column("Times", f"{counted}", decimals=0),
        ],
        labels=("host", "gpu"),
        more={"xid": "XID", "action": "What to do"},
        sort="Last",
        overrides=[
            override(
                "XID",
                {"id": "mappings", "value": words(names)},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                {"id": "custom.width", "value": 300},
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
