"""Who uses and who holds the GPUs, as rows for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpu_sentinel.exposition.ownersreader import OwnerStatus, ProcessStatus
from gpu_sentinel.exposition.reader import GpuStatus, MigStatus, Status

#: The header first.
Rows = Sequence[Sequence[str]]

#: What stands to the left in each table; numbers stand to the right.
OWNER_HEADER = ("GPU", "KIND", "OWNER", "HOLDS", "PROCS", "MEMORY", "SM", "POWER")
OWNER_LEFT = frozenset({0, 1, 2, 3})
PROCESS_HEADER = ("GPU", "PID", "PROCESS", "OWNER", "MEMORY", "SM", "SM TIME")
PROCESS_LEFT = frozenset({0, 2, 3})
GPU_HEADER = ("GPU", "NAME", "UTIL", "MEMORY", "POWER", "TEMP", "STATE")
GPU_LEFT = frozenset({0, 1, 6})
#: Which column gives way where there is not room for all.
OWNER_FLEXIBLE, PROCESS_FLEXIBLE, GPU_FLEXIBLE = 2, 3, 1

#: What to sort by.
SORTS = ("gpu", "memory", "sm", "power", "owner")

#: Of an owner who is gone; less is nothing in whole watts.
_LEAST_WATTS = 0.5

NO_OWNERS = (
    "No owners: nobody has used or held a GPU, or the exporter's group of metrics `owners` is off."
)
NO_PROCESSES = (
    "No processes: none is on a GPU, or the exporter does not show them "
    "(--metrics.enable processes)."
)
NOT_ANSWERING = "No owners and no processes: the driver does not answer."


def owner_rows(found: Status, sort: str = "gpu") -> Rows:
    """The owners; those that are gone come last, as long as energy is still theirs."""
    shown = [o for o in found.owners if _here(o) or (o.power_watts or 0.0) >= _LEAST_WATTS]
    return [OWNER_HEADER, *map(_owner, sorted(shown, key=lambda o: _owner_key(o, sort)))]


def process_rows(found: Status, sort: str = "gpu") -> Rows:
    """The processes."""
    shown = sorted(found.processes, key=lambda p: _process_key(p, sort))
    return [PROCESS_HEADER, *map(_process, shown)]


def gpu_rows(found: Status) -> Rows:
    """The GPUs, with their MIG devices."""
    return [
        GPU_HEADER,
        *(row for gpu in found.gpus for row in (_gpu(gpu), *map(_mig_device, gpu.instances))),
    ]


def gpu_cells(gpu: GpuStatus) -> tuple[str, ...]:
    """Index, name, utilisation, memory, power and temperature of a GPU."""
    return (
        str(gpu.gpu),
        gpu.name or gpu.uuid,
        show(gpu.utilization_ratio, 100, "%"),
        _memory(gpu.memory_used_bytes, gpu.memory_total_bytes),
        _power(gpu),
        show(gpu.temperature_celsius, 1, "°C"),
    )


def instance_cells(instance: MigStatus) -> tuple[str, ...]:
    """The first four of them, for a MIG device; they are those of its GPU instance."""
    return (
        "",
        _instance_name(instance),
        show(instance.graphics_active_ratio, 100, "%"),
        _memory(instance.memory_used_bytes, instance.memory_total_bytes),
    )


def show(value: float | None, scale: float, unit: str) -> str:
    """A reading, or a dash."""
    return "-" if value is None else f"{value * scale:.0f} {unit}"


def _memory(used: float | None, total: float | None) -> str:
    """Used and all, or a dash."""
    if used is None or total is None:
        return "-"
    return f"{used / 2**30:.1f}/{total / 2**30:.1f} GiB"


def _power(gpu: GpuStatus) -> str:
    """Drawn and allowed."""
    if gpu.power_watts is None or gpu.power_limit_watts is None:
        return show(gpu.power_watts, 1, "W")
    return f"{gpu.power_watts:.0f}/{gpu.power_limit_watts:.0f} W"


def _instance_name(instance: MigStatus) -> str:
    """How a MIG device is told apart below its GPU."""
    return f"- MIG {instance.profile} ({instance.gpu_instance}/{instance.compute_instance})"


def _gpu(gpu: GpuStatus) -> tuple[str, ...]:
    return (*gpu_cells(gpu), gpu.state)


def _mig_device(instance: MigStatus) -> tuple[str, ...]:
    return (*instance_cells(instance), *[""] * 3)


def _owner(owner: OwnerStatus) -> tuple[str, ...]:
    holds = "-" if not owner.holds else "idle" if owner.sm_ratio == 0.0 else "yes"
    return (
        str(owner.gpu),
        owner.owner_kind,
        owner.owner,
        holds,
        "-" if owner.processes is None else str(owner.processes),
        _size(owner.memory_used_bytes),
        show(owner.sm_ratio, 100, "%"),
        show(owner.power_watts, 1, "W"),
    )


def _process(process: ProcessStatus) -> tuple[str, ...]:
    gpu = str(process.gpu)
    return (
        gpu if process.gpu_instance is None else f"{gpu}/{process.gpu_instance}",
        "-" if process.pid is None else str(process.pid),
        process.process,
        process.owner,
        _size(process.memory_used_bytes),
        show(process.sm_ratio, 100, "%"),
        _clock(process.busy_seconds),
    )


def _size(size: float | None) -> str:
    return "-" if size is None else f"{size / 2**30:.1f} GiB"


def _clock(seconds: float | None) -> str:
    """As `top` shows processor time."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(min(max(seconds, 0.0), 1e12)), 60)
    return f"{minutes}:{rest:02d}" if minutes < 600 else f"{minutes // 60}h{minutes % 60:02d}"


def _here(owner: OwnerStatus) -> bool:
    return owner.holds or bool(owner.processes)


def _owner_key(owner: OwnerStatus, sort: str) -> tuple[object, ...]:
    gone = not _here(owner)
    values = (owner.memory_used_bytes, owner.sm_ratio, owner.power_watts)
    return (gone, *_key(sort, owner, values))


def _process_key(process: ProcessStatus, sort: str) -> tuple[object, ...]:
    # A process has no power of its own; what it has used comes nearest.
    values = (process.memory_used_bytes, process.sm_ratio, process.busy_seconds)
    return (process.pid is None, *_key(sort, process, values), process.pid or 0)


def _key(
    sort: str, of: OwnerStatus | ProcessStatus, values: tuple[float | None, ...]
) -> tuple[object, ...]:
    """Numbers with the largest first, and those without one last."""
    gpu = (False, of.gpu, "") if isinstance(of.gpu, int) else (True, 0, of.gpu)
    by: dict[str, Callable[[], tuple[object, ...]]] = {
        "gpu": lambda: (gpu, -(values[0] or 0.0)),
        "owner": lambda: (of.owner_kind, of.owner, gpu),
        "memory": lambda: (_down(values[0]), gpu),
        "sm": lambda: (_down(values[1]), gpu),
        "power": lambda: (_down(values[2]), gpu),
    }
    return (*by[sort](), of.owner_kind, of.owner)


def _down(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)
