"""The thread that reads XIDs and other events from the kernel log, and says if that is enough."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gpu_sentinel.host import KernelEvent, KernelLog, is_plain_file
from gpu_sentinel.sampling.kernelbook import KernelBook
from gpu_sentinel.sampling.xidbook import KERNEL_LOG, Named, XidBook
from gpu_sentinel.sampling.xidtrust import NOTHING, Trust

log = logging.getLogger(__name__)

#: Between two looks at whether GPUs are known meanwhile.
_SETTLE_SECONDS = 1.0
#: Between two looks at whether a file is there.
_LOOK_SECONDS = 0.25
#: Until a kernel log that is there and cannot be read is tried again.
_REOPEN_SECONDS = 60.0


class LogReader:
    """Owns the thread, which never calls the driver."""

    def __init__(
        self,
        path: Path,
        book: XidBook,
        events: KernelBook,
        wall: Callable[[], float],
        *,
        opened: Callable[[KernelLog | None], None],
        want_events: Callable[[bool], None],
    ) -> None:
        """Not started.

        Args:
            path: the kernel log.
            book: takes the reports of XIDs.
            events: takes those of other events.
            wall: Unix time.
            opened: called with the log when it was opened, and with None when it is not read.
            want_events: called with whether NVML's events are needed besides or instead.
        """
        self._path = path
        self._book = book
        self._events = events
        self._wall = wall
        self._opened = opened
        self._want_events = want_events
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._woken = self._waker = -1
        self._reopen = 0.0
        self.thread = threading.Thread(target=self._run, name="xid-log", daemon=True)

    def start(self) -> None:
        """Start to read."""
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._waker >= 0:
                os.write(self._waker, b"x")

    def close(self) -> None:
        """Let go of what wakes the thread, which has ended."""
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
                elif time.monotonic() >= self._reopen and is_plain_file(self._path):
                    # A file that could not be read before; a device does not come back.
                    kernel_log = self._open()
                else:
                    self._pause(_LOOK_SECONDS)
        except Exception:
            # A defect of ours costs the log; a report that comes next may be as odd as this one.
            log.exception("the kernel log is read no more, XIDs come from NVML")
            self._want_events(True)
        finally:
            self._opened(None)

    def _open(self) -> KernelLog | None:
        try:
            return KernelLog(self._path, wall=self._wall)
        except OSError as error:
            self._fall_back(error)
            return None

    def _follow(self, kernel_log: KernelLog) -> None:
        """Read until the end, or until it cannot be read."""
        self._opened(kernel_log)
        trust = Trust()
        doubt: str | None = None
        old = 0
        while not self._stop.is_set():
            before = kernel_log.caught_up
            try:
                reports, more = kernel_log.take()
            except OSError as error:
                self._fall_back(error)
                return
            for report in reports:
                line = report.line
                if isinstance(line, KernelEvent):
                    self._events.take(line, report.wall, new=report.new)
                    continue
                self._book.by_address(
                    line.bus,
                    line.xid,
                    report.wall,
                    line.detail,
                    new=report.new,
                    named=Named(line.pid, line.gpu_instance),
                )
                old += not report.new
            if kernel_log.caught_up and not before:
                self._book.begins(KERNEL_LOG)
                if old:
                    log.info("XIDs from before the start", extra={"fields": {"reports": old}})
            if kernel_log.caught_up:
                doubt = self._tell(trust.doubt(kernel_log.understood), doubt)
            self._book.settle()
            self._events.settle()
            if not more:
                kernel_log.wait(min(self._book.due, _SETTLE_SECONDS), self._woken)
                self._drain()

    def _tell(self, doubt: str, before: str | None) -> str:
        """Have NVML asked where the log is in doubt; one line in our own log for each change."""
        if doubt != before:
            self._want_events(bool(doubt))
            fields = {"path": str(self._path), **({"reason": doubt} if doubt else {})}
            log.log(
                logging.INFO if doubt in ("", NOTHING) else logging.WARNING,
                "XIDs are read from the kernel log, and NVML is asked too"
                if doubt
                else "XIDs are read from the kernel log",
                extra={"fields": fields},
            )
        return doubt

    def _fall_back(self, error: OSError) -> None:
        self._opened(None)
        self._want_events(True)
        missing = isinstance(error, FileNotFoundError)
        self._reopen = time.monotonic() + (0.0 if missing else _REOPEN_SECONDS)
        log.warning(
            "kernel log cannot be read, XIDs come from NVML, which does not report all of them",
            extra={"fields": {"path": str(self._path), "reason": error.strerror or str(error)}},
        )

    def _pause(self, seconds: float) -> None:
        """Wait, unless the thread is to end."""
        waiting = select.poll()
        waiting.register(self._woken, select.POLLIN)
        waiting.poll(seconds * 1e3)
        self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 64):
                pass
