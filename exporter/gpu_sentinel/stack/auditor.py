"""Looks every minute for silences that hide too much or last too long."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gpu_sentinel.alerting import Alertmanager, ApiError
from gpu_sentinel.alerting.audit import audit, tell


class Auditor(threading.Thread):
    """Says each such silence once, and has Alertmanager tell of it as long as it is there."""

    def __init__(
        self,
        connect: Callable[[], Alertmanager],
        say: Callable[[str], None],
        seconds: float = 60.0,
    ) -> None:
        """`connect` gives a client with the password as it is now."""
        super().__init__(name="auditor", daemon=True)
        self._connect, self._say, self._seconds = connect, say, seconds
        self._told: set[tuple[str, str]] = set()
        self._end = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._end.wait(self._seconds):
            self.tick()

    def tick(self) -> None:
        """One look; that Alertmanager is away the supervisor tells."""
        try:
            alertmanager = self._connect()
            found = audit(alertmanager)
            tell(alertmanager, found)
        except (ApiError, OSError, RuntimeError):  # the latter without a thread to ask in
            return
        now = {(offence.name, offence.silence.id) for offence in found}
        for offence in found:
            if (offence.name, offence.silence.id) not in self._told:
                self._say(
                    f"Silence {offence.silence.id[:8]} by {offence.silence.author} {offence.why}: "
                    "see `gpu-sentinel alerts audit`."
                )
        self._told = now

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread; an answer that is under way is waited for so many seconds at most."""
        self._end.set()
        if self.ident is not None:
            self.join(timeout)
