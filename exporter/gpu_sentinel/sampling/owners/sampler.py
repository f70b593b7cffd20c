"""The processes of one GPU: read, matched to their owners, and given their share of its energy."""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gpu_sentinel.catalogue.owners import ENGINES
from gpu_sentinel.host.owners.memory import Process
from gpu_sentinel.model import (
    DeviceId,
    DeviceSnapshot,
    Instance,
    OwnerUse,
    Tier,
    Usage,
    Value,
)
from gpu_sentinel.nvml import GpuProcess, NvmlError, Processes, UnexpectedError, UseSample
from gpu_sentinel.sampling.owners.book import ProcessBook, Seen
from gpu_sentinel.sampling.owners.holders import Held
from gpu_sentinel.sampling.owners.idle import IdleDraw
from gpu_sentinel.sampling.owners.ledger import Holder, Ledger, User
from gpu_sentinel.sampling.registry import Surroundings
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.sampling.signals import ENERGY, UTILIZATION
from gpu_sentinel.sampling.worth import PROCESSES

log = logging.getLogger(__name__)

#: A GPU that does not answer is left alone for so long.
WAIT_SECONDS = 0.5
#: Between two attempts after a failure, at first and at most.
RETRY_SECONDS, RETRY_SECONDS_MAX = 2.0, 60.0
#: Steps that are further apart than this many intervals say nothing of what was between them.
MOST_INTERVALS = 5.0
#: GPUs of which something is remembered: of one that tells another UUID each time there is no end.
MOST_GPUS = 256
#: Counters of a GPU instance that say how busy it is, the better one first.
_ACTIVE = ("mig.profiling.sm_active", "mig.profiling.graphics_active")


@dataclass(slots=True)
class Accounts:
    """What is known of the users of one GPU since the exporter started; outlives a driver."""

    ledger: Ledger
    book: ProcessBook
    idle: IdleDraw = field(default_factory=IdleDraw)
    #: Of the GPU's counter, what was shared already; None before it was read.
    shared: float | None = None


class Owners:
    """What all samplers of processes share. Any thread may use it."""

    def __init__(
        self,
        resolve: Callable[[int], Process | None],
        held: Callable[[str], tuple[Held, ...]],
        recent: Callable[[int], Process | None] = lambda _pid: None,
        interval: Callable[[], float] = lambda: 1.0,
        *,
        most_processes: int = 20,
        most_owners: int = 10,
    ) -> None:
        """Prepare.

        Args:
            resolve: the process of a pid, None where there is none; one thread at a time.
            held: who holds a GPU, by its UUID.
            recent: the process that had a pid a moment ago, and has ended meanwhile.
            interval: seconds between two steps.
            most_processes: so many of a GPU are told by themselves.
            most_owners: likewise.
        """
        self._resolve, self._recent = resolve, recent
        self._lock = threading.Lock()
        #: By UUID, the one that was asked for last at the end.
        self._accounts: OrderedDict[str, Accounts] = OrderedDict()
        self._most = most_processes, most_owners
        self.held = held
        self.interval = interval

    def resolve(self, pids: Sequence[int]) -> dict[int, Process | None]:
        """The processes with these pids."""
        with self._lock:
            return {pid: self._resolve(pid) for pid in pids}

    def recent(self, pid: int) -> Process | None:
        """The process that had a pid a moment ago; None where in doubt."""
        with self._lock:
            return self._recent(pid)

    def accounts(self, uuid: str) -> Accounts:
        """Those of a GPU."""
        processes, owners = self._most
        with self._lock:
            found = self._accounts.pop(uuid, None)
            self._accounts[uuid] = found or Accounts(Ledger(owners), ProcessBook(processes))
            while len(self._accounts) > MOST_GPUS:
                self._accounts.popitem(last=False)
            return self._accounts[uuid]


