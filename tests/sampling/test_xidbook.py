"""What is counted, published and logged of XIDs, at times that the test sets."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from gpu_sentinel.model import UNLISTED, DeviceId, XidReports
from gpu_sentinel.sampling import SnapshotStore
from gpu_sentinel.sampling.xidbook import KERNEL_LOG, NVML, SAME_SECONDS, STRANGE_SECONDS, XidBook

GPU = DeviceId(0, "GPU-0")
OTHER = DeviceId(1, "GPU-1")


class Lines(logging.Handler):
    """The log lines of the book, with their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.fields.append({"level": record.levelname, **record.fields})  # type: ignore[attr-defined]


class Desk:
    """A book with its surroundings."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = SnapshotStore()
        self.known: list[tuple[DeviceId, str]] = [
            (GPU, "00000000:3B:00.0"),
            (OTHER, "00000000:86:00.0"),
        ]
        self.strangers: dict[str, DeviceId | None] = {}
        self.book = XidBook(
            self.store, lambda: self.known, lambda: self.now, stranger=self.strangers.get
        )

    def shown(self, after: float = 1.0) -> dict[DeviceId, dict[int, XidReports]]:
        self.now += after
        self.book.settle()
        return {id_: dict(reports) for id_, reports in self.store.current.xids.items()}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("gpu_sentinel.sampling.xidbook")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_new_reports_count_and_old_ones_set_the_time(desk: Desk):
    desk.book.by_address("0:3b:0", 63, 500.0, "", new=False)
    desk.book.by_address("0:3b:0", 79, 900.0, "", new=True)
    desk.book.by_address("0:3b:0", 79, 901.0, "", new=True)
    desk.book.by_address("0:86:0", 31, 902.0, "", new=True)
    assert desk.shown() == {
        GPU: {63: XidReports(0, 500.0), 79: XidReports(2, 901.0)},
        OTHER: {31: XidReports(1, 902.0)},
    }


def test_a_series_of_the_past_goes_on_from_zero(desk: Desk):
    desk.book.by_address("0:3b:0", 63, 500.0, "", new=False)
    desk.book.by_address("0:3b:0", 63, 900.0, "", new=True)
    assert desk.shown()[GPU] == {63: XidReports(1, 900.0)}


def test_time_never_goes_back(desk: Desk):
    desk.book.by_gpu(GPU, 79, 900.0, new=True)
    desk.book.by_gpu(GPU, 79, 800.0, new=True)
    assert desk.shown()[GPU] == {79: XidReports(2, 900.0)}


def test_reports_wait_for_their_gpu(desk: Desk):
    known, desk.known = desk.known, []
    desk.book.by_address("0:3b:0", 79, 900.0, "", new=True)
    assert desk.shown() == {}
    desk.known = known
    desk.book.by_address("0:3b:0", 79, 950.0, "", new=True)
    assert desk.shown() == {GPU: {79: XidReports(2, 950.0)}}


def test_index_may_change(desk: Desk):
    desk.book.by_gpu(GPU, 79, 900.0, new=True)
    desk.shown()
    moved = DeviceId(5, GPU.uuid)
    desk.known[0] = (moved, "00000000:3B:00.0")
    assert desk.shown() == {moved: {79: XidReports(1, 900.0)}}


def test_published_a_few_times_a_second_at_most(desk: Desk):
    published = set()
    for _ in range(1000):
        desk.book.by_gpu(GPU, 31, desk.now, new=True)
        desk.shown(after=0.001)
        published.add(desk.store.current.sequence)
    assert len(published) <= 5
    assert desk.shown()[GPU][31].count == 1000


def test_nothing_new_is_published_once(desk: Desk):
    desk.book.by_gpu(GPU, 31, desk.now, new=True)
    desk.shown()
    sequence = desk.store.current.sequence
    desk.shown()
    assert desk.store.current.sequence == sequence
    assert desk.book.due == float("inf")


def test_log_tells_the_first_and_then_once_a_minute(desk: Desk, lines: Lines):
    for _ in range(10_000):  # as many in a minute
        desk.book.by_address("0:3b:0", 31, desk.now, "Ch 8", new=True)
        desk.now += 0.006
    desk.book.by_gpu(GPU, 79, desk.now, new=True)
    assert [(x["xid"], x["level"]) for x in lines.fields] == [(31, "INFO"), (79, "ERROR")]
    assert lines.fields[0]["detail"] == "Ch 8"
    desk.shown(after=61.0)
    assert lines.fields[2]["more"] == 9999
    desk.shown(after=61.0)
    assert len(lines.fields) == 3
    assert desk.store.current.xids[GPU][31].count == 10_000


def test_old_reports_are_not_told_one_by_one(desk: Desk, lines: Lines):
    desk.book.by_gpu(GPU, 79, 1.0, new=False)
    assert lines.fields == []


def test_a_log_that_lies_fills_no_memory(desk: Desk, lines: Lines):
    for xid in range(1, 1000):
        desk.book.by_gpu(GPU, xid, desk.now, new=True)
    for bus in range(1000):
        desk.book.by_address(f"0:{bus:x}:0", 79, desk.now, "", new=True)
    assert len(desk.shown()[GPU]) < 200
    assert len(desk.book._strangers) <= 128
    desk.strangers.update(
        {f"0:{bus:x}:0": DeviceId(UNLISTED, f"pci-{bus}", str(bus)) for bus in range(1000)}
    )
    shown = desk.shown(after=STRANGE_SECONDS)
    assert sum(id_.index == UNLISTED for id_ in shown) == 32
    assert len(lines.fields) < 400


STRANGER = DeviceId(UNLISTED, "pci-0000:99:00.0", "0000:99:00.0")


def test_a_gpu_that_is_not_listed_is_shown_after_a_while(desk: Desk):
    desk.strangers["0:99:0"] = STRANGER
    desk.book.by_address("0:99:0", 79, 900.0, "", new=False)
    assert desk.shown() == {}, "it may be listed soon"
    assert desk.shown(after=STRANGE_SECONDS) == {STRANGER: {79: XidReports(0, 900.0)}}
    desk.book.by_address("0:99:0", 79, 1100.0, "", new=True)
    assert desk.shown() == {STRANGER: {79: XidReports(1, 1100.0)}}
    desk.known.append((DeviceId(2, "GPU-2"), "00000000:99:00.0"))
    assert desk.shown() == {DeviceId(2, "GPU-2"): {79: XidReports(1, 1100.0)}}, "it is listed now"


def test_a_gpu_of_another_driver_is_not_accused(desk: Desk):
    desk.strangers["0:99:0"] = None
    desk.book.by_address("0:99:0", 79, 900.0, "", new=False)
    assert desk.shown(after=STRANGE_SECONDS) == {}
    desk.strangers["0:99:0"] = STRANGER
    assert desk.shown() == {STRANGER: {79: XidReports(0, 900.0)}}, "it was given back"
    desk.strangers["0:99:0"] = None
    assert desk.shown() == {}


def report(desk: Desk, source: int, xid: int = 79) -> None:
    if source == NVML:
        desk.book.by_gpu(GPU, xid, desk.now, new=True)
    else:
        desk.book.by_address("0:3b:0", xid, desk.now, "", new=True)


@pytest.mark.parametrize(
    ("sources", "counted"),
    [
        ((NVML, KERNEL_LOG), 1),
        ((KERNEL_LOG, NVML), 1),
        ((KERNEL_LOG, KERNEL_LOG), 2),
        ((NVML, NVML), 2),
        ((NVML, NVML, KERNEL_LOG, KERNEL_LOG), 2),
        ((NVML, KERNEL_LOG, NVML, KERNEL_LOG, KERNEL_LOG), 3),
        ((KERNEL_LOG, NVML, NVML, KERNEL_LOG, NVML), 3),
        ((KERNEL_LOG,) * 500 + (NVML,) * 500, 500),
    ],
)
def test_what_both_sources_tell_counts_once(desk: Desk, sources: tuple[int, ...], counted: int):
    for source in sources:
        desk.now += 0.01
        report(desk, source)
    assert desk.shown()[GPU][79] == XidReports(counted, desk.now - 1.0)


@pytest.mark.parametrize(("first", "second"), [(NVML, KERNEL_LOG), (KERNEL_LOG, NVML)])
def test_what_is_no_repetition_counts_again(desk: Desk, first: int, second: int):
    report(desk, first)
    desk.now += SAME_SECONDS + 0.1
    report(desk, second)
    report(desk, second, xid=31)
    found = desk.shown()[GPU]
    assert (found[79].count, found[31].count) == (2, 1)


@pytest.mark.parametrize(("first", "second"), [(NVML, KERNEL_LOG), (KERNEL_LOG, NVML)])
def test_a_source_that_begins_tells_nothing_of_before(desk: Desk, first: int, second: int):
    for _ in range(3):
        report(desk, first)
    desk.book.begins(second)
    report(desk, second)
    assert desk.shown()[GPU][79].count == 4
    report(desk, first)
    assert desk.shown()[GPU][79].count == 4


def test_old_reports_are_no_twins_of_new_ones(desk: Desk):
    desk.book.by_address("0:3b:0", 79, 900.0, "", new=False)
    report(desk, NVML)
    assert desk.shown()[GPU][79].count == 1
