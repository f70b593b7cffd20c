"""The groups of metrics: what is on by default, and what is switched on by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gpu_sentinel.catalogue.metric import Metric, Op
from gpu_sentinel.catalogue.metrics import METRICS
from gpu_sentinel.expressions import Expression


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that are switched together.

    Attributes:
        on: whether they are there without being asked for.
        about: what they tell, as a sentence.
    """

    name: str
    on: bool
    about: str


GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        Group("identity", True, "Which GPUs there are, and what describes them."),
        Group("utilization", True, "How busy the engines are."),
        Group("memory", True, "Device memory."),
        Group("power", True, "Power and energy."),
        Group("temperature", True, "Heat, and how much of it is left to the limits."),
        Group("clocks", True, "Clocks, and what holds them down."),
        Group("pcie", True, "The PCIe link, and what goes over it."),
        Group("fans", True, "Fans."),
        Group("errors", True, "Memory errors and what was done about them."),
        Group("health", True, "The driver's own verdicts."),
        Group("xid", True, "XIDs, the driver's error reports."),
        Group("nvlink", True, "NVLink, all links of a GPU together, and its fabric."),
        Group("modes", True, "How the GPU is set up."),
        Group(
            "profiling", True, "What the SMs do, from the GPU's own counters (Hopper and newer)."
        ),
        Group(
            "mig",
            True,
            "MIG instances. Ratios of `gpu_mig_instance_*` are shares of the instance, not of the "
            "GPU: 1 says that all of the instance is busy, however small it is "
            "([NVIDIA/DCGM#138](https://github.com/NVIDIA/DCGM/issues/138)).",
        ),
        Group(
            "owners",
            True,
            "Who uses and who holds a GPU, with what of its energy is whose: pods, jobs, "
            "containers, units, users.",
        ),
        Group("processes", False, "The processes on a GPU, each by itself."),
        Group("distributions", False, "For how long power and utilisation were at which level."),
        Group("media", False, "JPEG and optical-flow engines, encoder and capture sessions."),
        Group("limits", False, "Power limits and thermal offsets that rarely change."),
        Group("clocks-details", False, "Application clocks, and the driver's times of slowdowns."),
        Group("health-details", False, "The flags behind the driver's verdicts."),
        Group("ecc-locations", False, "Memory errors by the part of the GPU where they were."),
        Group("pcie-errors", False, "Errors on the PCIe link by kind."),
        Group("nvlink-links", False, "Each NVLink by itself: state, speed, bytes, errors."),
        Group(
            "profiling-details",
            False,
            "More of the GPU's own counters: pipes, kinds of tensor work.",
        ),
        Group(
            "topology", False, "What the GPU reaches directly: health of the NVLink fabric, C2C."
        ),
        Group(
            "p2p",
            False,
            "What GPUs of a host can do with each other. They are asked about pairs, so a GPU that "
            "hangs can hold up the others.",
        ),
        Group(
            "details",
            False,
            "What few people need: BAR1, part numbers, modes, cores, protected memory.",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which metrics are wanted; each step beats those before it.

    Attributes:
        enable: groups that are on beside those that are by default.
        disable: groups that are off.
        include: patterns; a metric whose whole name matches one is there though its group is off.
        exclude: patterns; a metric whose whole name matches one is not there.
    """

    enable: Collection[str] = ()
    disable: Collection[str] = ()
    include: Collection[Expression] = ()
    exclude: Collection[Expression] = ()

    def wants(self, metric: Metric) -> bool:
        """Whether this metric is there, where a GPU has it."""
        if any(p.matches(metric.name) for p in self.exclude):
            return False
        if any(p.matches(metric.name) for p in self.include):
            return True
        group = GROUPS[metric.group]
        return (group.on or group.name in self.enable) and group.name not in self.disable

    def metrics(self, metrics: tuple[Metric, ...] = METRICS) -> tuple[Metric, ...]:
        """Those that are wanted."""
        return tuple(m for m in metrics if self.wants(m))


def keys_needed(metrics: Collection[Metric]) -> frozenset[str]:
    """What the driver has to be asked for so that these metrics can be shown."""
    read = (Op.READ, Op.INSTANCE, Op.MIN, Op.MAX, Op.INTEGRAL, Op.OBSERVED, Op.LEVELS)
    keys = {key for m in metrics if m.op in read for key in m.series.values()}
    return frozenset(keys.union(*(m.needs for m in metrics)))
