"""Names of users, which may come from a directory service that is slow."""

from __future__ import annotations

import pwd
import time
from collections import OrderedDict
from collections.abc import Callable

from gpu_sentinel.host.owners.procfs import clean

#: Names are asked for anew after so many seconds, those that were not found earlier.
LIFETIME, RETRY = 600.0, 60.0
MOST = 1000


def system_name(uid: int) -> str:
    """The name in the system's databases.

    Raises:
        KeyError: it is in none.
        OSError: they do not answer.
    """
    return pwd.getpwuid(uid).pw_name


def no_name(uid: int) -> str:
    """For where the users of the machine are not those of the system that is seen."""
    raise KeyError(uid)


class Users:
    """Names by uid, some of them kept. Asked by one thread, which a slow answer holds up."""

    def __init__(
        self,
        lookup: Callable[[int], str] = system_name,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep nothing yet.

        Args:
            lookup: the name of a uid; raises KeyError or OSError where there is none.
            clock: monotonic seconds.
        """
        self._lookup = lookup
        self._clock = clock
        self._known: OrderedDict[int, tuple[str, float]] = OrderedDict()

    def name(self, uid: int) -> str:
        """The name of a user, else the number."""
        now = self._clock()
        known = self._known.get(uid)
        if known is not None and now < known[1]:
            self._known.move_to_end(uid)
            return known[0]
        name, until = self._asked(uid, known[0] if known is not None else "", now)
        self._known[uid] = name, until
        self._known.move_to_end(uid)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return name

    def _asked(self, uid: int, before: str, now: float) -> tuple[str, float]:
        try:
            name = clean(self._lookup(uid))
        except OSError:
            # A service that does not answer takes nobody's name away.
            return before or str(uid), now + RETRY
        except (KeyError, OverflowError, ValueError):
            return str(uid), now + RETRY
        return (name, now + LIFETIME) if name else (str(uid), now + RETRY)
