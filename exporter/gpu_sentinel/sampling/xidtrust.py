"""Whether a kernel log is enough, so that NVML need not be asked for XIDs as well."""

from __future__ import annotations

import time
from collections.abc import Callable

from gpu_sentinel.host import Records

#: So many records one after the other that make no sense, and none between them that does.
MALFORMED_RUN = 20
#: A doubt lasts so long at least, so that a log that is half rubbish does not change it all the
#: time.
DOUBT_SECONDS = 60.0

NOTHING = "no line of the kernel in it yet"
RUBBISH = "its last lines make no sense"
UNREAD = "its last report of an XID could not be read"


class Trust:
    """Of one log; to be asked again and again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Not looked at yet."""
        self._clock = clock
        self._doubt = ""
        self._until = 0.0
        self._kernel = 0

    def doubt(self, seen: Records) -> str:
        """Why the log is not enough; empty where it is.

        Args:
            seen: what was made of the log, all of which was read.
        """
        reason = UNREAD if seen.unread else RUBBISH if seen.run >= MALFORMED_RUN else ""
        if reason:
            self._doubt, self._kernel = reason, seen.kernel
            self._until = self._clock() + DOUBT_SECONDS
        elif self._doubt and seen.kernel > self._kernel and self._clock() >= self._until:
            self._doubt = ""
        return self._doubt or (NOTHING if not seen.kernel else "")
