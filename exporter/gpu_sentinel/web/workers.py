"""Threads for what takes time; each ends when there is nothing left to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

Job = Callable[[], None]


class NoThreadError(Exception):
    """The system gives no thread."""


class Workers:
    """Does jobs, at most so many at a time, in their order."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._running = 0
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()

    def submit(self, job: Job) -> None:
        """Have a job done soon.

        Raises:
            NoThreadError: there is no thread for it, and none that will be free.
        """
        with self._lock:
            self._jobs.append(job)
            if self._running == self._threads:
                return
            self._running += 1
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._running -= 1
                if self._running or job not in self._jobs:
                    return
                self._jobs.remove(job)
            raise NoThreadError("no more threads") from None

    def __len__(self) -> int:
        """Jobs that wait for a thread."""
        return len(self._jobs)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._running -= 1
                    return
                job = self._jobs.popleft()
            try:
                job()
            except Exception:
                log.exception("job failed")
