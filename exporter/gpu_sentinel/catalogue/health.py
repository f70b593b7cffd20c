"""The driver's own verdicts. Thresholds of ours stand in the alert rules, not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpu_sentinel.catalogue.declare import FLAG, flag, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier, Value

#: Values of `gpu_health_status`.
HEALTHY, DEGRADED, FAILED = 0.0, 1.0, 2.0

#: nvml.h, nvmlDeviceGpuRecoveryAction_t, by number.
RECOVERY_ACTIONS = (
    "none",
    "reset the GPU",
    "reboot the node",
    "drain peer-to-peer traffic",
    "drain peer-to-peer traffic and reset the GPU",
    "recover the IMEX domain",
    "reset the PCIe bus of the GPU",
    "reboot the system",
)


def _flagged(verdict: float) -> Callable[[float], float]:
    return lambda value: verdict if value else HEALTHY


#: Check -> the reading that it looks at, and the verdict for its value. What waits for the next
#: reset is degraded; what has to be acted on now has failed.
CHECKS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "recovery_action": ("recovery_action", _flagged(FAILED)),
    "row_remap_failure": ("remapped_rows.failure", _flagged(FAILED)),
    "row_remap_pending": ("remapped_rows.pending", _flagged(DEGRADED)),
    "page_retirement_pending": ("retired_pages.pending", _flagged(DEGRADED)),
    "channel_repair_pending": ("repair.channel", _flagged(DEGRADED)),
    "tpc_repair_pending": ("repair.tpc", _flagged(DEGRADED)),
    "unrepairable_memory": ("unrepairable_memory", _flagged(FAILED)),
    "sram_threshold": ("ecc.sram.threshold", _flagged(FAILED)),
}
#: Beside those of a reading; a lost GPU has no readings.
LOST_CHECK = "lost"


def verdicts(values: Mapping[str, Value], *, lost: bool) -> dict[str, float]:
    """What the driver thinks of a GPU: verdict by check; a check without its reading is absent."""
    found = {LOST_CHECK: FAILED if lost else HEALTHY}
    for check, (key, judge) in CHECKS.items():
        value = values.get(key)
        if isinstance(value, float):
            found[check] = judge(value)
    return found


HEALTH = (
    Metric(
        name="gpu_health_status",
        kind=Kind.GAUGE,
        group="health",
        tier=Tier.SLOW,
        op=Op.INVENTORY,
        labels=("gpu", "uuid", "check"),
        needs=tuple(key for key, _ in CHECKS.values()),
        help="The driver's own verdict: 0 healthy, 1 degraded (something waits for the next "
        "reset), 2 failed (act now).",
        source="the metrics of each check: " + ", ".join((LOST_CHECK, *CHECKS)),
    ),
    gauge(
        "gpu_recovery_action",
        "recovery_action",
        "What the driver asks for: "
        + ", ".join(f"{number} {action}" for number, action in enumerate(RECOVERY_ACTIONS))
        + ".",
        (0.0, 100.0),
        group="health",
        tier=Tier.SLOW,
        source="field 230 (GET_GPU_RECOVERY_ACTION)",
    ),
    Metric(
        name="gpu_repair_pending",
        kind=Kind.GAUGE,
        group="health-details",
        tier=Tier.SLOW,
        label="unit",
        series={unit: f"repair.{unit}" for unit in ("channel", "tpc")},
        valid=FLAG,
        help="1 while a memory channel, or a group of SMs (TPC), waits for the next reset to be "
        "replaced by a spare one.",
        source="nvmlDeviceGetRepairStatus",
    ),
    flag(
        "gpu_unrepairable_memory",
        "unrepairable_memory",
        "1 once memory is broken that cannot be replaced: the board should be.",
        group="health-details",
        source="nvmlDeviceGetUnrepairableMemoryFlag_v1",
    ),
    flag(
        "gpu_ecc_sram_threshold_exceeded",
        "ecc.sram.threshold",
        "1 once more uncorrectable errors were seen in on-chip memory than a good board has.",
        group="health-details",
        source="nvmlDeviceGetSramEccErrorStatus",
    ),
)
