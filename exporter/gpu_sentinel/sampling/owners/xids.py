"""Whose process an XID names: found out beside the threads that read XIDs and GPUs."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque

from gpu_sentinel.model import NOBODY, DeviceId, Owner, XidOwner, XidReports
from gpu_sentinel.sampling.owners.shared import MOST_GPUS, Owners
from gpu_sentinel.sampling.store import SnapshotStore
from gpu_sentinel.sampling.xidbook import NamingReport

log = logging.getLogger(__name__)

#: Told of a GPU by themselves; for one more, the one whose last report is the oldest goes.
MOST_OWNERS = 16
#: Reports that wait while a look-up takes long; more are left out.
_MOST_WAITING = 256


class XidOwners:
    """Counts the reports of XIDs by whose process they name, and publishes that.

    Files of a process that an XID has ended may not be readable for a while, and a GPU that
    reports one may hang with the thread that samples it. So a thread of its own looks them up,
    which there is only while there is something to do.
    """

    def __init__(self, owners: Owners, store: SnapshotStore) -> None:
        """Nobody was named yet."""
        self._owners = owners
        self._store = store
        self._lock = threading.Lock()
        self._waiting: deque[NamingReport] = deque()
        self._working = False
        #: By UUID; only the thread uses them.
        self._found: OrderedDict[str, tuple[DeviceId, dict[XidOwner, XidReports]]] = OrderedDict()

    def take(self, report: NamingReport) -> None:
        """Take a report; nothing is waited for. Any thread may call this."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                return
            self._waiting.append(report)
            if self._working:
                return
            self._working = True
        try:
            threading.Thread(target=self._run, name="xid-owners", daemon=True).start()
        except RuntimeError:  # there can be no more threads at the moment: with the next report
            with self._lock:
                self._working = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return
                report = self._waiting.popleft()
            try:
                self._count(report, self._whose(report))
            except Exception:
                # A defect of ours in one report must not cost those that come after it.
                log.exception("whose an XID is cannot be found out")

    def _whose(self, report: NamingReport) -> Owner:
        named = report.named
        process = None
        if named.pid is not None:
            process = self._owners.recent(named.pid, report.wall)
        if process is not None:
            return process.owner
        if named.gpu_instance is None:
            return NOBODY
        # Whatever runs in a GPU instance is its holder's, where it has just one.
        held = self._owners.held(report.device.uuid)
        holders = {a.owner for a, instance in held if instance == named.gpu_instance}
        return holders.pop() if len(holders) == 1 else NOBODY

    def _count(self, report: NamingReport, owner: Owner) -> None:
        gpu = report.device
        _, found = self._found.pop(gpu.uuid, (gpu, {}))
        self._found[gpu.uuid] = gpu, found
        if len(self._found) > MOST_GPUS:
            self._found.popitem(last=False)
        key = XidOwner(report.xid, report.named.gpu_instance, owner)
        before = found.pop(key, XidReports())
        while len(found) >= MOST_OWNERS:
            del found[min(found, key=lambda one: found[one].last)]
        found[key] = XidReports(before.count + 1, max(before.last, report.wall))
        self._store.put_owner_xids({id_: dict(of) for id_, of in self._found.values()})
