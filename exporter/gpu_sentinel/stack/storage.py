"""Tells when the disk fills up, when Prometheus stores nothing, and when the clock goes back.

And renews the certificate in the data directory: `up` may run for longer than one lasts.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sentinel.stack import credentials
from gpu_sentinel.stack.process import ComponentError

Say = Callable[[str], None]
#: The body of a URL that answers 200, else None.
Ask = Callable[[str], str | None]

#: A disk with less than both of these is said to be almost full.
LOW_BYTES, LOW_RATIO = 512 * 2**20, 0.05
_MIB = 2**20
_DAY = 86400.0
_STORED = "prometheus_tsdb_head_samples_appended_total"
#: What follows the name of a counter on its line.
#: Why samples are refused.
NEWER = "it has newer samples, so that the clock must have been set back"
#: Counters that tell why nothing is stored.
_WHY = {
    "prometheus_tsdb_wal_writes_failed_total": "it cannot write to {data}",
    "prometheus_target_scrapes_sample_out_of_order_total": NEWER,
    "prometheus_target_scrapes_sample_out_of_bounds_total": NEWER,
}


@dataclass(frozen=True, slots=True)
class Space:
    """What is left of a file system, in bytes, and whether there is room for another file."""

    free: int
    size: int
    files: bool

    @classmethod
    def of(cls, path: Path) -> Space:
        """What is left for this user."""
        found = os.statvfs(path)
        # Some file systems count no files: both numbers are 0.
        files = found.f_favail > 0 or found.f_files == 0
        return cls(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, files)

    @property
    def low(self) -> bool:
        """Whether it will soon be full."""
        return self.free < min(LOW_BYTES, LOW_RATIO * self.size) or not self.files

    @property
    def ample(self) -> bool:
        """Whether it is no longer low; what lies between tells nothing new."""
        return self.free > 1.5 * min(LOW_BYTES, LOW_RATIO * self.size) and self.files


def full(data: Path) -> str:
    """A line for a disk that is almost full; empty where there is space, or nobody knows."""
    try:
        space = Space.of(data)
    except OSError:
        return ""
    if not space.low:
        return ""
    left = f"{space.free // _MIB} MiB free" if space.files else "no room for another file"
    return f"the disk of {data} is almost full ({left}): free space"


@dataclass(slots=True)
class Storage:
    """Watches the data directory, its certificate, and what Prometheus stores.

    Attributes:
        metrics: URL of Prometheus' own page of metrics; empty where there is no Prometheus.
        patience: seconds for which Prometheus may store nothing before that is told.
        wall: the clock that people read, which may be set.
    """

    data: Path
    metrics: str
    ask: Ask
    say: Say
    patience: float = 30.0
    seconds: float = 5.0
    wall: Callable[[], float] = time.time
    _low: bool = field(default=False, init=False)
    _counters: dict[str, float] = field(default_factory=dict, init=False)
    _why: str = field(default="", init=False)
    _grew: float | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)
    _clock: float | None = field(default=None, init=False)
    _certificate_seen: float | None = field(default=None, init=False)
    _end: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Look every few seconds, in a thread: Prometheus may take its time to answer."""
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        while True:
            self.tick(time.monotonic())
            if self._end.wait(self.seconds):
                return

    def tick(self, now: float) -> None:
        """Say what has changed; `now` is the time of a clock that nobody sets."""
        self._look_at_clock(now)
        self._look_at_disk()
        self._look_at_certificate()
        if self.metrics:
            self._look_at_samples(now)

    def _look_at_clock(self, now: float) -> None:
        offset = self.wall() - now
        step = 0.0 if self._clock is None else offset - self._clock
        self._clock = offset
        if step < -5:
            self.say(
                f"The clock went back by {_span(-step)}: Prometheus may refuse samples for as long."
            )
        elif step > 5:
            # A suspended machine too: its time does not count, and samples are missing for it.
            self.say(f"The clock went forward by {_span(step)}: nothing was measured in between.")

    def _look_at_disk(self) -> None:
        try:
            space = Space.of(self.data)
        except OSError as error:
            if not self._low:
                self._low = True
                self.say(f"{self.data} cannot be looked at: {error.strerror}")
            return
        if space.low and not self._low:
            self._low = True
            line = full(self.data)
            if line:
                self.say(f"{line[0].upper()}{line[1:]}, else Prometheus stores nothing any more.")
        elif space.ample and self._low:
            self._low = False
            self.say(f"The disk of {self.data} has space again: {space.free // _MIB} MiB free.")

    def _look_at_certificate(self) -> None:
        """Once a day of the clock that certificates go by, also if that was set."""
        now = self.wall()
        if self._certificate_seen is None:
            # The start has looked.
            self._certificate_seen = now
        if abs(now - self._certificate_seen) < _DAY:
            return
        self._certificate_seen = now
        try:
            found = credentials.existing(credentials.of_data(self.data, tls=True).folder)
            if found.renew():
                self.say("The certificate was renewed: all parts take it up without a restart.")
        except ComponentError as error:
            self.say(f"The certificate cannot be renewed: {error}")
        except OSError as error:
            where = error.filename or self.data
            self.say(f"The certificate cannot be renewed: {where}: {error.strerror}")

    def _look_at_samples(self, now: float) -> None:
        page = self.ask(self.metrics)
        if page is None:
            # It is away or reads its log: the supervisor tells that.
            if not self._told:
                self._grew = None
            return
        counters = {name: _counter(page, name) for name in (_STORED, *_WHY)}
        before, self._counters = self._counters, counters
        grew = {name for name, value in counters.items() if value > before.get(name, value)}
        self._why = next((_WHY[name] for name in _WHY if name in grew), self._why)
        if _STORED in grew or self._grew is None:
            if self._told and self._grew is not None:
                self.say(f"Prometheus stores again: {_span(now - self._grew)} are missing.")
                self._told, self._why = False, ""
            self._grew = now
        elif now - self._grew > self.patience and not self._told:
            self._told = True
            why = self._why.format(data=self.data) or "no sample arrives"
            why = full(self.data) or why
            self.say(f"Prometheus has stored nothing for {_span(now - self._grew)}: {why}.")


def _counter(page: str, name: str) -> float:
    """The sum over its labels; newer versions of Prometheus have more of them."""
    total = 0.0
    for line in page.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")):
            with contextlib.suppress(ValueError):
                total += float(line.rpartition(" ")[2])
    return total


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
