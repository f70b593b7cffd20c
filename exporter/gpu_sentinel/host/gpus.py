"""The GPUs of this host, for whoever looks up which of them a device of an allocation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MigPlace:
    """A MIG device of the node, as NVML tells it.

    Attributes:
        uuid: of the MIG device.
        gpu_instance: id of the GPU instance that it is in.
        compute_instance: id within that.
        profile: of the GPU instance: `3g.40gb`, `1g.10gb+me`.
        profile_id: nvmlGpuInstanceInfo_t.profileId; None where it was not told.
        start: of its placement, in memory slices; None where it was not told.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str = ""
    profile_id: int | None = None
    start: int | None = None


@dataclass(frozen=True, slots=True)
class NodeGpu:
    """A GPU of the node, as NVML tells it.

    Attributes:
        minor: N of /dev/nvidiaN, None where it was not told.
        mig: its MIG devices.
    """

    index: int
    uuid: str
    minor: int | None = None
    mig: tuple[MigPlace, ...] = ()
