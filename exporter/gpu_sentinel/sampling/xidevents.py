"""The thread that waits for NVML's events of XIDs while they are asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gpu_sentinel.model import DeviceId
from gpu_sentinel.nvml import DriverGoneError, EventSet, NvmlError
from gpu_sentinel.sampling.xidbook import NVML, Named, XidBook

log = logging.getLogger(__name__)

#: One wait in the driver, which nothing can cut short: letting go of the driver takes as long.
WAIT_SECONDS = 0.2
#: Between two looks at whether a GPU is known meanwhile.
_SETTLE_SECONDS = 1.0
#: Between two attempts at a GPU, or at a set, that fails.
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Session:
    """A driver that is open: how to wait for events, and the GPUs that have told who they are."""

    events: Callable[[], EventSet]
    present: Callable[[], Iterable[DeviceId]]


class EventWatcher:
    """Owns the thread. Where a wait in the driver hangs, nobody but this thread does."""

    def __init__(
        self, book: XidBook, wall: Callable[[], float], told: Callable[[bool], None]
    ) -> None:
        """`told` is called with whether there are events that are waited for, at each change."""
        self._book = book
        self._wall = wall
        self._told = told
        self._wanted = False
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._outside = threading.Event()  # the thread makes no call to the driver
        self._outside.set()
        self._stop = threading.Event()
        self._failure = ""
        self.thread = threading.Thread(target=self._run, name="xid-events", daemon=True)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()
        self._changed.set()

    def want(self, wanted: bool) -> None:
        """Whether events are asked for."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    def attach(self, session: Session | None) -> None:
        """The driver was opened; or, with None, is about to be closed."""
        with self._lock:
            self._session = session
        self._changed.set()

    def outside(self, timeout: float) -> bool:
        """Wait until the thread makes no call to the driver; False where it hangs in one."""
        return self._outside.wait(timeout)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wait_for_driver()
        except Exception:
            # A defect of ours costs the events; one that comes next may be as odd as this one.
            log.exception("events of the driver are watched no more")
        finally:
            self._told(False)
            self._outside.set()

    def _wait_for_driver(self) -> None:
        with self._lock:
            session = self._session if self._wanted else None
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
            self._told(False)
            self._outside.set()
        # One GPU that is lost makes a set useless: at once another one, without that GPU.
        if self._asked_for(session) and time.monotonic() - began < _RETRY_SECONDS:
            self._pause(_RETRY_SECONDS)

    def _asked_for(self, session: Session) -> bool:
        return self._session is session and self._wanted and not self._stop.is_set()

    def _watch(self, session: Session) -> None:
        """Wait for events until this driver is closed, they are not wanted any more, or it fails.

        Raises:
            NvmlError: it fails.
        """
        events = session.events()
        registered: dict[DeviceId, bool] = {}
        retry: dict[DeviceId, float] = {}
        self._book.begins(NVML)
        try:
            while self._asked_for(session):
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
                self._told(True)
                found = events.wait(WAIT_SECONDS)
                if found is not None:
                    named = Named(gpu_instance=found.gpu_instance)
                    self._book.by_gpu(found.gpu, found.xid, self._wall(), new=True, named=named)
                self._book.settle()
        finally:
            events.free()

    def _pause(self, seconds: float) -> None:
        """Wait, unless something has changed."""
        self._changed.wait(seconds)
        self._changed.clear()