class ProcessSampler:
    """Samples the processes of the GPU of one index; one thread at a time calls `step`."""

    def __init__(self, gpu: DeviceSampler, around: Surroundings, owners: Owners) -> None:
        self.index = gpu.index
        self._gpu = gpu
        self._around = around
        self._owners = owners
        self._processes: Processes | None = None
        self._id: DeviceId | None = None
        self._due = self._again = 0.0
        self._wait = RETRY_SECONDS
        self._failure: int | None = None
        self._stopped = False
        self._last: float | None = None
        self._interval = 1.0

    @property
    def asked(self) -> str:
        """The query that runs, or ran last."""
        return self._processes.asked if self._processes else "processes.list"

    def stop(self) -> None:
        """From now on nothing is read and nothing published."""
        self._stopped = True

    def release(self) -> None:
        """Nothing is held in the library."""

    def step(self) -> float:
        """Do what is due, and return the monotonic seconds at which something is due again."""
        now = self._around.clock()
        if self._stopped or now < self._due:
            return math.inf if self._stopped else self._due
        gpu = self._gpu.known
        if self._gpu.inside or gpu is None:
            return now + WAIT_SECONDS
        factors = self._around.governor.factors
        interval = self._owners.interval() * max(factors.get(query, 1) for query in PROCESSES)
        self._interval = interval
        self._due = (math.floor(now / interval + 1e-9) + 1) * interval
        if self._gpu.failure is not None or now < self._again:
            self._publish(gpu.id, now, None, self._owners.accounts(gpu.id.uuid))
            return self._due
        try:
            self._pass(gpu.id, now)
        except NvmlError as error:
            self._fail(error, gpu.id, now)
        except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
            self._fail(UnexpectedError(error), gpu.id, now)
        else:
            self._failure, self._wait = None, RETRY_SECONDS
        return self._due

    def _pass(self, gpu: DeviceId, now: float) -> None:
        if self._processes is None or self._id != gpu:
            self._processes, self._id = self._around.driver.processes(gpu), gpu
            self._last = None
        listed = self._processes.list()
        samples = self._processes.samples(self._around.clock)
        session = self._around.session
        device = session.devices.get(gpu.uuid)
        instances = session.instances.get(gpu.uuid, ())
        accounts = self._owners.accounts(gpu.uuid)
        seen = self._seen(listed, samples, _shares(device, instances), self._elapsed(now))
        users = [
            User(s.owner, s.memory, s.busy, shares.part if shares else 1.0, s.alive)
            for s in seen
            for shares in (_shares(device, instances).get(s.gpu_instance or 0),)
        ]
        self._account(gpu, now, device, users, accounts)
        self._publish(gpu, now, seen, accounts)

    def _elapsed(self, now: float) -> float:
        return now - self._last if self._last is not None else 0.0

    def _seen(
        self,
        listed: Sequence[GpuProcess],
        samples: Sequence[UseSample],
        parts: Mapping[int, _Share],
        elapsed: float,
    ) -> list[Seen]:
        used = {sample.pid: sample for sample in samples}
        newest = max((sample.at for sample in samples), default=0.0)
        found = self._owners.resolve([*dict.fromkeys([*(p.pid for p in listed), *used])])
        crowd = _crowd(listed)
        seen = []
        for process in listed:
            sample = used.pop(process.pid, None)
            busy = 0.0 if sample is None else sample.sm * (newest - sample.since)
            part = parts.get(process.gpu_instance) if process.gpu_instance is not None else None
            if part is not None and sample is None:
                # Under MIG the driver tells no samples of processes, but how busy an instance is.
                busy = part.active * elapsed * _portion(process, crowd)
            seen.append(_named(process.pid, found[process.pid], process, sample, busy))
        for pid, sample in used.items():
            # It has ended since it used something.
            busy = sample.sm * (newest - sample.since)
            ended = found[pid] or self._owners.recent(pid)
            seen.append(_named(pid, ended, None, sample, busy))
        return seen

    def _account(
        self,
        gpu: DeviceId,
        now: float,
        device: DeviceSnapshot | None,
        users: Sequence[User],
        accounts: Accounts,
    ) -> None:
        """Give the owners what the GPU has used since the step before."""
        sample = device.tiers.get(Tier.FAST) if device else None
        energy = _number(sample.values, ENERGY) if sample else None
        at = sample.taken if sample else now
        last, self._last = self._last, now
        joules = 0.0
        if energy is not None:
            joules = max(energy - accounts.shared, 0.0) if accounts.shared is not None else 0.0
            accounts.shared = energy
        elapsed = now - last if last is not None else math.inf
        if elapsed > MOST_INTERVALS * self._interval:
            # Who was there meanwhile nobody knows, nor what it drew at rest.
            accounts.ledger.unseen(now, joules)
            elapsed = joules = 0.0
        resting = not users and sample is not None and sample.values.get(UTILIZATION) == 0.0
        accounts.idle.step(elapsed, joules, resting=resting)
        if at > now:
            elapsed = 0.0
        watts = accounts.idle.watts(_limit(device))
        holders = [
            Holder(a.owner, _part(device, self._around.session.instances.get(gpu.uuid, ()), i))
            for a, i in self._owners.held(gpu.uuid)
        ]
        accounts.ledger.step(now, elapsed, joules, watts, users=users, holders=holders)

    def _publish(
        self, gpu: DeviceId, now: float, seen: Sequence[Seen] | None, accounts: Accounts
    ) -> None:
        """Show all that is known; `seen` is None where the processes cannot be listed.

        Who holds the GPU, and what was counted, does not change by that.
        """
        if self._stopped:
            return
        energy = accounts.shared is not None
        owners = tuple(
            OwnerUse(
                owner=owner,
                processes=a.processes if seen is not None else None,
                memory=a.memory if seen is not None else None,
                busy=a.busy,
                idle_joules=a.idle_joules if energy else None,
                active_joules=a.active_joules if energy else None,
                allocated=a.allocated,
                idle_allocated=a.idle_allocated,
            )
            for owner, a in accounts.ledger.accounts.items()
        )
        usage = Usage(
            device=gpu,
            taken=now,
            lifetime=max(3 * self._interval, 5.0),
            processes=accounts.book.step(now, seen or ()),
            owners=owners,
            allocations=self._owners.held(gpu.uuid),
        )
        self._around.store.put_usage(usage, self._around.session)

    def _fail(self, error: NvmlError, gpu: DeviceId, now: float) -> None:
        self._publish(gpu, now, None, self._owners.accounts(gpu.uuid))
        self._again = now + self._wait
        self._wait = min(2 * self._wait, RETRY_SECONDS_MAX)
        self._processes = None
        if self._stopped or self._failure == error.code:
            return
        self._failure = error.code
        fields = {"gpu": self.index, "query": self.asked, "error": error.name, "reason": str(error)}
        log.warning("processes cannot be listed", extra={"fields": fields})


