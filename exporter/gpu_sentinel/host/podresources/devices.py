"""Which GPU of the node is meant by a name that a device plugin or a driver of DRA gave it: pure.

| name | who gives it |
|---|---|
| `GPU-...`, `MIG-...` | NVIDIA's device plugin: NVML's UUID |
| `MIG-GPU-.../1/0` | the same with drivers before 470: GPU, GPU instance, compute instance |
| any of these with `::2` | the same with time slicing or MPS: the replica |
| `nvidia0`, `nvidia0/gi1`, each also with `/vgpu2` | GKE: the device file, so the minor number |
| `0` | plugins that name devices by NVML's index |
| `gpu-0` | NVIDIA's driver of DRA: the minor number |
| `gpu-0-mig-9-4-4` | the same up to 25.8: profile id, start and size of the placement |
| `gpu-0-mig-3g40gb-9-4` | the same since: profile, its id, start of the placement |

GKE: container-engine-accelerators, pkg/gpu/nvidia/mig/mig.go and gpusharing/gpusharing.go. DRA:
dra-driver-nvidia-gpu, cmd/gpu-kubelet-plugin/mig.go, `ToCanonicalName`. A GPU instance is told by
its profile and the start of its placement, so no API server has to be asked which one it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from gpu_sentinel.host.gpus import MigPlace, NodeGpu

#: No name of a device is longer; Kubernetes allows 253 characters of a name.
_LONGEST = 256
_REPLICA = re.compile(r"([^:]{1,256})::([0-9]{1,6})")
_GKE = re.compile(r"nvidia([0-9]{1,5})(?:/gi([0-9]{1,5}))?(?:/vgpu([0-9]{1,6}))?")
_OLD_MIG = re.compile(r"MIG-(GPU-[0-9a-fA-F-]{1,64})/([0-9]{1,5})/([0-9]{1,5})")
_INDEX = re.compile(r"[0-9]{1,5}")
_DRA = re.compile(r"gpu-([0-9]{1,5})")
_DRA_MIG_BY_SIZE = re.compile(r"gpu-([0-9]{1,5})-mig-([0-9]{1,5})-([0-9]{1,5})-[0-9]{1,5}")
#: Profiles are `1g10gb`, `1g10gb-me`, `1c3g40gb`: what is only digits is the older form.
_DRA_MIG = re.compile(
    r"gpu-([0-9]{1,5})-mig-([0-9]{1,2}[cg][a-z0-9-]{0,40}?)-([0-9]{1,5})-([0-9]{1,5})"
)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]")


@dataclass(frozen=True, slots=True)
class Held:
    """What is meant.

    Attributes:
        uuid: of the GPU.
        gpu_instance: id of the GPU instance, None where the whole GPU is meant.
        compute_instance: id within that, None where the whole GPU instance is meant.
        replica: its number, where the device is one of several that are the same GPU.
    """

    uuid: str
    gpu_instance: int | None = None
    compute_instance: int | None = None
    replica: str = ""


def resolve(device: str, gpus: Iterable[NodeGpu]) -> Held | None:
    """What a device is; None where that is not known for sure.

    Args:
        device: as in `Allocation.device`.
        gpus: all GPUs of the node.
    """
    if len(device) > _LONGEST:
        return None
    gpus = tuple(gpus)
    replica = ""
    if shared := _REPLICA.fullmatch(device):
        device, replica = shared[1], shared[2]
    elif (gke := _GKE.fullmatch(device)) and gke[3]:
        device, replica = device.rpartition("/")[0], gke[3]
    held = _by_uuid(device, gpus) or _by_number(device, gpus) or _by_placement(device, gpus)
    if held is None or not replica:
        return held
    return Held(held.uuid, held.gpu_instance, held.compute_instance, replica)


def _by_uuid(device: str, gpus: tuple[NodeGpu, ...]) -> Held | None:
    found = [Held(gpu.uuid) for gpu in gpus if gpu.uuid == device] + [
        Held(gpu.uuid, part.gpu_instance, part.compute_instance)
        for gpu in gpus
        for part in gpu.mig
        if part.uuid == device
    ]
    if not found and (old := _OLD_MIG.fullmatch(device)):
        found = [
            Held(gpu.uuid, part.gpu_instance, part.compute_instance)
            for gpu in gpus
            for part in gpu.mig
            if gpu.uuid == old[1]
            and (part.gpu_instance, part.compute_instance) == (int(old[2]), int(old[3]))
        ]
    return _only(found)


def _by_number(device: str, gpus: tuple[NodeGpu, ...]) -> Held | None:
    if _INDEX.fullmatch(device):
        return _only([Held(gpu.uuid) for gpu in gpus if gpu.index == int(device)])
    if dra := _DRA.fullmatch(device):
        return _only([Held(gpu.uuid) for gpu in gpus if gpu.minor == int(dra[1])])
    gke = _GKE.fullmatch(device)
    if gke is None or gke[3]:
        return None
    gpu = _only([gpu for gpu in gpus if gpu.minor == int(gke[1])])
    if gpu is None or gke[2] is None:
        return Held(gpu.uuid) if gpu else None
    instance = int(gke[2])
    known = any(part.gpu_instance == instance for part in gpu.mig)
    return Held(gpu.uuid, instance) if known else None


def _by_placement(device: str, gpus: tuple[NodeGpu, ...]) -> Held | None:
    if by_size := _DRA_MIG_BY_SIZE.fullmatch(device):
        minor, profile_id, start = (int(number) for number in by_size.groups())
        profile = ""
    elif named := _DRA_MIG.fullmatch(device):
        minor, profile_id, start = int(named[1]), int(named[3]), int(named[4])
        profile = named[2]
    else:
        return None
    # Several compute instances of one GPU instance are one place.
    return _only(
        {
            Held(gpu.uuid, part.gpu_instance)
            for gpu in gpus
            for part in gpu.mig
            if gpu.minor == minor
            and part.start == start
            and _has_profile(part, profile_id, profile)
        }
    )


def _has_profile(part: MigPlace, profile_id: int, profile: str) -> bool:
    """The name decides only where NVML did not tell the number."""
    if part.profile_id is not None:
        return part.profile_id == profile_id
    return bool(profile) and _as_dra(part.profile) == profile


def _as_dra(profile: str) -> str:
    """`1g.10gb+me` as it stands in a name of DRA: `1g10gb-me`."""
    return _NOT_IN_NAMES.sub("-", profile.lower().replace(".", "")).strip("-")


_T = TypeVar("_T")


def _only(found: Collection[_T]) -> _T | None:
    """The one that there is; two GPUs that tell the same number are told apart by nothing."""
    return next(iter(found)) if len(found) == 1 else None
