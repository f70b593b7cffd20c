"""Which GPU the device of an allocation of a batch job or a container is.

| device | means |
|---|---|
| `0` | the GPU with NVML's index 0 |
| `0.3` | GPU instance 3 of it |
| `minor:0` | the GPU of /dev/nvidia0 |
| `minor:0.3` | GPU instance 3 of it |
| `slurm:0` | what Slurm counts as 0: the order of gres.conf |
| `GPU-...`, `MIG-...` | the UUID of a GPU or of a MIG device |
| `all` | each GPU of the host, of containers |

Slurm's numbers are the order of its own list (`gres_device->index` in its source). That is the
order of the device files for `File=/dev/nvidia[0-7]`, may be that of the PCI bus where it looks for
GPUs itself, and counts MIG devices. On most machines all of these agree. Where they do not,
exporters that take the number for an index have shown the wrong GPU (PrincetonUniversity/jobstats
issue 34), so here nobody gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpu_sentinel.host.gpus import NodeGpu
from gpu_sentinel.host.jobs.words import number


@dataclass(frozen=True, slots=True)
class Place:
    """A GPU by its UUID, and the number of a GPU instance where it is not all of it."""

    uuid: str
    gpu_instance: int | None = None


ALL = "all"
_UUID = frozenset("0123456789abcdefABCDEF-")


def is_uuid(text: str) -> bool:
    """Whether a text has the form of a GPU's or a MIG device's UUID."""
    kind, dash, rest = text.partition("-")
    return bool(dash) and kind in ("GPU", "MIG") and 8 <= len(rest) <= 64 and _UUID.issuperset(rest)


def place(device: str, gpus: Sequence[NodeGpu]) -> Place | None:
    """What a device means on this host; None where that is not certain."""
    if device.startswith(("GPU-", "MIG-")):
        return _by_uuid(device, gpus)
    kind, colon, rest = device.partition(":")
    if not colon:
        kind, rest = "index", device
    whole, dot, part = rest.partition(".")
    position, instance = number(whole, 4), number(part, 4)
    if position is None or (dot and instance is None):
        return None
    if kind == "slurm":
        return None if dot else _by_slurm(position, gpus)
    if kind not in ("index", "minor"):
        return None
    found = [gpu for gpu in gpus if (gpu.index if kind == "index" else gpu.minor) == position]
    return Place(found[0].uuid, instance) if len(found) == 1 else None


def places(device: str, gpus: Sequence[NodeGpu]) -> tuple[Place, ...]:
    """The same, of a device that may be several."""
    if device == ALL:
        return tuple(Place(gpu.uuid) for gpu in gpus)
    found = place(device, gpus)
    return () if found is None else (found,)


def _by_uuid(device: str, gpus: Sequence[NodeGpu]) -> Place | None:
    for gpu in gpus:
        if device == gpu.uuid:
            return Place(gpu.uuid)
        for part in gpu.mig:
            if device == part.uuid:
                return Place(gpu.uuid, part.gpu_instance)
    return None


def _by_slurm(position: int, gpus: Sequence[NodeGpu]) -> Place | None:
    if any(gpu.mig for gpu in gpus):
        return None
    found = [gpu for gpu in gpus if position in (gpu.index, gpu.minor)]
    return Place(found[0].uuid) if len(found) == 1 and found[0].minor == position else None
