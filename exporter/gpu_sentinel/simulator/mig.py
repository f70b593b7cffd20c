"""MIG of one simulated GPU: its GPU instances, and the compute instances in them."""

from __future__ import annotations

import itertools
import re
import threading
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pynvml

from gpu_sentinel.simulator.models import MIB, Model
from gpu_sentinel.simulator.physics import Done

#: How many MIG devices there can be.
MOST = 7
#: How busy instances are while the GPU's load is full, in the order in which they are made.
_ACTIVITIES = (1.0, 0.6, 0.3, 0.0, 0.8, 0.5, 0.2)
_SPELLING = re.compile(r"(?:(\d)c\.)?((\d)g\.\d+gb)")

#: What a GPU does not answer while MIG is on, as `nvidia-smi -q` of an H100 has it.
FUNCTIONS_WITHOUT_MIG = frozenset(
    {
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetEncoderUtilization",
        "nvmlDeviceGetDecoderUtilization",
        "nvmlDeviceGetJpgUtilization",
        "nvmlDeviceGetOfaUtilization",
        "nvmlDeviceGetProcessUtilization",
        "nvmlDeviceGetProcessesUtilizationInfo",
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetRowRemapperHistogram",
        "nvmlDeviceGetNvLinkState",
        "nvmlDeviceGetNvLinkVersion",
        "nvmlDeviceGetNvLinkCapability",
        "nvmlDeviceGetNvLinkErrorCounter",
        "nvmlDeviceGetNvLinkRemoteDeviceType",
        "nvmlDeviceGetNvLinkRemotePciInfo",
        "nvmlDeviceGetNvLinkRemotePciInfo_v2",
    }
)
#: NVML_FI_DEV_NVLINK_* and NVML_FI_DEV_REMAPPED_*.
FIELDS_WITHOUT_MIG = frozenset(
    {
        getattr(pynvml, name)
        for name in dir(pynvml)
        if name.startswith(("NVML_FI_DEV_NVLINK_", "NVML_FI_DEV_REMAPPED_"))
    }
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a GPU instance of a profile has; memory in MiB.

    Attributes:
        id: as `nvidia-smi mig -lgip` has it.
        places: where it can lie: the first memory slice, by the id that an instance has there.
        memory_slices: how many it takes.
    """

    name: str
    slices: int
    id: int
    places: Mapping[int, int]
    memory_slices: int
    multiprocessors: int
    memory_mib: int
    bar1_mib: int
    idle_mib: int
    copy_engines: int
    decoders: int
    jpegs: int


#: By the number of compute slices: id of the profile, places, memory slices; in the order in
#: which a driver takes the places. As `nvidia-smi mig -lgi` and `-lgipp` show them in NVIDIA's
#: MIG user guide: the ids of instances count the nodes of a tree over the eight memory slices.
_LAYOUT: Mapping[int, tuple[int, Mapping[int, int], int]] = {
    1: (19, {9: 2, 10: 3, 11: 4, 12: 5, 13: 6, 7: 0, 8: 1}, 1),
    2: (14, {3: 0, 4: 2, 5: 4}, 2),
    3: (9, {2: 4, 1: 0}, 4),
    4: (5, {1: 0}, 4),
    7: (0, {0: 0}, 8),
}


def _profiles(*rows: tuple[str, int, int, int, int, int, int, int]) -> Mapping[str, Profile]:
    return {
        name: Profile(name, int(name[0]), *_LAYOUT[int(name[0])], *numbers)
        for name, *numbers in rows
    }


#: By the name of the GPU. The first three of the H100 are as captured, the others follow
#: NVIDIA's MIG user guide.
PROFILES: Mapping[str, Mapping[str, Profile]] = {
    "NVIDIA H100 80GB HBM3": _profiles(
        ("1g.10gb", 16, 9984, 6184, 9, 1, 1, 1),
        ("2g.20gb", 32, 20096, 12369, 17, 2, 2, 2),
        ("3g.40gb", 60, 40448, 24739, 26, 3, 3, 3),
        ("4g.40gb", 64, 40448, 24739, 26, 4, 4, 4),
        ("7g.80gb", 132, 80896, 49478, 51, 8, 7, 7),
    ),
    "NVIDIA A100-SXM4-80GB": _profiles(
        ("1g.10gb", 14, 9728, 16383, 13, 1, 0, 0),
        ("2g.20gb", 28, 19968, 32767, 25, 2, 1, 0),
        ("3g.40gb", 42, 40192, 65535, 37, 3, 2, 0),
        ("4g.40gb", 56, 40192, 65535, 37, 4, 2, 0),
        ("7g.80gb", 98, 80640, 131071, 65, 7, 5, 1),
    ),
}


@dataclass(slots=True)
class GpuInstance:
    """A part of the GPU with memory and SMs of its own.

    Attributes:
        activity: how busy it is, of the load of the GPU.
        spelling: as it was asked for.
        born: what the board had done when it was made.
        failing: function -> error code.
        hanging: calls about it do not come back.
    """

    id: int
    profile: Profile
    activity: float
    spelling: str
    born: Done = field(default_factory=Done)
    uncorrected: int = 0
    failing: dict[str, int] = field(default_factory=dict)
    hanging: bool = False

    @property
    def start(self) -> int:
        """The first memory slice that it has."""
        return self.profile.places[self.id]

    @property
    def occupied(self) -> range:
        """The memory slices that it has."""
        return range(self.start, self.start + self.profile.memory_slices)

    def done(self, board: Done) -> Done:
        """What it has done by the time at which the board's load comes to `board`."""
        return _scaled(self.activity, self.born, board)


@dataclass(frozen=True, slots=True)
class MigDevice:
    """A compute instance: what NVML has a handle for."""

    uuid: str
    instance: GpuInstance
    compute_instance: int
    slices: int

    @property
    def profile(self) -> str:
        """As nvidia-smi spells it: `3g.40gb`, `1c.3g.40gb` where it is a part."""
        whole = self.instance.profile
        return whole.name if self.slices == whole.slices else f"{self.slices}c.{whole.name}"

    @property
    def multiprocessors(self) -> int:
        """Its share of the instance's."""
        whole = self.instance.profile
        return whole.multiprocessors * self.slices // whole.slices


def _free(profile: Profile, there: Collection[GpuInstance]) -> list[int]:
    """The ids that an instance of a profile can have beside those that there are, best first.

    `check` counts compute slices only. What it lets through and finds no place by itself gets
    one that overlaps, where a real driver would refuse it.
    """
    taken = {slice_ for instance in there for slice_ in instance.occupied}
    ids = [i for i in profile.places if i not in {instance.id for instance in there}]

    def overlap(id_: int) -> int:
        start = profile.places[id_]
        return len(taken.intersection(range(start, start + profile.memory_slices)))

    return sorted(ids, key=lambda id_: overlap(id_) > 0)


def _scaled(share: float, since: Done, until: Done) -> Done:
    return Done(*(share * (b - a) for a, b in zip(since, until, strict=True)))


class Mig:
    """MIG of one GPU; any number of threads may ask.

    Attributes:
        enabled: MIG mode is on.
        devices: by index, as NVML counts them; those that are destroyed leave holes.
    """

    def __init__(self, model: Model, seed: uuid.UUID) -> None:
        self.enabled = False
        self.devices: Mapping[int, MigDevice] = {}
        self._model = model
        self._seed = seed
        self._made = itertools.count()
        self._lock = threading.Lock()
        self._before = self._since = Done()

    @property
    def instances(self) -> tuple[GpuInstance, ...]:
        """The GPU instances, each once."""
        return tuple({d.instance.id: d.instance for d in self.devices.values()}.values())

    def instance(self, id_: int) -> GpuInstance | None:
        """The GPU instance of this number."""
        return next((i for i in self.instances if i.id == id_), None)

    @property
    def activity(self) -> float:
        """How busy the GPU is, of its load: all its instances together."""
        if not self.enabled:
            return 1.0
        known = PROFILES.get(self._model.name, {})
        whole = max((p.multiprocessors for p in known.values()), default=1)
        return sum(i.activity * i.profile.multiprocessors / whole for i in self.instances)

    def memory_used(self, instance: GpuInstance, share: float) -> int:
        """Bytes in use in an instance while the load takes this share of the memory."""
        profile = instance.profile
        used = int(profile.memory_mib * MIB * min(share * instance.activity, 1.0))
        return max(used, profile.idle_mib * MIB)

    def done(self, board: Done) -> Done:
        """What the GPU has done by the time at which its load comes to `board`."""
        now = _scaled(self.activity, self._since, board)
        return Done(*(a + b for a, b in zip(self._before, now, strict=True)))

    def switch(self, spellings: Sequence[str] | None, board: Done) -> None:
        """Make it so that there are these instances; None switches MIG off.

        What is there already and wanted again stays as it is; `board` is what the load of the
        whole GPU comes to by now.
        """
        with self._lock:
            self._before, self._since = self.done(board), board
            kept = dict(self.devices)
            missing = []
            keep: set[int] = set()
            for spelling in spellings or ():
                same = [i for i in self.instances if i.spelling == spelling and i.id not in keep]
                if same:
                    keep.add(same[0].id)
                else:
                    missing.append(spelling)
            kept = {slot: d for slot, d in kept.items() if d.instance.id in keep}
            for spelling in missing:
                self._create(spelling, kept, board)
            self.devices = kept
            self.enabled = spellings is not None

    def _create(self, spelling: str, devices: dict[int, MigDevice], board: Done) -> None:
        number = next(self._made)
        profile, parts = parse(self._model, spelling)
        there = {d.instance.id: d.instance for d in devices.values()}.values()
        free = _free(profile, there)
        instance = GpuInstance(
            free[0], profile, _ACTIVITIES[number % len(_ACTIVITIES)], spelling, board
        )
        for compute, slices in enumerate(parts):
            slot = next(s for s in range(MOST) if s not in devices)
            name = f"MIG-{uuid.uuid5(self._seed, f'{number}/{compute}')}"
            devices[slot] = MigDevice(name, instance, compute, slices)


def parse(model: Model, spelling: str) -> tuple[Profile, tuple[int, ...]]:
    """`3g.40gb`, or its compute instances as in `2c.3g.40gb+1c.3g.40gb`: profile and parts.

    Raises:
        ValueError: this model has no such profile.
    """
    known = PROFILES.get(model.name, {}) if model.mig else {}
    found: list[tuple[Profile, int]] = []
    for part in spelling.split("+"):
        match = _SPELLING.fullmatch(part)
        profile = known.get(match[2]) if match else None
        if match is None or profile is None:
            names = ", ".join(known) or "none"
            raise ValueError(f"{part!r} is no MIG profile of {model.name}: it has {names}")
        found.append((profile, int(match[1] or profile.slices)))
    whole = found[0][0]
    if any(p is not whole for p, _ in found) or sum(n for _, n in found) > whole.slices:
        raise ValueError(f"{spelling!r} does not fit into one GPU instance")
    return whole, tuple(n for _, n in found)


def check(model: Model, spellings: Sequence[str] | None) -> None:
    """Whether these instances fit beside each other.

    Raises:
        ValueError: they do not, or a profile is not known.
    """
    parts = [parse(model, spelling) for spelling in spellings or ()]
    if sum(profile.slices for profile, _ in parts) > MOST or any(
        sum(p is profile for p, _ in parts) > len(profile.places) for profile, _ in parts
    ):
        raise ValueError(f"{' '.join(spellings or ())} do not fit into one GPU")
