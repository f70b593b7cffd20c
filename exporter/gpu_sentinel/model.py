"""The records that travel from the sampler to the page: plain, immutable, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

#: One reading in base units; a tuple where a device has several of a kind (fans), by index.
Value = float | tuple[float, ...]


class Tier(str, Enum):
    """How often a reading is taken."""

    FAST = "fast"
    BUFFERS = "buffers"
    PROFILING = "profiling"
    SLOW = "slow"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class DeviceId:
    """A physical GPU; no two GPUs of a host share a `uuid`.

    Attributes:
        index: NVML's, which may move; `UNLISTED` for a GPU that the driver does not list.
        uuid: the driver's, which does not move. A GPU that tells none, or one that another GPU
            has too, gets something in its place that tells it apart; see `stand_in`.
        address: on the PCI bus, of a GPU that the driver does not list.
    """

    index: int
    uuid: str
    address: str = ""

    @property
    def name(self) -> str:
        """The label `gpu`: the index, or the PCI address where there is none."""
        return self.address if self.index == UNLISTED else str(self.index)

    @property
    def position(self) -> tuple[bool, int, str]:
        """What GPUs are sorted by: those that are listed come first."""
        return self.index == UNLISTED, self.index, self.uuid


#: The index of a GPU that only the PCI bus knows.
UNLISTED = -1


def stand_in(index: int, address: str) -> str:
    """What takes the place of a UUID that a GPU does not tell."""
    return f"pci-{address}" if address else f"index-{index}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose work a process is, or who has a GPU for himself.

    Attributes:
        kind: `pod`, `slurm_job`, `pbs_job`, `lsf_job`, `container`, `unit`, `user` or `none`.
        name: `namespace/pod` (the pod's uid while that is all that is known), the job id, the
            container's name or short id, the unit, the user.
    """

    kind: str = "none"
    name: str = "unattributed"
    k8s_namespace: str = ""
    k8s_pod: str = ""
    k8s_container: str = ""
    slurm_job: str = ""
    slurm_step: str = ""
    slurm_account: str = ""
    user: str = ""

    def __hash__(self) -> int:
        """Of what tells most owners apart: each second all of every process are looked up."""
        return hash((self.kind, self.name))


#: Who is not known.
NOBODY = Owner()


