"""The thread that waits for XIDs: in the kernel log where it can be read, else for NVML's events.

One source at a time, because both tell of the same errors. The kernel log is the better one: NVML
does not report every XID (79, 119 and 120 were missing in NVIDIA/DCGM#162), and has no memory of
what happened before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel.host import KernelLog, Report, is_plain_file
from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml import DriverGoneError, EventSet, NvmlError
from gpu_sentinel.sampling.xidbook import XidBook

log = logging.getLogger(__name__)

#: One wait in the driver, which nothing can cut short: letting go of the driver takes as long.
WAIT_SECONDS = 0.2
#: Between two looks at whether a GPU is known meanwhile.
_SETTLE_SECONDS = 1.0
#: Between two attempts at a GPU, or at a set, that fails.
_RETRY_SECONDS = 5.0
#: Until a kernel log that is there and cannot be read is tried again.
_REOPEN_SECONDS = 60.0


@dataclass(slots=True)
class XidState:
    """Where XIDs come from: `kernel_log`, `nvml` or `none`; and what was in the kernel log."""

    source: str = "none"
    records: Mapping[str, int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Session:
    """A driver that is open: how to wait for events, and the GPUs that have told who they are."""

    events: Callable[[], EventSet]
    present: Callable[[], Iterable[DeviceId]]


class XidWatcher:
    """Owns the thread. Where a wait in the driver hangs, nobody but this thread does."""

    def __init__(
        self,
        book: XidBook,
        kernel_log: Path | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`kernel_log` is None where NVML's events are to be used."""
        self.state = XidState()
        self._book = book
        self._path = kernel_log
        self._wall = wall
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._outside = threading.Event()  # the thread makes no call to the driver
        self._outside.set()
        self._stop = threading.Event()
        self._woken = self._waker = -1
        self._failure = ""
        self._reopen = 0.0
        self._thread = threading.Thread(target=self._run, name="xids", daemon=True)

    def start(self) -> None:
        """Start to watch."""
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread; False where it is inside the driver still."""
        self._stop.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._close_pipe()
        return True

    def attach(self, session: Session) -> None:
        """The driver was opened."""
        with self._lock:
            self._session = session
        self._wake()

    def detach(self) -> None:
        """The driver is about to be closed; `outside` tells when that may be done."""
        with self._lock:
            self._session = None
        self._wake()

    def outside(self, timeout: float) -> bool:
        """Wait until the thread makes no call to the driver; False where it hangs in one."""
        return self._outside.wait(timeout)

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._waker >= 0:
                os.write(self._waker, b"x")

    def _close_pipe(self) -> None:
        with self._lock:
            if self._waker >= 0:
                os.close(self._waker)
                os.close(self._woken)
                self._waker = self._woken = -1

    def _run(self) -> None:
        try:
            kernel_log = self._open()
            while not self._stop.is_set():
                if kernel_log is not None:
                    with contextlib.closing(kernel_log):
                        self._follow(kernel_log)
                    kernel_log = None
                elif self._log_is_there():
                    kernel_log = self._open()
                else:
                    self._wait_for_driver()
        except Exception:
            # A defect of ours costs the XIDs; a report that comes next may be as odd as this one.
            self.state.source = "none"
            log.exception("XIDs are watched no more")
        finally:
            self._outside.set()

    # The kernel log.

    def _open(self) -> KernelLog | None:
        if self._path is None:
            return None
        try:
            return KernelLog(self._path, wall=self._wall)
        except OSError as error:
            self._fall_back(error)
            return None

    def _log_is_there(self) -> bool:
        """Whether a file can be read that could not be before; a device does not come back."""
        return (
            self._path is not None
            and time.monotonic() >= self._reopen
            and is_plain_file(self._path)
        )

    def _follow(self, kernel_log: KernelLog) -> None:
        """Read until the end, or until it cannot be read."""
        kernel_log.records.update(self.state.records)
        self.state.records = kernel_log.records
        self.state.source = "kernel_log"
        log.info("XIDs are read from the kernel log", extra={"fields": {"path": str(self._path)}})
        old = 0
        while not self._stop.is_set():
            before = kernel_log.caught_up
            try:
                reports, more = kernel_log.take()
            except OSError as error:
                self._fall_back(error)
                return
            for report in reports:
                self._note(report)
                old += not report.new
            if kernel_log.caught_up and not before and old:
                log.info("XIDs from before the start", extra={"fields": {"reports": old}})
            self._book.settle()
            if not more:
                kernel_log.wait(min(self._book.due, _SETTLE_SECONDS), self._woken)
                self._drain()

    def _note(self, report: Report) -> None:
        line = report.line
        self._book.by_address(line.bus, line.xid, report.wall, line.detail, new=report.new)

    def _fall_back(self, error: OSError) -> None:
        self.state.source = "none"
        missing = isinstance(error, FileNotFoundError)
        self._reopen = time.monotonic() + (0.0 if missing else _REOPEN_SECONDS)
        log.warning(
            "kernel log cannot be read, XIDs come from NVML, which does not report all of them",
            extra={"fields": {"path": str(self._path), "reason": error.strerror or str(error)}},
        )

    # NVML's events.

    def _wait_for_driver(self) -> None:
        with self._lock:
            session = self._session
            if session is not None:
                self._outside.clear()
        if session is None:
            self._pause(_SETTLE_SECONDS)
            return
        began = time.monotonic()
        try:
            self._watch(session)
        except DriverGoneError:
            pass  # who opened it says so, and detaches
        except NvmlError as error:
            if str(error) != self._failure:
                self._failure = str(error)
                log.warning("no events of the driver", extra={"fields": {"reason": str(error)}})
        finally:
            self.state.source = "none"
            self._outside.set()
        # One GPU that is lost makes a set useless: at once another one, without that GPU.
        in_vain = time.monotonic() - began < _RETRY_SECONDS
        if self._session is session and in_vain and not self._log_is_there():
            self._pause(_RETRY_SECONDS)

    def _watch(self, session: Session) -> None:
        """Wait for events until this driver is closed, the kernel log is there, or it fails.

        Raises:
            NvmlError: it fails.
        """
        events = session.events()
        registered: dict[DeviceId, bool] = {}
        retry: dict[DeviceId, float] = {}
        try:
            while self._session is session and not self._stop.is_set():
                if self._log_is_there():
                    return
                for gpu in session.present():
                    if gpu not in registered and time.monotonic() >= retry.get(gpu, 0.0):
                        try:
                            registered[gpu] = events.register(gpu)
                        except NvmlError:
                            retry[gpu] = time.monotonic() + _RETRY_SECONDS
                if not any(registered.values()):
                    self._book.settle()
                    self._pause(_SETTLE_SECONDS)
                    continue
                self.state.source = "nvml"
                found = events.wait(WAIT_SECONDS)
                if found is not None:
                    self._book.by_gpu(*found, self._wall(), new=True)
                self._book.settle()
        finally:
            events.free()

    def _pause(self, seconds: float) -> None:
        """Wait, unless something has changed."""
        waiting = select.poll()
        waiting.register(self._woken, select.POLLIN)
        waiting.poll(seconds * 1e3)
        self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 64):
                pass
