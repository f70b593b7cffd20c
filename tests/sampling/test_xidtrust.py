"""When a kernel log is enough, at times that the test sets."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gpu_sentinel.host import Records
from gpu_sentinel.sampling.xidtrust import (
    DOUBT_SECONDS,
    MALFORMED_RUN,
    NOTHING,
    RUBBISH,
    UNREAD,
    Trust,
)

KERNEL = b"6,1,1,-;usb 1-1: a mouse"
OTHER = b"Jan  2 10:00:00 node-7 python[7]: x"
ODD = b"6,1,1,-;NVRM: Xid in a new spelling"
XID = b"6,1,1,-;NVRM: Xid (PCI:0000:3b:00): 79, x"


class Log:
    """What was made of lines, and whether that is enough."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen = Records(0.0, lambda: 1e9, text=True)
        self.trust = Trust(lambda: self.now)

    def after(self, *lines: bytes, seconds: float = 0.0) -> str:
        self.now += seconds
        for line in lines:
            list(self.seen.read(line, new=True))
        return self.trust.doubt(self.seen)


@pytest.fixture
def log() -> Log:
    return Log()


def test_enough_at_the_first_line_of_the_kernel(log: Log):
    assert log.after() == NOTHING
    assert log.after(OTHER, b"rubbish") == NOTHING
    assert log.after(KERNEL) == ""
    assert log.after(*[OTHER] * 100, seconds=1e6) == ""


def test_rubbish_only_where_nothing_is_between(log: Log):
    run = [b"rubbish"] * (MALFORMED_RUN - 1)
    assert log.after(KERNEL, *run, OTHER, *run) == ""
    assert log.after(b"rubbish") == RUBBISH


def test_a_doubt_ends_by_a_line_of_the_kernel_after_a_minute(log: Log):
    assert log.after(KERNEL, *[b"rubbish"] * MALFORMED_RUN) == RUBBISH
    assert log.after(KERNEL, seconds=DOUBT_SECONDS - 1) == RUBBISH
    assert log.after(seconds=2) == ""


def test_a_doubt_does_not_end_by_itself(log: Log):
    assert log.after(KERNEL, *[b"rubbish"] * MALFORMED_RUN) == RUBBISH
    assert log.after(OTHER, seconds=10 * DOUBT_SECONDS) == RUBBISH
    assert log.after(KERNEL) == ""


def test_half_rubbish_does_not_change_it_all_the_time(log: Log):
    mixture = [*[b"rubbish"] * MALFORMED_RUN, KERNEL] * 20
    answers = [log.after(line, seconds=0.1) for line in mixture]
    assert sum(a != b for a, b in pairwise(answers)) <= 2


def test_an_xid_that_cannot_be_read_lasts_until_one_can(log: Log):
    assert log.after(KERNEL, ODD) == UNREAD
    assert log.after(KERNEL, seconds=100 * DOUBT_SECONDS) == UNREAD
    assert log.after(XID, seconds=1) == UNREAD
    assert log.after(KERNEL, seconds=DOUBT_SECONDS) == ""
