"""The processes of one GPU: read, matched to their owners, and given their share of its energy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from gpu_sentinel.catalogue.owners import ENGINES
from gpu_sentinel.host.owners.memory import Process
from gpu_sentinel.model import (
    NOBODY,
    DeviceId,
    DeviceSnapshot,
    OwnerUse,
    Tier,
    Usage,
    Value,
)
from gpu_sentinel.nvml import (
    DriverGoneError,
    GpuLostError,
    GpuProcess,
    MigDevice,
    NvmlError,
    Processes,
    UnexpectedError,
    UseSample,
)
from gpu_sentinel.sampling.backoff import BackOff
from gpu_sentinel.sampling.owners.book import Seen
from gpu_sentinel.sampling.owners.ledger import Holder, User
from gpu_sentinel.sampling.owners.parts import (
    Share,
    by_instance,
    instance_shares,
    limit,
    number,
    part_of,
    portion,
)
from gpu_sentinel.sampling.owners.shared import Accounts, Owners
from gpu_sentinel.sampling.registry import Surroundings
from gpu_sentinel.sampling.sampler import DeviceSampler
from gpu_sentinel.sampling.signals import ENERGY, UTILIZATION
from gpu_sentinel.sampling.worth import PROCESSES

log = logging.getLogger(__name__)

#: So long after the full second (or interval), at which the GPUs' own readings are due: two threads
#: that wake up together keep the interpreter from each other for milliseconds.
AFTER_SECONDS = 0.03
#: A GPU that does not answer is left alone for so long.
WAIT_SECONDS = 0.5
#: Between two attempts after a failure, at first and at most.
RETRY_SECONDS, RETRY_SECONDS_MAX = 2.0, 60.0
#: What was not supported is asked for again after so long; sooner where MIG is switched.
LOOK_SECONDS = 600.0
#: Steps that are further apart than this many intervals say nothing of what was between them.
MOST_INTERVALS = 5.0


class ProcessSampler:
    """Samples the processes of the GPU of one index; one thread at a time calls `step`."""

    def __init__(
        self,
        gpu: DeviceSampler,
        around: Surroundings,
        owners: Owners,
        mig_devices: Callable[[], Sequence[MigDevice]] = tuple,
    ) -> None:
        """Prepare.

        Args:
            gpu: the sampler of the GPU.
            around: what all samplers share.
            owners: what the samplers of processes share.
            mig_devices: those of the GPU; who is not privileged can only ask them one by one.
        """
        self.index = gpu.index
        self._gpu = gpu
        self._around = around
        self._mig_devices = mig_devices
        self._by_instance = False
        self._look_at = 0.0
        self._owners = owners
        self._processes: Processes | None = None
        self._id: DeviceId | None = None
        self._due = self._retry = 0.0
        self._back_off = BackOff(RETRY_SECONDS, RETRY_SECONDS_MAX)
        self._interval = 0.0
        self._failure: int | None = None
        self._unsampled: int | None = None
        self._stopped = False
        #: When the last step was, in monotonic seconds.
        self._stepped: float | None = None

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
        elapsed = self._elapsed(now)
        factors = self._around.governor.factors
        interval = self._owners.interval() * max(factors.get(query, 1) for query in PROCESSES)
        self._interval = interval
        passed = math.floor((now - AFTER_SECONDS) / interval + 1e-9)
        self._due = (passed + 1) * interval + AFTER_SECONDS
        try:
            if self._gpu.failure is None and now >= self._retry:
                self._pass(gpu.id, now, elapsed)
                self._failure = None
                self._back_off.succeeded()
            else:
                self._publish_holders(gpu.id, now)
        except NvmlError as error:
            self._fail(error, now)
        except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
            self._fail(UnexpectedError(error), now)
        return self._due

    def _publish_holders(self, gpu: DeviceId, now: float) -> None:
        """Its processes cannot be asked for, but who holds it does not change by that."""
        self._publish(gpu, now, None, self._owners.accounts(gpu.uuid))

    def _elapsed(self, now: float) -> float:
        """Seconds since the last step; 0 where too much may have happened since."""
        elapsed = 0.0 if self._stepped is None else now - self._stepped
        return elapsed if elapsed <= MOST_INTERVALS * self._interval else 0.0

    def _pass(self, gpu: DeviceId, now: float, elapsed: float) -> None:
        if self._processes is None or self._id != gpu:
            self._processes, self._id = self._around.driver.processes(gpu), gpu
            self._stepped, elapsed = None, 0.0
        devices = self._mig_devices()
        if bool(devices) != self._by_instance or now >= self._look_at:
            self._by_instance, self._look_at = bool(devices), now + LOOK_SECONDS
            self._processes.look_again()
        booted = self._owners.boot()
        listed = self._processes.list(devices)
        samples = self._samples(self._processes)
        session = self._around.session
        device = session.devices.get(gpu.uuid)
        instances = session.instances.get(gpu.uuid, ())
        accounts = self._owners.accounts(gpu.uuid)
        shares = instance_shares(device, instances)
        seen = self._seen(listed, samples, shares, elapsed, booted)
        held = self._owners.held(gpu.uuid)
        known = {allocation.owner.name for allocation, _ in held}
        if any(s.owner.kind == "pod" and s.owner.name not in known for s in seen):
            self._owners.unknown()
        users = [
            User(s.owner, s.memory, s.busy, part_of(shares, s.gpu_instance), s.alive) for s in seen
        ]
        holders = [Holder(a.owner, part_of(shares, i)) for a, i in held]
        self._account(
            now, elapsed, device, accounts, users=users, holders=holders, of_instances=bool(shares)
        )
        self._publish(gpu, now, seen, accounts)

    def _samples(self, processes: Processes) -> tuple[UseSample, ...]:
        """What each process has used; nothing where that call fails, which costs nothing else."""
        try:
            samples = processes.samples(self._around.clock)
        except (DriverGoneError, GpuLostError):
            raise
        except NvmlError as error:
            if self._unsampled != error.code:
                self._unsampled = error.code
                self._tell(error, "what processes use cannot be read")
            return ()
        self._unsampled = None
        return samples

    def _seen(
        self,
        listed: Sequence[GpuProcess],
        samples: Sequence[UseSample],
        parts: Mapping[int, Share],
        elapsed: float,
        booted: float,
    ) -> list[Seen]:
        used = {sample.pid: sample for sample in samples}
        newest = max((sample.at for sample in samples), default=0.0)
        found = self._owners.resolve([*dict.fromkeys(p.pid for p in listed)], booted)
        totals = by_instance(listed)
        seen = []
        for process in listed:
            sample = used.pop(process.pid, None)
            busy = 0.0 if sample is None else sample.sm * (newest - sample.since)
            part = parts.get(process.gpu_instance) if process.gpu_instance is not None else None
            if part is not None and sample is None:
                # Under MIG the driver tells no samples of processes, but how busy an instance is.
                busy = part.active * elapsed * portion(process, totals)
            seen.append(_named(process.pid, found[process.pid], process, sample, busy))
        for pid, sample in used.items():
            # It has ended since it used something, and its pid may be another's.
            busy = sample.sm * (newest - sample.since)
            seen.append(_named(pid, self._owners.recent(pid), None, sample, busy))
        return seen

    def _account(
        self,
        now: float,
        elapsed: float,
        device: DeviceSnapshot | None,
        accounts: Accounts,
        *,
        users: Sequence[User],
        holders: Sequence[Holder],
        of_instances: bool,
    ) -> None:
        """Give the owners what the GPU has used since the step before."""
        sample = device.tiers.get(Tier.FAST) if device else None
        values: Mapping[str, Value] = sample.values if sample else {}
        joules = span = 0.0
        energy = number(values, ENERGY)
        if sample is not None and energy is not None:
            if accounts.energy is not None:
                # The counter may be read more seldom than the processes, and is not when they are.
                span = max(sample.taken - accounts.energy[0], 0.0)
                joules = max(energy - accounts.energy[1], 0.0)
            accounts.energy = sample.taken, energy
        self._stepped = now
        at_rest = values.get(UTILIZATION) == 0.0
        accounts.idle.step(span, joules, resting=not users and at_rest)
        if not elapsed:
            users, holders = (), ()  # nobody knows who was there in between
        told = of_instances or (self._unsampled is None and self._sampled)
        idle = accounts.idle.part(span, joules, limit(device))
        accounts.ledger.step(
            now,
            elapsed,
            joules,
            idle,
            users=users,
            holders=holders,
            uncertain=not told and not at_rest,
        )

    @property
    def _sampled(self) -> bool:
        return self._processes is not None and self._processes.sampled

    def _publish(
        self, gpu: DeviceId, now: float, seen: Sequence[Seen] | None, accounts: Accounts
    ) -> None:
        """Show all that is known; `seen` is None where the processes cannot be listed."""
        if self._stopped:
            return
        energy = accounts.energy is not None
        owners = tuple(
            OwnerUse(
                owner=owner,
                processes=None if seen is None else a.processes,
                memory=None if seen is None else a.memory,
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

    def _fail(self, error: NvmlError, now: float) -> None:
        self._retry = now + self._back_off.failed()
        if self._failure != error.code:
            self._failure = error.code
            self._tell(error, "processes cannot be listed")
        self._processes = None

    def _tell(self, error: NvmlError, message: str) -> None:
        if not self._stopped:
            fields = {"gpu": self.index, "query": self.asked, "error": error.name}
            log.warning(message, extra={"fields": fields | {"reason": str(error)}})


def _named(
    pid: int,
    found: Process | None,
    process: GpuProcess | None,
    sample: UseSample | None,
    busy: float,
) -> Seen:
    used = {} if sample is None else {e: getattr(sample, e) for e in ENGINES}
    return Seen(
        key=(pid, found.start if found else 0),
        name=found.name if found else "",
        started=found.started if found else None,
        owner=found.owner if found else NOBODY,
        gpu_instance=process.gpu_instance if process else None,
        memory=process.memory if process else None,
        busy=busy,
        utilization={engine: share for engine, share in used.items() if share is not None},
        alive=process is not None,
    )
