"""Letting go of the driver for a while, on request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: The state of the driver meanwhile, for a person.
RELEASED = "let go of on request; POST /-/acquire or SIGUSR2 takes it back"


class Lending:
    """Whether the driver is given up, since when and until when.

    Attributes:
        free: no handle is held any more.
    """

    def __init__(
        self,
        module_loaded: Callable[[], bool | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`module_loaded` tells, without NVML, whether the kernel module is there."""
        self._module_loaded = module_loaded
        self._clock = clock
        self._until: float | None = None
        self._module_went = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stuck = ""
        self.free = False

    def release(self, seconds: float) -> None:
        """Ask for it; it is over after `seconds`."""
        with self._lock:
            self._until = self._clock() + seconds
            self._module_went = False
            self._stuck = ""
        log.info("driver is let go of", extra={"fields": {"seconds": seconds}})

    def acquire(self, why: str = "asked for") -> bool:
        """End it; False where it was not let go of."""
        with self._lock:
            if self._until is None:
                return False
            self._until = None
            self.free = False
            self._changed.notify_all()
        log.info("driver is taken again", extra={"fields": {"reason": why}})
        return True

    def wanted(self, now: float) -> bool:
        """Whether to stay away from the driver; ends it when its time is over."""
        if self._until is None:
            return False
        if now >= self._until:
            self.acquire("time is over")
            return False
        loaded = self._module_loaded()
        if loaded is False:
            self._module_went = True
        elif loaded and self._module_went:
            self.acquire("the driver is back")
            return False
        return True

    def stuck(self, asked: str) -> None:
        """Somebody is inside the driver still."""
        with self._lock:
            self._stuck = asked
            self._changed.notify_all()

    def freed(self) -> None:
        """Everything is let go of."""
        with self._lock:
            self.free, self._stuck = True, ""
            self._changed.notify_all()
        log.info("driver is free")

    def wait(self, timeout: float) -> str | None:
        """Wait until everything is let go of; returns why it is not after `timeout` seconds."""
        with self._lock:
            self._changed.wait_for(lambda: self.free or bool(self._stuck), timeout)
            if self.free:
                return None
            asked = self._stuck or "the driver"
            return f"a call still hangs ({asked}): handles are held until it comes back"
