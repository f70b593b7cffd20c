"""The processes of a scenario file, and who has GPUs for himself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpu_sentinel.model import Owner
from gpu_sentinel.simulator import loads, parsing
from gpu_sentinel.simulator.workers import Process

_TYPES = ("compute", "graphics", "mps")
_INSTANCE = parsing.whole(0, 14)
_MOST_PIDS = 2**22
_OWNERS = ("pod", "slurm_job", "container", "unit", "user")
_LABELS = (
    *("k8s_namespace", "k8s_pod", "k8s_container", "user"),
    *("slurm_job", "slurm_step", "slurm_account"),
)
_SOURCES = ("kubelet", "slurm", "mapping", "docker")


@dataclass(frozen=True, slots=True)
class Holding:
    """Somebody has a GPU, or a part of it, whether he uses it or not.

    Attributes:
        gpu_instance: which part; None for the whole.
        replica: of a GPU that is shared in time; None where it is not.
    """

    owner: Owner
    resource: str
    source: str
    gpu_instance: int | None = None
    replica: int | None = None


def _environ(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"no mapping of variables: {value!r}")  # noqa: TRY004 - one kind of error
    # A number in YAML is a text here: SLURM_JOB_ID: 17.
    return {parsing.text(name): str(content) for name, content in value.items()}


def _types(value: object) -> tuple[str, ...]:
    found = tuple(parsing.list_of(parsing.choice(*_TYPES))(value))
    if not found:
        raise ValueError("is empty")
    return found


#: What is said of a process.
PROCESS: Mapping[str, parsing.Parse] = {
    "pid": parsing.whole(1, _MOST_PIDS),
    "name": parsing.text,
    "user": parsing.text,
    "uid": parsing.whole(0, 2**32 - 2),
    "cgroup": parsing.text,
    "environ": _environ,
    "load": loads.parse,
    "types": _types,
    "gpu_instance": _INSTANCE,
    "compute_instance": parsing.whole(0, 7),
    "container": parsing.text,
}
#: What is said of who has a GPU.
HOLDING: Mapping[str, parsing.Parse] = {
    "kind": parsing.choice(*_OWNERS),
    "owner": parsing.text,
    **dict.fromkeys(_LABELS, parsing.text),
    "resource": parsing.text,
    "source": parsing.choice(*_SOURCES),
    "gpu_instance": _INSTANCE,
    "replica": parsing.whole(0, 63),
}
REQUIRED_OF_PROCESS, REQUIRED_OF_HOLDING = ("pid",), ("kind", "owner")


def process(value: object) -> Process:
    """A process of a GPU's list."""
    return Process(**parsing.fields(value, PROCESS, REQUIRED_OF_PROCESS))


def holding(value: object) -> Holding:
    """One of a GPU's holders."""
    return held(**parsing.fields(value, HOLDING, REQUIRED_OF_HOLDING))


def held(
    *,
    kind: str,
    owner: str,
    resource: str = "nvidia.com/gpu",
    source: str = "kubelet",
    gpu_instance: int | None = None,
    replica: int | None = None,
    **labels: str,
) -> Holding:
    """A holder by the names of a scenario file."""
    return Holding(Owner(kind, owner, **labels), resource, source, gpu_instance, replica)
