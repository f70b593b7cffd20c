"""Power and energy."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import JOULES, WATTS, gauge, levels, window
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.catalogue.utilization import LEVELS
from gpu_sentinel.model import Tier

POWER = (
    gauge(
        "gpu_power_watts",
        "power.draw.instant",
        "Power drawn now.",
        WATTS,
        group="power",
        source="field 186 (POWER_INSTANT), else nvmlDeviceGetPowerUsage",
    ),
    gauge(
        "gpu_power_average_watts",
        "power.draw.average",
        "Power drawn, averaged by the driver (over 1 s on Ampere and newer); nvidia-smi shows it.",
        WATTS,
        group="power",
        source="field 185 (POWER_AVERAGE)",
    ),
    gauge(
        "gpu_power_limit_watts",
        "power.limit",
        "Power limit that is enforced now.",
        WATTS,
        group="power",
        tier=Tier.SLOW,
        source="nvmlDeviceGetEnforcedPowerLimit, else field 190 (POWER_CURRENT_LIMIT)",
    ),
    gauge(
        "gpu_power_default_limit_watts",
        "power.default_limit",
        "Power limit of the board as delivered.",
        WATTS,
        group="power",
        tier=Tier.STATIC,
        source="nvmlDeviceGetPowerManagementDefaultLimit, else field 189 (POWER_DEFAULT_LIMIT)",
    ),
    gauge(
        "gpu_power_requested_limit_watts",
        "power.requested_limit",
        "Power limit that was asked for; the one that is enforced may be lower.",
        WATTS,
        group="limits",
        tier=Tier.SLOW,
        source="nvmlDeviceGetPowerManagementLimit, else field 192 (POWER_REQUESTED_LIMIT)",
    ),
    *(
        gauge(
            f"gpu_power_limit_{which}_watts",
            f"power.{which}_limit",
            f"{word} power limit that may be set.",
            WATTS,
            group="limits",
            tier=Tier.STATIC,
            source="nvmlDeviceGetPowerManagementLimitConstraints, else fields 187 and 188 "
            "(POWER_MIN_LIMIT, POWER_MAX_LIMIT)",
        )
        for which, word in (("min", "Lowest"), ("max", "Highest"))
    ),
    gauge(
        "gpu_memory_power_watts",
        "memory.power.average",
        "Power drawn by the device memory, averaged by the driver; part of what the GPU draws.",
        WATTS,
        group="details",
        source="field 185 (POWER_AVERAGE) of NVML_POWER_SCOPE_MEMORY",
    ),
    gauge(
        "gpu_module_power_watts",
        "module.power.instant",
        "Power drawn now by the whole module, the processor included (Grace Hopper and newer).",
        WATTS,
        group="power",
        source="field 186 (POWER_INSTANT) of NVML_POWER_SCOPE_MODULE",
    ),
    gauge(
        "gpu_module_power_limit_watts",
        "module.power.limit",
        "Power limit of the whole module.",
        WATTS,
        group="power",
        tier=Tier.SLOW,
        source="field 190 (POWER_CURRENT_LIMIT) of NVML_POWER_SCOPE_MODULE",
    ),
    window("gpu_power_min_watts", Op.MIN, "power.draw.instant", "power", group="power"),
    window("gpu_power_max_watts", Op.MAX, "power.draw.instant", "power", group="power"),
    levels("gpu_power_level_seconds_total", "power.draw.instant", "power", LEVELS),
    Metric(
        name="gpu_energy_joules_total",
        kind=Kind.COUNTER,
        group="power",
        series={"": "energy.total"},
        valid=JOULES,
        help="Energy used: the GPU's own counter (since the driver was loaded), or the integral "
        "of the power that we sampled; gpu_energy_source_info says which.",
        source="nvmlDeviceGetTotalEnergyConsumption, else sampler, from power.draw.instant",
    ),
    Metric(
        name="gpu_energy_source_info",
        kind=Kind.INFO,
        group="power",
        op=Op.SAMPLER,
        label="source",
        series={"hardware": "energy.source.hardware", "integrated": "energy.source.integrated"},
        help="Where gpu_energy_joules_total comes from. Always 1.",
        source="sampler",
    ),
    Metric(
        name="gpu_reset_timestamp_seconds",
        kind=Kind.GAUGE,
        group="power",
        op=Op.SAMPLER,
        series={"": "reset.time"},
        help="When the GPU was last seen to have been reset, or its driver to have been loaded "
        "anew, as Unix time: its own counter of energy began again. Only where that happened "
        "since the exporter started.",
        source="sampler, from nvmlDeviceGetTotalEnergyConsumption",
    ),
)
