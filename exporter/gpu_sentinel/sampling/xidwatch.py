"""Where XIDs come from: the kernel log where it can be read, else NVML's events.

The kernel log is the better source: NVML does not report every XID (79, 119 and 120 were missing in
NVIDIA/DCGM#162), and has no memory of what happened before. NVML is asked besides while the log
has shown no line of the kernel, or lines that nobody understands: it may be the wrong file, or a
form that we do not know. What both tell is counted once then, see `XidBook`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel.host import KernelLog
from gpu_sentinel.sampling.kernelbook import KernelBook
from gpu_sentinel.sampling.xidbook import XidBook
from gpu_sentinel.sampling.xidevents import EventWatcher, Session
from gpu_sentinel.sampling.xidlog import LogReader

__all__ = ["Session", "XidState", "XidWatcher"]


@dataclass(slots=True)
class XidState:
    """Where XIDs come from, and what was in the kernel log.

    Attributes:
        kernel_log: it is read.
        events: NVML's events are waited for.
        records: of the kernel log, by what was in them.
    """

    kernel_log: bool = False
    events: bool = False
    records: Mapping[str, int] = field(default_factory=Counter)

    @property
    def source(self) -> str:
        """`kernel_log`, `nvml`, `both` or `none`."""
        if self.kernel_log:
            return "both" if self.events else "kernel_log"
        return "nvml" if self.events else "none"


class XidWatcher:
    """Owns both who read the log and who waits for events."""

    def __init__(
        self,
        book: XidBook,
        events: KernelBook,
        kernel_log: Path | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`kernel_log` is None where NVML's events are to be used."""
        self.state = XidState()
        self._events = EventWatcher(book, wall, self._events_told)
        self._log: LogReader | None = None
        if kernel_log is None:
            self._events.want(True)
        else:
            want = self._events.want
            self._log = LogReader(
                kernel_log, book, events, wall, opened=self._log_opened, want_events=want
            )

    def start(self) -> None:
        """Start to watch."""
        if self._log is not None:
            self._log.start()
        self._events.thread.start()

    def stop(self, timeout: float) -> bool:
        """End the threads; False where one is inside the driver still."""
        deadline = time.monotonic() + timeout
        watchers = [watcher for watcher in (self._log, self._events) if watcher is not None]
        for watcher in watchers:
            watcher.stop()
        for watcher in watchers:
            if watcher.thread.ident is not None:
                watcher.thread.join(max(deadline - time.monotonic(), 0.0))
        if any(watcher.thread.is_alive() for watcher in watchers):
            return False
        if self._log is not None:
            self._log.close()
        return True

    def attach(self, session: Session) -> None:
        """The driver was opened."""
        self._events.attach(session)

    def detach(self) -> None:
        """The driver is about to be closed; `outside` tells when that may be done."""
        self._events.attach(None)

    def outside(self, timeout: float) -> bool:
        """Wait until no thread makes a call to the driver; False where one hangs in it."""
        return self._events.outside(timeout)

    def _log_opened(self, kernel_log: KernelLog | None) -> None:
        self.state.kernel_log = kernel_log is not None
        if kernel_log is not None:
            kernel_log.records.update(self.state.records)
            self.state.records = kernel_log.records

    def _events_told(self, waited_for: bool) -> None:
        self.state.events = waited_for