@dataclass(frozen=True, slots=True)
class Allocation:
    """A GPU, or a GPU instance of it, that somebody holds, whether he uses it or not.

    Attributes:
        device: as the source names it: a UUID of a GPU or MIG device, an index, `nvidia0/gi1`,
            `gpu-0` of DRA, each also with `::replica`; `0.3`, `minor:0`, `minor:0.3` and `slurm:0`
            of batch jobs, see host/jobs/devices.py.
        resource: of Kubernetes, such as `nvidia.com/gpu`; else the source (`slurm`, `mapping`,
            `docker`).
        source: `kubelet`, `slurm`, `mapping` or `docker`.
        claim: of Dynamic Resource Allocation (DRA), as `namespace/name`.
        pool: of DRA, that the device is from; mostly the node's name.
    """

    owner: Owner
    device: str
    resource: str
    source: str
    claim: str = ""
    pool: str = ""

    @property
    def shared(self) -> bool:
        """It is one of several replicas of a GPU: of time slicing or MPS, or a `vgpu` of GKE."""
        return "::" in self.device or "/vgpu" in self.device


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """A process on a GPU.

    Attributes:
        started: Unix time; None where nobody knows.
        name: as the kernel has it (comm); `other` for those that are summed up.
        gpu_instance: of MIG; None without.
        memory: bytes; None where the driver does not know.
        busy: seconds of SM time since the exporter started.
        utilization: share of the time by engine, as the driver said last; empty where it did not.
    """

    pid: int | None
    started: float | None
    name: str
    owner: Owner
    gpu_instance: int | None = None
    memory: float | None = None
    busy: float | None = None
    utilization: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnerUse:
    """What of a GPU is one owner's; joules and seconds since the exporter started.

    Attributes:
        processes, memory: of now; None where that is not known.
    """

    owner: Owner
    processes: int | None = None
    memory: float | None = None
    busy: float = 0.0
    idle_joules: float | None = None
    active_joules: float | None = None
    allocated: float = 0.0
    idle_allocated: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Who uses and holds a GPU, as of one step.

    Attributes:
        taken: monotonic seconds.
        lifetime: seconds after `taken` for which it may be shown.
        allocations: each with the GPU instance that it is about, None for the whole GPU.
    """

    device: DeviceId
    taken: float
    lifetime: float
    processes: tuple[ProcessUse, ...] = ()
    owners: tuple[OwnerUse, ...] = ()
    allocations: tuple[tuple[Allocation, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """Versions as the driver spells them (`590.48.01`, `13.1`, `13.590.48.01`)."""

    driver_version: str
    cuda_version: str
    nvml_version: str


@dataclass(frozen=True, slots=True)
class TierSample:
    """What one pass over a tier found.

    Attributes:
        taken: monotonic clock, seconds.
        wall: Unix time, seconds.
        lifetime: seconds after `taken` for which the values may still be shown.
        values: readings in base units by key; what is not there was not answered.
    """

    taken: float
    wall: float
    lifetime: float
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """One GPU as its sampler last saw it.

    Attributes:
        identity: the labels of `gpu_info`, None until the device told them.
        lost: the driver said that the GPU is gone from the bus, or no longer lists it.
        failure: why it does not answer, in one word (`unknown`, `reset_required`, ...; see
            catalogue/identity.py); empty while it answers.
        outages: how often it has stopped answering since the exporter started.
        answered: monotonic seconds of the last pass that came back, whatever it brought.
        interval: seconds between two passes of the fast tier, as they are made now.
        samples: passes of the fast tier that brought readings, since the exporter started.
        overruns: ticks of the fast tier that were skipped, since the exporter started.
        lost_samples: the driver's samples that it overwrote before they were read, by signal.
    """

    id: DeviceId
    identity: Mapping[str, str] | None = None
    lost: bool = False
    failure: str = ""
    outages: int = 0
    answered: float = 0.0
    interval: float = 0.0
    samples: int = 0
    overruns: int = 0
    lost_samples: Mapping[str, int] = field(default_factory=dict)
    tiers: Mapping[Tier, TierSample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """One MIG device, or one GPU instance of a GPU that MIG splits up.

    Attributes:
        device: the physical GPU.
        labels: what tells it apart: `mig_uuid`, `gpu_instance`, `compute_instance` and `profile`
            of a MIG device, `gpu_instance` alone of a GPU instance.
        tiers: its readings.
        profile_id: NVML's number of the profile of the GPU instance; None where not told.
        start: of the placement of the GPU instance, in memory slices; None where not told.
    """

    device: DeviceId
    labels: Mapping[str, str]
    tiers: Mapping[Tier, TierSample] = field(default_factory=dict)
    profile_id: int | None = None
    start: int | None = None


@dataclass(frozen=True, slots=True)
class DriverState:
    """What is known of the driver.

    Attributes:
        info: its versions, None while NVML is not initialised.
        error: why it is not, for a person; None while it is.
        listed: GPUs that the driver lists, None while NVML is not initialised.
        opened: monotonic seconds of the initialisation.
        answered: monotonic seconds of the last answer to a call that concerns no single GPU.
        released: it was let go of on request, and is not asked for anything.
    """

    info: DriverInfo | None = None
    error: str | None = None
    listed: int | None = None
    opened: float = 0.0
    answered: float = 0.0
    released: bool = False


@dataclass(frozen=True, slots=True)
class XidReports:
    """Reports of one kind: how many since the exporter started, and the last one's Unix time."""

    count: int = 0
    last: float = 0.0


#: By GPU, as it was called last, and XID.
Xids: TypeAlias = Mapping[DeviceId, Mapping[int, XidReports]]
NO_XIDS: Xids = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class XidOwner:
    """Whose process an XID names.

    Attributes:
        gpu_instance: of MIG; None where the whole GPU is meant.
        owner: nobody where the process is not known, or none is named.
    """

    xid: int
    gpu_instance: int | None
    owner: Owner


#: By GPU, as it was called last: reports that name a process or a GPU instance.
OwnerXids: TypeAlias = Mapping[DeviceId, Mapping[XidOwner, XidReports]]
NO_OWNER_XIDS: OwnerXids = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KernelSubject:
    """What an event in the kernel log is about, as the labels say it; empty where they cannot.

    Attributes:
        pci_bus_id: as sysfs spells it: of the GPU, or of the switch.
        event: its name in the catalogue.
        code: of an SXid, its number.
    """

    gpu: str
    uuid: str
    pci_bus_id: str
    event: str
    code: str = ""


KernelEvents: TypeAlias = Mapping[KernelSubject, XidReports]
NO_KERNEL_EVENTS: KernelEvents = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is known at one moment; `sequence` grows with every change."""

    sequence: int = 0
    driver: DriverState = DriverState()
    devices: tuple[DeviceSnapshot, ...] = ()
    pci_devices: int | None = None
    expected_devices: int | None = None
    xids: Xids = field(default_factory=lambda: NO_XIDS)
    instances: tuple[Instance, ...] = ()
    usage: tuple[Usage, ...] = ()
    owner_xids: OwnerXids = field(default_factory=lambda: NO_OWNER_XIDS)
    kernel_events: KernelEvents = field(default_factory=lambda: NO_KERNEL_EVENTS)
