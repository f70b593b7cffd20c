"""Whose process an XID names, also when it has ended, or nobody can say at the moment."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from gpu_sentinel.host.owners.memory import Process
from gpu_sentinel.model import NOBODY, Allocation, DeviceId, Owner, XidOwner, XidReports
from gpu_sentinel.sampling import SnapshotStore
from gpu_sentinel.sampling.owners.holders import Held
from gpu_sentinel.sampling.owners.shared import Owners
from gpu_sentinel.sampling.owners.xids import MOST_OWNERS, XidOwners
from gpu_sentinel.sampling.xidbook import Named, NamingReport, XidBook

GPU = DeviceId(0, "GPU-0")
JOB = Owner("slurm_job", "4711", slurm_job="4711")
POD = Owner("pod", "lab/nb", k8s_namespace="lab", k8s_pod="nb")


def process(pid: int, owner: Owner) -> Process:
    return Process(pid, 1, 900.0, "python3", 1000, owner)


class Desk:
    """What looks owners up, with processes that the test knows."""

    def __init__(
        self,
        recent: Callable[[int, float | None], Process | None] = lambda _pid, _wall: None,
        held: tuple[Held, ...] = (),
    ) -> None:
        self.store = SnapshotStore()
        owners = Owners(lambda _pid, _listed: None, lambda _uuid: held, recent=recent)
        self.xids = XidOwners(owners, self.store)

    def found(self) -> dict[XidOwner, XidReports]:
        return dict(self.store.current.owner_xids.get(GPU, {}))


def report(xid: int, wall: float = 1000.0, **named: int) -> NamingReport:
    return NamingReport(GPU, xid, wall, Named(**named))


def test_the_process_of_that_time_is_asked_for(eventually):
    asked = []

    def recent(pid: int, wall: float | None) -> Process | None:
        asked.append((pid, wall))
        return process(pid, JOB) if pid == 71 else None

    desk = Desk(recent)
    desk.xids.take(report(31, 1000.0, pid=71))
    desk.xids.take(report(31, 1001.0, pid=71))
    desk.xids.take(report(31, 1002.0, pid=72))
    eventually(lambda: len(asked) == 3 and len(desk.found()) == 2, 3, "all are looked up")
    assert asked == [(71, 1000.0), (71, 1001.0), (72, 1002.0)]
    assert desk.found() == {
        XidOwner(31, None, JOB): XidReports(2, 1001.0),
        XidOwner(31, None, NOBODY): XidReports(1, 1002.0),
    }


@pytest.mark.parametrize(
    ("holders", "whose"),
    [
        ([(JOB, 2)], JOB),
        ([(JOB, 2), (POD, 3)], JOB),
        ([(JOB, 2), (JOB, 2)], JOB),
        ([(JOB, 2), (POD, 2)], NOBODY),
        ([(JOB, None)], NOBODY),
        ([], NOBODY),
    ],
)
def test_a_gpu_instance_is_its_only_holders(eventually, holders, whose: Owner):
    held = tuple((Allocation(owner, "MIG", "r", "slurm"), part) for owner, part in holders)
    desk = Desk(held=held)
    desk.xids.take(report(94, gpu_instance=2))
    eventually(desk.found, 3, "it is looked up")
    assert list(desk.found()) == [XidOwner(94, 2, whose)]


def test_a_look_up_that_hangs_holds_up_nobody(eventually):
    """As a file of /proc does while the process is in the driver."""
    go_on = threading.Event()

    def recent(pid: int, _wall: float | None) -> Process | None:
        go_on.wait(30)
        return process(pid, JOB)

    desk = Desk(recent)
    book = XidBook(desk.store, lambda: [(GPU, "00000000:3B:00.0")], named=desk.xids.take)
    try:
        for second in range(1000):
            wall = 1000.0 + second
            book.by_address("0:3b:0", 31, wall, "", new=True, named=Named(pid=71))
        book.settle()
        assert desk.store.current.xids == {GPU: {31: XidReports(1000, 1999.0)}}
        assert desk.found() == {}
        hanging = [t for t in threading.enumerate() if t.name == "xid-owners"]
        assert len(hanging) == 1
    finally:
        go_on.set()
    eventually(lambda: not hanging[0].is_alive(), 5, "the thread has ended")
    (reports,) = desk.found().values()
    assert 200 < reports.count < 300, "what waited is bounded"


def test_a_report_that_names_nobody_is_nobodys_series():
    desk = Desk()
    book = XidBook(desk.store, lambda: [(GPU, "00000000:3B:00.0")], named=desk.xids.take)
    book.by_address("0:3b:0", 79, 1000.0, "", new=True)
    book.by_address("0:3b:0", 31, 900.0, "", new=False, named=Named(pid=71))
    assert not [t for t in threading.enumerate() if t.name == "xid-owners"]
    assert desk.found() == {}


def test_the_owner_who_was_named_least_lately_goes_first(eventually):
    desk = Desk(lambda pid, _wall: process(pid, Owner("user", f"u{pid}")))
    for pid in range(1, MOST_OWNERS + 6):
        desk.xids.take(report(31, 1000.0 + pid, pid=pid))
    last = XidOwner(31, None, Owner("user", f"u{MOST_OWNERS + 5}"))
    eventually(lambda: last in desk.found(), 3, "the last is told")
    assert len(desk.found()) == MOST_OWNERS
    assert XidOwner(31, None, Owner("user", "u5")) not in desk.found()
    assert XidOwner(31, None, Owner("user", "u6")) in desk.found()


def test_a_defect_costs_one_report(eventually, caplog):
    def recent(pid: int, _wall: float | None) -> Process | None:
        if pid == 1:
            raise RuntimeError("odd")
        return process(pid, JOB)

    desk = Desk(recent)
    desk.xids.take(report(31, pid=1))
    desk.xids.take(report(31, pid=2))
    eventually(desk.found, 3, "the second is told")
    assert "whose an XID is cannot be found out" in caplog.text
