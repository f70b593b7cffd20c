"""The landing page's content, of snapshots that are made by hand."""

from __future__ import annotations

from gpu_sentinel.exposition import ReloadState
from gpu_sentinel.model import DeviceId, Snapshot, XidReports
from gpu_sentinel.statuspage import status_page

NOW = 1_800_000_000.0


def test_xids_are_in_the_order_of_the_command_status():
    xids = {
        DeviceId(10, "GPU-10"): {31: XidReports(1, NOW - 10)},
        DeviceId(2, "GPU-2"): {94: XidReports(1, NOW - 10), 8: XidReports(1, NOW - 10)},
        DeviceId(3, "GPU-3"): {79: XidReports(1, NOW - 5), 13: XidReports(1, NOW - 90_000)},
    }
    page = status_page(Snapshot(xids=xids), ReloadState(), None, lambda: 0.0, lambda: NOW)
    assert [(row.gpu, row.xid) for row in page.xids] == [
        ("3", "79"),
        ("2", "8"),
        ("2", "94"),
        ("10", "31"),
    ]
