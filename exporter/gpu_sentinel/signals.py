"""Waiting for signals in the main thread, so that none is lost."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def _by_byte(_number: int, _frame: FrameType | None) -> None:
    """Nothing: the signal's number comes as a byte; see `caught`."""


class NextSignal:
    """Waits for the next signal that was caught, and gives its number."""

    def __init__(self, inbox: socket.socket) -> None:
        self._inbox = inbox

    def __call__(self) -> int:
        """The next one, however long that takes."""
        self._inbox.settimeout(None)
        return self._inbox.recv(1)[0]

    def within(self, seconds: float) -> int | None:
        """The next one; None where none comes in this time."""
        # 0 would mean not to wait for what is there already.
        self._inbox.settimeout(max(seconds, 0.001))
        try:
            return self._inbox.recv(1)[0]
        except TimeoutError:
            return None


@contextmanager
def caught(*numbers: int) -> Iterator[NextSignal]:
    """Catch these signals; what is yielded waits for the next one and gives its number.

    The kernel may hand a signal to any thread, and Python runs its handlers in the main one,
    which would go on waiting. A byte that holds the signal's number wakes it up.
    """
    inbox, outbox = socket.socketpair()
    outbox.setblocking(False)
    before = {number: signal.signal(number, _by_byte) for number in numbers}
    before_fd = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
    try:
        yield NextSignal(inbox)
    finally:
        signal.set_wakeup_fd(before_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        inbox.close()
        outbox.close()
