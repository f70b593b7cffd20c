"""What the samplers of processes share: who is who, who holds a GPU, what is theirs so far."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gpu_sentinel.host.owners.memory import Process
from gpu_sentinel.sampling.owners.book import ProcessBook
from gpu_sentinel.sampling.owners.holders import Held
from gpu_sentinel.sampling.owners.idle import IdleDraw
from gpu_sentinel.sampling.owners.ledger import Ledger

#: GPUs of which something is remembered: of one that tells another UUID each time there is no end.
MOST_GPUS = 256


@dataclass(slots=True)
class Accounts:
    """What is known of the users of one GPU since the exporter started; outlives a driver."""

    ledger: Ledger
    book: ProcessBook
    idle: IdleDraw = field(default_factory=IdleDraw)
    #: The GPU's counter of energy as it was shared out last: monotonic seconds, and joules.
    energy: tuple[float, float] | None = None


def since_boot() -> float:
    """Time in suspend included, as the starts of processes have it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Owners:
    """What all samplers of processes share. Any thread may use it."""

    def __init__(
        self,
        resolve: Callable[[int, float | None], Process | None],
        held: Callable[[str], tuple[Held, ...]],
        *,
        unknown: Callable[[], None] = lambda: None,
        recent: Callable[[int, float | None], Process | None] = lambda _pid, _wall: None,
        interval: Callable[[], float] = lambda: 1.0,
        boot: Callable[[], float] = since_boot,
        most_processes: int = 20,
        most_owners: int = 10,
    ) -> None:
        """Prepare.

        Args:
            resolve: the process of a pid that was there at a time (CLOCK_BOOTTIME), None where
                there is none; one thread at a time.
            held: who holds a GPU, by its UUID.
            unknown: called where a pod uses a GPU that nobody has told of.
            recent: the process that had a pid at a Unix time of the last minutes, by default now,
                whether or not it has ended meanwhile.
            interval: seconds between two steps.
            boot: seconds since the machine's start, as of CLOCK_BOOTTIME.
            most_processes: so many of a GPU are told by themselves.
            most_owners: likewise.
        """
        self._resolve, self._recent = resolve, recent
        self.unknown = unknown
        self._lock = threading.Lock()
        #: By UUID, the one that was asked for last at the end.
        self._accounts: OrderedDict[str, Accounts] = OrderedDict()
        self._most = most_processes, most_owners
        self.held = held
        self.boot = boot
        self.interval = interval

    def resolve(self, pids: Sequence[int], listed: float) -> dict[int, Process | None]:
        """The processes that had these pids when they were listed (CLOCK_BOOTTIME)."""
        with self._lock:
            return {pid: self._resolve(pid, listed) for pid in pids}

    def recent(self, pid: int, wall: float | None = None) -> Process | None:
        """The process that had a pid at a Unix time, by default just now; None where in doubt."""
        with self._lock:
            return self._recent(pid, wall)

    def accounts(self, uuid: str) -> Accounts:
        """Those of a GPU."""
        with self._lock:
            found = self._accounts.pop(uuid, None)
            if found is None:
                processes, owners = self._most
                found = Accounts(Ledger(owners), ProcessBook(processes))
            self._accounts[uuid] = found
            while len(self._accounts) > MOST_GPUS:
                self._accounts.popitem(last=False)
            return found
