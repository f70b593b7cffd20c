"""Names of users, which may come from a directory service that is slow."""

from __future__ import annotations

import pwd
import queue
import threading
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


class Patient:
    """Asks in a thread of its own, so that a slow answer holds nobody up for long."""

    def __init__(self, lookup: Callable[[int], str] = system_name, seconds: float = 0.5) -> None:
        """Wait for an answer for so many seconds; it is kept for who asks again."""
        self._lookup = lookup
        self._seconds = seconds
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._answers: dict[int, str | Exception] = {}
        self._pending: set[int] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __call__(self, uid: int) -> str:
        """The name of a user.

        Raises:
            KeyError: there is none.
            OSError: no answer in time, or none at all.
        """
        with self._changed:
            if uid not in self._answers and uid not in self._pending:
                self._pending.add(uid)
                self._asked.put(uid)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="users", daemon=True)
                    self._thread.start()
            self._changed.wait_for(lambda: uid in self._answers, self._seconds)
            answer = self._answers.pop(uid, None)
        if answer is None:
            raise TimeoutError(f"no name of user {uid} within {self._seconds:g} s")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _run(self) -> None:
        while True:
            uid = self._asked.get()
            answer: str | Exception
            try:
                answer = self._lookup(uid)
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked
                answer = error
            with self._changed:
                self._answers[uid] = answer
                self._pending.discard(uid)
                self._changed.notify_all()


class Users:
    """Names by uid, some of them kept. Asked by one thread."""

    def __init__(
        self,
        lookup: Callable[[int], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep nothing yet.

        Args:
            lookup: the name of a uid; raises KeyError or OSError where there is none. None for
                the system's, which is not waited for.
            clock: monotonic seconds.
        """
        self._lookup = lookup or Patient()
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