@dataclass(frozen=True, slots=True)
class _Share:
    """A GPU instance: which part of the GPU it is, and which share of the time it is busy."""

    part: float
    active: float


def _shares(device: DeviceSnapshot | None, instances: Sequence[Instance]) -> dict[int, _Share]:
    """By number, where MIG is on."""
    total = _read(device, "memory.total")
    found = {}
    for instance in instances:
        if "mig_uuid" in instance.labels:
            continue
        sample = instance.tiers.get(Tier.PROFILING)
        values = sample.values if sample else {}
        memory = _number(values, "mig.memory.total")
        active = next((v for key in _ACTIVE if (v := _number(values, key)) is not None), 0.0)
        part = min(memory / total, 1.0) if memory and total else 1.0
        found[int(instance.labels["gpu_instance"])] = _Share(part, active)
    return found


def _part(
    device: DeviceSnapshot | None, instances: Sequence[Instance], number: int | None
) -> float:
    share = None if number is None else _shares(device, instances).get(number)
    return share.part if share else 1.0


def _crowd(listed: Sequence[GpuProcess]) -> Mapping[int | None, tuple[int, float]]:
    """By GPU instance: how many processes, and their memory."""
    found: dict[int | None, tuple[int, float]] = {}
    for process in listed:
        count, memory = found.get(process.gpu_instance, (0, 0.0))
        found[process.gpu_instance] = count + 1, memory + (process.memory or 0.0)
    return found


def _portion(process: GpuProcess, crowd: Mapping[int | None, tuple[int, float]]) -> float:
    """Which part of its GPU instance's work is taken to be a process': by memory."""
    count, memory = crowd[process.gpu_instance]
    return (process.memory or 0.0) / memory if memory else 1.0 / count


def _named(
    pid: int,
    found: Process | None,
    process: GpuProcess | None,
    sample: UseSample | None,
    busy: float,
) -> Seen:
    used = {} if sample is None else {e: getattr(sample, e) for e in ENGINES}
    seen = Seen(
        key=(pid, found.start if found else 0),
        gpu_instance=process.gpu_instance if process else None,
        memory=process.memory if process else None,
        busy=busy,
        utilization={engine: share for engine, share in used.items() if share is not None},
        alive=process is not None,
    )
    if found is None:
        return seen
    return Seen(
        seen.key,
        found.name,
        found.started,
        found.owner,
        seen.gpu_instance,
        seen.memory,
        seen.busy,
        seen.utilization,
        seen.alive,
    )


def _read(device: DeviceSnapshot | None, key: str) -> float | None:
    if device is None:
        return None
    return next(
        (v for s in device.tiers.values() if (v := _number(s.values, key)) is not None), None
    )


def _limit(device: DeviceSnapshot | None) -> float | None:
    return _read(device, "power.default_limit") or _read(device, "power.limit")


def _number(values: Mapping[str, Value], key: str) -> float | None:
    value = values.get(key)
    return value if isinstance(value, float) else None
