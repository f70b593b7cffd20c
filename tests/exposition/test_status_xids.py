"""What `status` makes of the XIDs on a page."""

from __future__ import annotations

import pytest

from gpu_sentinel.exposition import last_xid
from gpu_sentinel.exposition.dcgm import NO_XID, Xid
from gpu_sentinel.exposition.reader import Status, parse_status
from gpu_sentinel.model import DeviceId, Snapshot, XidReports

NOW = 1_800_000_000.0


def status(*xids: tuple[int, float]) -> Status:
    """Of a page with these XIDs and their ages."""
    gpu = 'gpu="0",uuid="GPU-0"'
    lines = [
        'gpu_sentinel_build_info{version="1"} 1',
        "gpu_sentinel_nvml_up 1",
        f"gpu_lost{{{gpu}}} 0",
        f'gpu_sentinel_last_sample_timestamp_seconds{{{gpu},tier="fast"}} {NOW}',
        *(f'gpu_xid_errors_total{{{gpu},xid="{xid}"}} 2' for xid, _ in xids),
        *(f'gpu_xid_last_timestamp_seconds{{{gpu},xid="{xid}"}} {NOW - age}' for xid, age in xids),
    ]
    return parse_status("\n".join(lines) + "\n", NOW)


def test_the_newest_comes_first_and_yesterdays_not_at_all():
    found = status((31, 5000.0), (94, 10.0), (79, 90_000.0))
    assert [(x.xid, x.reports) for x in found.xids] == [(94, 2), (31, 2)]
    assert found.problems == []


@pytest.mark.parametrize(
    ("xid", "age", "problem"),
    [(79, 10.0, True), (79, 3700.0, False), (62, 10.0, True), (31, 10.0, False), (998, 1.0, False)],
)
def test_what_is_a_problem(xid: int, age: float, problem: bool):
    found = status((xid, age))
    assert len(found.xids) == 1
    assert bool(found.problems) == problem


def test_a_clock_that_is_ahead_is_no_future():
    (xid,) = status((79, -30.0)).xids
    assert xid.age_seconds == 0.0


def test_equal_times_are_told_by_number():
    found = status((94, 10.0), (8, 10.0), (79, 5.0), (31, -30.0), (13, -20.0))
    assert [x.xid for x in found.xids] == [31, 13, 79, 8, 94], "the newest first, as on the page"


def test_last_xid_under_the_name_of_dcgm():
    gpu = DeviceId(0, "GPU-0")
    assert last_xid(Snapshot(), gpu) == NO_XID
    old = {79: XidReports(0, 30.0)}
    assert last_xid(Snapshot(xids={gpu: old}), gpu) == NO_XID, "from before the start"
    new = {31: XidReports(2, 20.0), 94: XidReports(1, 10.0)}
    assert last_xid(Snapshot(xids={gpu: old | new}), gpu) == Xid(31, "memory page fault")
