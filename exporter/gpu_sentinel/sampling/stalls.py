"""When the exporter itself stood still: whatever was late then, no GPU is to blame for it.

A process is stopped (SIGSTOP, a frozen container), a machine is suspended or has no processor to
give, another thread keeps the interpreter. A thread that does nothing but wait notices that its
own wait was too long; what calls the driver cannot tell its own lateness from the driver's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Between two looks at the clock.
PERIOD_SECONDS = 0.5
#: A wait that is too long by more than this is a stall; less is normal on a busy machine.
LATE_SECONDS = 1.0
#: At least between two lines about it; meanwhile they are added up.
QUIET_SECONDS = 10.0
#: Stalls that are remembered. What they can excuse are calls that are under way.
_REMEMBERED = 64


def _boot_clock() -> float:
    """Seconds that go on while the machine is suspended, as the monotonic clock's do not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Stalls:
    """How often and how long the exporter stood still; asked from any thread.

    Attributes:
        count: how often.
        seconds: how long, in all; a suspended machine counts.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        boot_clock: Callable[[], float] = _boot_clock,
    ) -> None:
        self.count = 0
        self.seconds = 0.0
        self._clock = clock
        self._boot_clock = boot_clock
        self._beat: float | None = None
        self._boot_beat = 0.0
        #: Monotonic seconds of start and end.
        self._past: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._untold = 0.0
        self._told_at: float | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread that looks."""
        self.look()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def since(self, moment: float) -> float:
        """Seconds since then (monotonic) in which the exporter stood still.

        A stall that has just ended counts, although its thread has not come to note it.
        """
        # All threads wake up together after a stall: it must not be counted twice.
        with self._lock:
            beat, now = self._beat, self._clock()
            found = sum(end - max(start, moment) for start, end in self._past if end > moment)
            if beat is not None and now - beat > PERIOD_SECONDS + LATE_SECONDS:
                found += now - max(beat, moment)
            return found

    def look(self) -> None:
        """Note that the thread runs, and for how long it did not."""
        with self._lock:
            now, boot_now = self._clock(), self._boot_clock()
            last, boot_last = self._beat, self._boot_beat
            if last is not None:
                late = boot_now - boot_last - PERIOD_SECONDS
                if now - last > PERIOD_SECONDS + LATE_SECONDS:
                    self._past.append((last, now))
                if late > LATE_SECONDS:
                    self.count += 1
                    self.seconds += late
                    self._untold += late
            self._beat, self._boot_beat = now, boot_now
        if self._untold and (self._told_at is None or now - self._told_at >= QUIET_SECONDS):
            log.warning(
                "the exporter stood still for %.1f s",
                self._untold,
                extra={"fields": {"reason": "stopped, suspended, or short of processor time"}},
            )
            self._untold, self._told_at = 0.0, now

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            self.look()
