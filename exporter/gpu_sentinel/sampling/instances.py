"""The MIG instances of one GPU: found, read and published beside the GPU itself.

They have a sampler of their own, so that an instance that hangs costs no reading of the GPU.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from gpu_sentinel.model import DeviceId, Instance, Tier, TierSample, Value
from gpu_sentinel.nvml import (
    MIG_DEVICE_KEYS,
    MIG_INSTANCE_KEYS,
    DriverGoneError,
    GpuLostError,
    Mig,
    MigDevice,
    MigReader,
    NvmlError,
    Profiler,
    UnexpectedError,
)
from gpu_sentinel.sampling import profiling
from gpu_sentinel.sampling.backoff import BackOff
from gpu_sentinel.sampling.counters import INSTANCE_COUNTERS, Counters
from gpu_sentinel.sampling.profiling import Activities
from gpu_sentinel.sampling.registry import Surroundings
from gpu_sentinel.sampling.sampler import RETRY_SECONDS, DeviceSampler
from gpu_sentinel.sampling.schedule import BACK_OFF_SECONDS_MAX

log = logging.getLogger(__name__)

#: A GPU that does not answer is left alone for so long.
WAIT_SECONDS = 0.5
#: A GPU that does not have MIG is asked for it again after so long.
ABSENT_SECONDS = 600.0
#: The governor may stretch each of these; what is read together waits for the dearest.
_QUERIES = {
    Tier.SLOW: ("mig.mode", "mig.list", "mig.bar1", "mig.ecc", "mig.attributes"),
    Tier.PROFILING: ("mig.memory", "gpm.instance"),
}


def _mig_key(key: str) -> str:
    return f"mig.{key}"


@dataclass(slots=True, eq=False)
class _Part:
    """One MIG device, or one GPU instance, and what is known of it.

    Attributes:
        uuids: of the MIG devices in it: what tells it from another one of the same number.
        device: the one through which it is asked.
        activities: of a GPU instance.
    """

    labels: dict[str, str]
    uuids: frozenset[str]
    reader: MigReader
    device: MigDevice
    activities: Activities | None = None
    profiler: Profiler | None = None
    values: dict[Tier, dict[str, Value]] = field(
        default_factory=lambda: {Tier.SLOW: {}, Tier.PROFILING: {}}
    )
    shares: dict[str, Value] = field(default_factory=dict)
    profiled: float = 0.0
    counters: Counters = field(default_factory=lambda: Counters(INSTANCE_COUNTERS))
    tiers: dict[Tier, TierSample] = field(default_factory=dict)


class InstanceSampler:
    """Samples the MIG instances of the GPU of one index; one thread at a time calls `step`."""

    def __init__(self, gpu: DeviceSampler, around: Surroundings) -> None:
        """`gpu` looks again when MIG mode or the set of instances is not what it was."""
        self.index = gpu.index
        self._gpu = gpu
        self._around = around
        self._clock = around.clock
        self._mig: Mig | None = None
        self._state: tuple[bool, tuple[MigDevice, ...]] | None = None
        self._parts: dict[str | int, _Part] = {}
        self._due = self._look_at = self._read_at = 0.0
        self._looked = -math.inf
        self._failure: int | None = None
        self._back_off = BackOff(RETRY_SECONDS, BACK_OFF_SECONDS_MAX)
        self._asked = "mig"
        self._stopped = False

    @property
    def asked(self) -> str:
        """The query that runs, or ran last."""
        return self._asked

    def devices(self) -> Sequence[MigDevice]:
        """The MIG devices that there were at the last look; from any thread."""
        state = self._state
        return state[1] if state else ()

    def stop(self) -> None:
        """From now on nothing is read and nothing published."""
        self._stopped = True

    def release(self) -> None:
        """Give back what the library holds for the instances; nobody may be inside of `step`."""
        for part in self._parts.values():
            if part.profiler is not None:
                part.profiler.close()
        self._parts = {}

    def step(self) -> float:
        """Do what is due.

        Returns:
            Monotonic seconds at which something is due again.
        """
        now = self._clock()
        if self._stopped or now < self._due:
            return math.inf if self._stopped else self._due
        if self._gpu.inside or self._gpu.known is None or self._gpu.failure is not None:
            # Where the GPU hangs or fails, it is enough that one thread asks it.
            return now + WAIT_SECONDS
        try:
            self._due = self._pass(self._gpu.known.id, now)
        except (GpuLostError, DriverGoneError):
            # The sampler of the GPU says so; here there is nothing to read until it is back.
            self._give_up()
        except NvmlError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours costs readings, no thread
            self._give_up()
            self._fail(UnexpectedError(error))
        else:
            return self._due
        self._due = self._look_at = self._clock() + RETRY_SECONDS
        return self._due

    def _pass(self, gpu: DeviceId, now: float) -> float:
        mig = self._mig
        if mig is None or mig.id != gpu:
            mig = self._mig = self._around.driver.mig(gpu)
        if now >= self._look_at and not self._look_or_retry(mig, now):
            self._look_at = now + ABSENT_SECONDS
        if self._parts and now >= self._read_at:
            if not self._read(Tier.PROFILING, now) and now - self._looked >= RETRY_SECONDS:
                # Most likely an instance was destroyed.
                self._look_or_retry(mig, now)
            self._read_at = self._next(Tier.PROFILING, now)
        self._publish(mig.id)
        return min(self._look_at, self._read_at if self._parts else math.inf)

    def _look_or_retry(self, mig: Mig, now: float) -> bool:
        """As `_look`; where that fails, what is known stays and is read as ever."""
        try:
            has_mig = self._look(mig, now)
        except (GpuLostError, DriverGoneError):
            raise
        except NvmlError as error:
            self._fail(error)
            self._look_at = now + self._back_off.failed()
            return True
        self._failure = None
        self._back_off.succeeded()
        self._look_at = self._next(Tier.SLOW, now)
        return has_mig

    def _look(self, mig: Mig, now: float) -> bool:
        """Find out which instances there are; False where the GPU does not have MIG."""
        self._asked = "mig.list"
        self._looked = now
        mode = mig.mode()
        if mode is None:
            return False
        state = mode, mig.devices() if mode else ()
        if self._state is not None and self._state != state:
            log.info(
                "MIG was changed",
                extra={"fields": self._fields() | {"enabled": mode, "instances": len(state[1])}},
            )
            self._gpu.look_again()
        self._state = state
        parts = dict(self._find(mig, state[1]))
        for key, part in self._parts.items():
            if parts.get(key) is not part and part.profiler is not None:
                part.profiler.close()
        self._parts = parts
        self._read(Tier.SLOW, now)
        return True

    def _find(self, mig: Mig, devices: tuple[MigDevice, ...]) -> Iterator[tuple[str | int, _Part]]:
        """The parts, those that are known already as they are."""
        for device in devices:
            labels = {
                "mig_uuid": device.uuid,
                "gpu_instance": str(device.gpu_instance),
                "compute_instance": str(device.compute_instance),
                "profile": device.profile,
            }
            yield device.uuid, self._part(mig, device.uuid, labels, [device], MIG_DEVICE_KEYS)
        kept: dict[int, tuple[frozenset[str], Activities]] = {}
        ordered = sorted(devices, key=lambda d: d.gpu_instance)
        for number, members in groupby(ordered, key=lambda d: d.gpu_instance):
            labels = {"gpu_instance": str(number)}
            part = self._part(mig, number, labels, list(members), MIG_INSTANCE_KEYS)
            part.activities = self._activities(mig.id.uuid, number, part.uuids)
            kept[number] = part.uuids, part.activities
            if part.profiler is None:
                part.profiler = mig.profiler(number)
            yield number, part
        self._around.registry.instances[mig.id.uuid] = kept

    def _part(
        self,
        mig: Mig,
        key: str | int,
        labels: dict[str, str],
        devices: list[MigDevice],
        keys: frozenset[str],
    ) -> _Part:
        """What is known of a part, asked by a handle that is valid now."""
        uuids = frozenset(d.uuid for d in devices)
        asked = devices[0]
        part = self._parts.get(key)
        if part is None or part.uuids.isdisjoint(uuids):
            reader = MigReader(asked.handle, mig.wanted(keys), mig.recorder)
            return _Part(labels, uuids, reader, asked)
        if part.device.address != asked.address or not part.reader.complete:
            part.reader = MigReader(asked.handle, mig.wanted(keys), mig.recorder)
        part.labels, part.uuids, part.device = labels, uuids, asked
        return part

    def _activities(self, gpu: str, number: int, uuids: frozenset[str]) -> Activities:
        """The integrals of a GPU instance, which go on after a loss or another driver."""
        before = self._around.registry.instances.get(gpu, {}).get(number)
        if before is None or before[0].isdisjoint(uuids):
            return Activities(_mig_key)
        return before[1]

    def _read(self, tier: Tier, now: float) -> bool:
        """Read every part; False where a call about one of them failed."""
        good = True
        lifetime = self._around.pace().lifetime(tier, self._interval(tier))
        for part in self._parts.values():
            values = part.values[tier]
            self._asked = _QUERIES[tier][0] if tier is Tier.PROFILING else "mig.attributes"
            good &= part.reader.read(tier, values)
            _, dropped = part.counters.take(now, INSTANCE_COUNTERS, values)
            part.reader.reject(dropped)
            shown = values.copy()
            if tier is Tier.PROFILING:
                good &= self._profile(part, now)
                shown |= part.shares
            if shown:
                part.tiers[tier] = TierSample(now, self._around.wall(), lifetime, shown)
            else:
                part.tiers.pop(tier, None)
        return good

    def _profile(self, part: _Part, now: float) -> bool:
        """Read the counters of a GPU instance; False where that failed."""
        if part.profiler is None or part.activities is None:
            return True
        self._asked = part.profiler.query
        max_gap = 2.0 * self._interval(Tier.PROFILING)
        if profiling.take(part.profiler, self._clock, max_gap, part.activities, part.shares):
            part.profiled = now
        elif now - part.profiled > max_gap:
            # After a gap, what was known before it must not be taken for new.
            part.shares.clear()
        return part.profiler.failure is None

    def _interval(self, tier: Tier) -> float:
        pace, factors = self._around.pace(), self._around.governor.factors
        factor = max(factors.get(query, 1) for query in _QUERIES[tier])
        base = max(pace.profiling, pace.fast) if tier is Tier.PROFILING else pace.slow
        return base * factor

    def _next(self, tier: Tier, now: float) -> float:
        """The next time on the grid on which all GPUs are read."""
        period = self._interval(tier)
        return (math.floor(now / period + 1e-9) + 1) * period

    def _publish(self, device: DeviceId) -> None:
        if self._stopped:
            return
        instances = tuple(
            Instance(
                device, part.labels, part.tiers.copy(), part.device.profile_id, part.device.start
            )
            for part in self._parts.values()
        )
        self._around.store.put_instances(device.uuid, instances, self._around.session)

    def _give_up(self) -> None:
        """Forget everything: what is there is found anew."""
        mig, self._mig = self._mig, None
        self.release()
        self._state = None
        if mig is not None:
            self._publish(mig.id)

    def _fail(self, error: NvmlError) -> None:
        if self._stopped or self._failure == error.code:
            return
        self._failure = error.code
        fields = self._fields() | {"query": self.asked, "error": error.name, "reason": str(error)}
        log.warning("MIG instances cannot be listed", extra={"fields": fields})

    def _fields(self) -> dict[str, object]:
        return {"gpu": self.index, "uuid": self._mig.id.uuid if self._mig else ""}
