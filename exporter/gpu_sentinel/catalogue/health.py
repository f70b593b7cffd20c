"""The driver's own verdicts. Thresholds of ours stand in the alert rules, not here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpu_sentinel.catalogue.declare import FLAG, flag, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier, Value

#: Values of `gpu_health_status`.
HEALTHY, DEGRADED, FAILED = 0.0, 1.0, 2.0
#: What a person reads of them.
WORDS = {HEALTHY: "ok", DEGRADED: "degraded", FAILED: "failed"}

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
_KNOWN_ACTIONS = range(1, len(RECOVERY_ACTIONS))


@dataclass(frozen=True, slots=True)
class Check:
    """Something that the driver says about a GPU's health.

    Attributes:
        key: of the reading that is not 0 where something is wrong.
        verdict: what this means: what waits for the next reset is degraded; what has to be acted
            on now has failed.
        about: what is wrong and what to do about it, as a sentence without its end.
    """

    key: str
    verdict: float
    about: str


CHECKS: Mapping[str, Check] = {
    "recovery_action": Check(
        "recovery_action", FAILED, "the driver asks for an action: see gpu_recovery_action"
    ),
    "row_remap_failure": Check(
        "remapped_rows.failure", FAILED, "a memory row cannot be remapped: replace the board"
    ),
    "row_remap_pending": Check(
        "remapped_rows.pending", DEGRADED, "a memory row waits to be remapped: reset the GPU"
    ),
    "page_retirement_pending": Check(
        "retired_pages.pending", DEGRADED, "a memory page waits to be retired: reset the GPU"
    ),
    "channel_repair_pending": Check(
        "repair.channel", DEGRADED, "a memory channel waits to be repaired: reset the GPU"
    ),
    "tpc_repair_pending": Check(
        "repair.tpc", DEGRADED, "a group of SMs waits to be repaired: reset the GPU"
    ),
    "unrepairable_memory": Check(
        "unrepairable_memory", FAILED, "memory is broken for good: replace the board"
    ),
    "sram_threshold": Check(
        "ecc.sram.threshold", FAILED, "on-chip memory has too many errors: replace the board"
    ),
}
#: Beside those of a reading; a lost GPU has no readings.
LOST_CHECK = "lost"


def verdicts(values: Mapping[str, Value], *, lost: bool) -> dict[str, float]:
    """What the driver thinks of a GPU: verdict by check; a check without its reading is absent."""
    found = {LOST_CHECK: FAILED if lost else HEALTHY}
    for name, check in CHECKS.items():
        value = values.get(check.key)
        if isinstance(value, float):
            found[name] = check.verdict if value else HEALTHY
    return found


def complaints(found: Mapping[str, float], recovery: float | None = None) -> list[str]:
    """The checks of a GPU that are not healthy, a sentence without its end each.

    Args:
        found: verdict by check.
        recovery: the value of `gpu_recovery_action`, which names the action.
    """
    bad = [name for name in CHECKS if found.get(name, HEALTHY) != HEALTHY]
    return [
        f"the driver asks for an action: {RECOVERY_ACTIONS[int(recovery)]}"
        if name == "recovery_action" and recovery is not None and recovery in _KNOWN_ACTIONS
        else CHECKS[name].about
        for name in bad
    ]


def word(found: Mapping[str, float], *, urgent: bool = False) -> str:
    """All of a GPU's verdicts in one word: that of the worst.

    Args:
        found: verdict by check.
        urgent: something else has to be acted on now.
    """
    worst = max(found.values(), default=HEALTHY)
    return WORDS[FAILED if urgent else max(HEALTHY, min(worst, FAILED))]


HEALTH = (
    Metric(
        name="gpu_health_status",
        kind=Kind.GAUGE,
        group="health",
        tier=Tier.SLOW,
        op=Op.INVENTORY,
        labels=("gpu", "uuid", "check"),
        needs=tuple(check.key for check in CHECKS.values()),
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
