"""What the SMs do, from the GPU's own counters (GPM): a GPU's, and those of MIG instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpu_sentinel.catalogue.declare import BYTES, RATIO
from gpu_sentinel.catalogue.metric import Kind, Metric, Op, value_key
from gpu_sentinel.model import Tier

PROFILING_SECONDS = "profiling.observed"


@dataclass(frozen=True, slots=True)
class Activity:
    """One share that GPM gives.

    Attributes:
        name: of its key `profiling.<name>` and of its metrics.
        number: NVML_GPM_METRIC_*.
        what: what was busy, as in "seconds that ...".
        weighted: it is no share of the time: the counter is the integral of the ratio.
        group: of a GPU's metrics; those of MIG instances are in their own.
    """

    name: str
    number: int
    what: str
    weighted: bool = False
    group: str = "profiling"

    @property
    def key(self) -> str:
        """The key of the reading."""
        return f"profiling.{self.name}"


ACTIVITIES = (
    Activity("graphics_active", 1, "any kernel or graphics work was active"),
    Activity(
        "sm_active", 2, "an SM had at least one warp, as the mean over all SMs", weighted=True
    ),
    Activity(
        "sm_occupancy", 3, "a place for a warp was taken, as the mean over all SMs", weighted=True
    ),
    Activity("tensor_active", 5, "the tensor cores were busy"),
    Activity("dram_active", 10, "device memory was read or written, of what its bandwidth allows"),
    *(
        Activity(
            f"{pipe}_active",
            number,
            f"the {pipe.upper()} pipe was busy (without tensor cores)",
            group="profiling-details",
        )
        for pipe, number in (("fp16", 13), ("fp32", 12), ("fp64", 11))
    ),
)
INTEGER = Activity("integer_active", 4, "the SMs did integer operations", group="profiling-details")
#: By the value of the label `pipe`.
TENSOR_PIPES: Mapping[str, Activity] = {
    pipe: Activity(f"tensor_pipe.{pipe}", number, f"the tensor cores did {pipe.upper()}")
    for pipe, number in (("dfma", 6), ("hmma", 7), ("dmma", 8), ("imma", 9))
}
ALL_ACTIVITIES = (*ACTIVITIES, INTEGER, *TENSOR_PIPES.values())

_INSTANCE = ("gpu", "uuid", "gpu_instance")


def _integral_help(what: str, *, weighted: bool) -> str:
    if weighted:
        return f"Integral of the share in which {what}; rate() over any range is its exact mean."
    return f"Seconds in which {what}; rate() over any range is the exact mean share."


def _pair(
    name: str,
    what: str,
    series: Mapping[str, str],
    *,
    group: str,
    source: str,
    label: str | None = None,
    weighted: bool = False,
) -> tuple[Metric, Metric]:
    """A ratio and its integral."""
    return (
        Metric(
            name=f"gpu_{name}_ratio",
            kind=Kind.GAUGE,
            group=group,
            tier=Tier.PROFILING,
            label=label,
            series=series,
            valid=RATIO,
            help=f"Share of the last profiling interval in which {what}.",
            source=f"{source} (nvmlGpmMetricsGet)",
        ),
        Metric(
            name=f"gpu_{name}_seconds_total",
            kind=Kind.COUNTER,
            group=group,
            tier=Tier.PROFILING,
            op=Op.INTEGRAL,
            label=label,
            series=series,
            help=_integral_help(what, weighted=weighted),
            source=f"sampler, from gpu_{name}_ratio",
        ),
    )


def _activity(activity: Activity) -> tuple[Metric, Metric]:
    return _pair(
        activity.name,
        activity.what,
        {"": activity.key},
        group=activity.group,
        source=f"GPM metric {activity.number}",
        weighted=activity.weighted,
    )


PROFILING = (
    *(metric for activity in ACTIVITIES for metric in _activity(activity)),
    Metric(
        name="gpu_profiling_observed_seconds_total",
        kind=Kind.COUNTER,
        group="profiling",
        tier=Tier.PROFILING,
        op=Op.SAMPLER,
        series={"": PROFILING_SECONDS},
        needs=(ACTIVITIES[1].key,),
        help="Seconds over which the integrals of profiling are known; gaps are not bridged.",
        source="sampler",
    ),
    *_activity(INTEGER),
    *_pair(
        "tensor_pipe_active",
        "the tensor cores did work of this kind",
        {pipe: activity.key for pipe, activity in TENSOR_PIPES.items()},
        group="profiling-details",
        source="GPM metrics 6 to 9",
        label="pipe",
    ),
)


def instance_activity_key(activity: Activity) -> str:
    """The key of an activity of a GPU instance."""
    return f"mig.{activity.key}"


def instance_seconds_key(activity: Activity) -> str:
    """The key of its integral."""
    return value_key(Op.INTEGRAL, instance_activity_key(activity))


INSTANCE_PROFILING = tuple(
    metric
    for activity in ACTIVITIES
    for metric in (
        Metric(
            name=f"gpu_mig_instance_{activity.name}_ratio",
            kind=Kind.GAUGE,
            group="mig",
            tier=Tier.PROFILING,
            op=Op.INSTANCE,
            series={"": instance_activity_key(activity)},
            labels=_INSTANCE,
            valid=RATIO,
            help=f"Of this GPU instance: share of the last profiling interval in which "
            f"{activity.what}.",
            source=f"GPM metric {activity.number} (nvmlGpmMigSampleGet)",
        ),
        Metric(
            name=f"gpu_mig_instance_{activity.name}_seconds_total",
            kind=Kind.COUNTER,
            group="mig",
            tier=Tier.PROFILING,
            op=Op.INSTANCE,
            series={"": instance_seconds_key(activity)},
            labels=_INSTANCE,
            help="Of this GPU instance: "
            + _integral_help(activity.what, weighted=activity.weighted),
            source=f"sampler, from {activity.key} of the instance",
            needs=(instance_activity_key(activity),),
        ),
    )
)

#: Rates that stand in for counters which a GPU may not have: key of the counter ->
#: NVML_GPM_METRIC_*.
GPM_BYTES: Mapping[str, int] = {
    "pcie.tx.bytes": 20,
    "pcie.rx.bytes": 21,
    "nvlink.rx.bytes": 60,
    "nvlink.tx.bytes": 61,
}
#: No link carries more, in bytes a second.
GPM_BYTES_VALID = (0.0, BYTES[1] / 2**7)
