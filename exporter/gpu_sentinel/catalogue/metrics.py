"""Every metric of the device, declared once.

Collection, exposition, the reference page and the checks of rules and dashboards follow from
this table. Ranges of plausibility are wide: they keep out what is impossible (a utilisation of
808,334,905 was seen in the field), not what is unusual.
"""

from __future__ import annotations

from gpu_sentinel.catalogue.metric import WINDOW_LABEL, Kind, Metric, Op
from gpu_sentinel.model import Tier

RATIO = (0.0, 1.0)
WATTS = (0.0, 10_000.0)
CELSIUS = (-50.0, 200.0)
HERTZ = (0.0, 50e9)
BYTES = (0.0, 2.0**50)
COUNT = (0.0, 2.0**63)
FLAG = (0.0, 1.0)

#: The label value of a signal in `gpu_observed_seconds_total`, and its key.
SIGNALS = {
    "power": "power.draw.instant",
    "utilization": "utilization.gpu",
    "memory_utilization": "utilization.memory",
    "encoder_utilization": "utilization.encoder",
    "decoder_utilization": "utilization.decoder",
    "clock_event": "clocks_event_reasons.gpu_idle",
}

#: Bits of nvmlClocksEventReasons in nvml.h, lowest first, under nvidia-smi's names.
CLOCK_EVENT_REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
)

VIOLATION_POLICIES = (
    "power",
    "thermal",
    "sync_boost",
    "board_limit",
    "low_utilization",
    "reliability",
    "total_app_clocks",
    "total_base_clocks",
)

THRESHOLDS = ("shutdown", "slowdown", "memory_max", "gpu_max")

_REASON_KEYS = {reason: f"clocks_event_reasons.{reason}" for reason in CLOCK_EVENT_REASONS}
_CLOCKS = ("graphics", "sm", "memory", "video")
_GAUGE, _COUNTER, _INFO = Kind.GAUGE, Kind.COUNTER, Kind.INFO


def _gauge(name: str, key: str, help_: str, valid: tuple[float, float], **more: object) -> Metric:
    return Metric(name=name, kind=_GAUGE, series={"": key}, help=help_, valid=valid, **more)  # type: ignore[arg-type]


def _window(name: str, op: Op, key: str, what: str, group: str) -> Metric:
    word = "Smallest" if op is Op.MIN else "Largest"
    return Metric(
        name=name,
        kind=_GAUGE,
        group=group,
        op=op,
        series={"": key},
        constant={"window": WINDOW_LABEL},
        help=f"{word} {what} of all samples of the last minute, however often you scrape.",
        source=f"sampler, from {key}",
    )


def _busy(name: str, key: str, what: str, group: str) -> Metric:
    return Metric(
        name=name,
        kind=_COUNTER,
        group=group,
        op=Op.INTEGRAL,
        series={"": key},
        help=f"Seconds that {what}: the integral of its utilisation. "
        "rate() over any range is the exact mean utilisation.",
        source=f"sampler, from {key}",
    )


IDENTITY = (
    Metric(
        name="gpu_info",
        kind=_INFO,
        group="identity",
        tier=Tier.STATIC,
        op=Op.INVENTORY,
        labels=(
            "gpu",
            "uuid",
            "name",
            "pci_bus_id",
            "serial",
            "vbios_version",
            "architecture",
            "compute_capability",
            "minor_number",
        ),
        help="What describes the GPU; join with on (instance, uuid). Always 1.",
        source="nvmlDeviceGetName, GetPciInfo, GetSerial, GetVbiosVersion, GetArchitecture, "
        "GetCudaComputeCapability, GetMinorNumber",
    ),
    Metric(
        name="gpu_driver_info",
        kind=_INFO,
        group="identity",
        tier=Tier.STATIC,
        op=Op.INVENTORY,
        labels=("driver_version", "cuda_version", "nvml_version"),
        help="Versions of the driver, of the newest CUDA it runs, and of NVML. Always 1.",
        source="nvmlSystemGetDriverVersion, GetCudaDriverVersion, GetNVMLVersion",
    ),
    Metric(
        name="gpu_devices",
        kind=_GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=(),
        help="GPUs that the driver lists.",
        source="nvmlDeviceGetCount",
    ),
    Metric(
        name="gpu_pci_devices",
        kind=_GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=(),
        help="NVIDIA display devices on the PCI bus, whichever driver has them.",
        source="/sys/bus/pci/devices",
    ),
    Metric(
        name="gpu_expected_devices",
        kind=_GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=(),
        help="GPUs that should be there: the setting, else the PCI display devices that no "
        "other driver (as for passthrough to a virtual machine) has taken.",
        source="inventory.expected-gpus, /sys/bus/pci/devices",
    ),
    Metric(
        name="gpu_lost",
        kind=_GAUGE,
        group="identity",
        op=Op.INVENTORY,
        labels=("gpu", "uuid"),
        help="1 while the driver says that the GPU has fallen off the bus, or lists it no more.",
        source="NVML_ERROR_GPU_IS_LOST, nvmlDeviceGetCount",
    ),
)

UTILIZATION = (
    _gauge(
        "gpu_utilization_ratio",
        "utilization.gpu",
        "Share of the driver's last sample period in which a kernel ran on the GPU.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetUtilizationRates",
    ),
    _gauge(
        "gpu_memory_utilization_ratio",
        "utilization.memory",
        "Share of the driver's last sample period in which device memory was read or written.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetUtilizationRates",
    ),
    _gauge(
        "gpu_encoder_utilization_ratio",
        "utilization.encoder",
        "Share of the driver's last sample period in which the video encoder was busy.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetEncoderUtilization",
    ),
    _gauge(
        "gpu_decoder_utilization_ratio",
        "utilization.decoder",
        "Share of the driver's last sample period in which the video decoder was busy.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetDecoderUtilization",
    ),
    _window("gpu_utilization_min_ratio", Op.MIN, "utilization.gpu", "utilisation", "utilization"),
    _window("gpu_utilization_max_ratio", Op.MAX, "utilization.gpu", "utilisation", "utilization"),
    _busy("gpu_busy_seconds_total", "utilization.gpu", "the GPU was busy", "utilization"),
    _busy(
        "gpu_memory_busy_seconds_total",
        "utilization.memory",
        "device memory was busy",
        "utilization",
    ),
    _busy(
        "gpu_encoder_busy_seconds_total",
        "utilization.encoder",
        "the encoder was busy",
        "utilization",
    ),
    _busy(
        "gpu_decoder_busy_seconds_total",
        "utilization.decoder",
        "the decoder was busy",
        "utilization",
    ),
    Metric(
        name="gpu_observed_seconds_total",
        kind=_COUNTER,
        group="utilization",
        op=Op.OBSERVED,
        label="signal",
        series=SIGNALS,
        help="Seconds over which the integrals of this signal are known; gaps are not bridged.",
        source="sampler",
    ),
)

MEMORY = (
    _gauge(
        "gpu_memory_total_bytes",
        "memory.total",
        "Device memory of the GPU.",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo",
    ),
    _gauge(
        "gpu_memory_used_bytes",
        "memory.used",
        "Device memory that is allocated (without what the driver reserves, "
        "where the driver tells it).",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo",
    ),
    _gauge(
        "gpu_memory_free_bytes",
        "memory.free",
        "Device memory that is free.",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo",
    ),
    _gauge(
        "gpu_memory_reserved_bytes",
        "memory.reserved",
        "Device memory that driver and firmware keep for themselves.",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2",
    ),
    _window("gpu_memory_used_max_bytes", Op.MAX, "memory.used", "memory use", "memory"),
)

POWER = (
    _gauge(
        "gpu_power_watts",
        "power.draw.instant",
        "Power drawn now.",
        WATTS,
        group="power",
        source="field 186 (POWER_INSTANT), else nvmlDeviceGetPowerUsage",
    ),
    _gauge(
        "gpu_power_average_watts",
        "power.draw.average",
        "Power drawn, averaged by the driver (over 1 s on Ampere and newer); nvidia-smi shows it.",
        WATTS,
        group="power",
        source="field 185 (POWER_AVERAGE)",
    ),
    _gauge(
        "gpu_power_limit_watts",
        "power.limit",
        "Power limit that is enforced now.",
        WATTS,
        group="power",
        tier=Tier.SLOW,
        source="nvmlDeviceGetEnforcedPowerLimit",
    ),
    _gauge(
        "gpu_power_default_limit_watts",
        "power.default_limit",
        "Power limit of the board as delivered.",
        WATTS,
        group="power",
        tier=Tier.STATIC,
        source="nvmlDeviceGetPowerManagementDefaultLimit",
    ),
    _window("gpu_power_min_watts", Op.MIN, "power.draw.instant", "power", "power"),
    _window("gpu_power_max_watts", Op.MAX, "power.draw.instant", "power", "power"),
    Metric(
        name="gpu_energy_joules_total",
        kind=_COUNTER,
        group="power",
        series={"": "energy.total"},
        valid=(0.0, 1e15),
        help="Energy used: the GPU's own counter (since the driver was loaded), or the integral "
        "of the power that we sampled; gpu_energy_source_info says which.",
        source="nvmlDeviceGetTotalEnergyConsumption, else sampler, from power.draw.instant",
    ),
    Metric(
        name="gpu_energy_source_info",
        kind=_INFO,
        group="power",
        op=Op.SAMPLER,
        label="source",
        series={"hardware": "energy.source.hardware", "integrated": "energy.source.integrated"},
        help="Where gpu_energy_joules_total comes from. Always 1.",
        source="sampler",
    ),
)

TEMPERATURE = (
    _gauge(
        "gpu_temperature_celsius",
        "temperature.gpu",
        "Temperature of the GPU core.",
        CELSIUS,
        group="temperature",
        source="nvmlDeviceGetTemperature",
    ),
    _gauge(
        "gpu_memory_temperature_celsius",
        "temperature.memory",
        "Temperature of the device memory.",
        CELSIUS,
        group="temperature",
        source="field 82 (MEMORY_TEMP)",
    ),
    _gauge(
        "gpu_temperature_margin_celsius",
        "temperature.margin",
        "Degrees left until the GPU slows itself down; negative while it does.",
        (-200.0, 200.0),
        group="temperature",
        source="nvmlDeviceGetMarginTemperature minus field 194 (SLOWDOWN_TLIMIT), else "
        "nvmlDeviceGetTemperatureThreshold(SLOWDOWN) minus nvmlDeviceGetTemperature",
    ),
    Metric(
        name="gpu_temperature_threshold_celsius",
        kind=_GAUGE,
        group="temperature",
        tier=Tier.STATIC,
        label="threshold",
        series={t: f"temperature.threshold.{t}" for t in THRESHOLDS},
        valid=(1.0, 200.0),
        help="Temperatures at which the GPU acts, where the driver gives them in degrees.",
        source="nvmlDeviceGetTemperatureThreshold",
    ),
    _window("gpu_temperature_min_celsius", Op.MIN, "temperature.gpu", "temperature", "temperature"),
    _window("gpu_temperature_max_celsius", Op.MAX, "temperature.gpu", "temperature", "temperature"),
)

CLOCKS = (
    Metric(
        name="gpu_clock_hertz",
        kind=_GAUGE,
        group="clocks",
        label="clock",
        series={c: f"clocks.current.{c}" for c in _CLOCKS},
        valid=HERTZ,
        help="Clock frequency now.",
        source="nvmlDeviceGetClockInfo",
    ),
    Metric(
        name="gpu_clock_max_hertz",
        kind=_GAUGE,
        group="clocks",
        tier=Tier.STATIC,
        label="clock",
        series={c: f"clocks.max.{c}" for c in _CLOCKS},
        valid=HERTZ,
        help="Highest clock frequency of the board.",
        source="nvmlDeviceGetMaxClockInfo",
    ),
    _gauge(
        "gpu_performance_state",
        "pstate",
        "Performance state, from 0 (P0, fastest) to 15 (P15, slowest).",
        (0.0, 15.0),
        group="clocks",
        source="nvmlDeviceGetPerformanceState",
    ),
    Metric(
        name="gpu_clock_event_active",
        kind=_GAUGE,
        group="clocks",
        label="reason",
        series=_REASON_KEYS,
        valid=FLAG,
        help="1 while this reason holds the clocks below their maximum.",
        source="nvmlDeviceGetCurrentClocksEventReasons, else GetCurrentClocksThrottleReasons",
    ),
    Metric(
        name="gpu_clock_event_seconds_total",
        kind=_COUNTER,
        group="clocks",
        op=Op.INTEGRAL,
        label="reason",
        series=_REASON_KEYS,
        help="Seconds for which this reason held the clocks down, as the sampler saw it.",
        source="sampler, from clocks_event_reasons",
    ),
    Metric(
        name="gpu_violation_seconds_total",
        kind=_COUNTER,
        group="clocks",
        tier=Tier.SLOW,
        label="policy",
        series={p: f"violation.{p}" for p in VIOLATION_POLICIES},
        valid=(0.0, 1e10),
        help="Seconds for which this policy held the clocks down, as the driver counts it.",
        source="fields 74 to 81 (PERF_POLICY_*)",
    ),
)

BOARD = (
    Metric(
        name="gpu_fan_speed_ratio",
        kind=_GAUGE,
        group="board",
        tier=Tier.SLOW,
        label="fan",
        indexed=True,
        series={"": "fan.speed"},
        valid=(0.0, 2.0),
        help="Speed that the fan is told to run at, as a share of its full speed; "
        "some boards go beyond 1.",
        source="nvmlDeviceGetFanSpeed_v2",
    ),
    _gauge(
        "gpu_pcie_link_generation",
        "pcie.link.gen.current",
        "PCIe generation of the link now (it falls while the GPU is idle).",
        (1.0, 10.0),
        group="board",
        tier=Tier.SLOW,
        source="nvmlDeviceGetCurrPcieLinkGeneration",
    ),
    _gauge(
        "gpu_pcie_link_generation_max",
        "pcie.link.gen.max",
        "Highest PCIe generation that GPU and slot can do together.",
        (1.0, 10.0),
        group="board",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMaxPcieLinkGeneration",
    ),
    _gauge(
        "gpu_pcie_link_width",
        "pcie.link.width.current",
        "PCIe lanes in use now.",
        (1.0, 64.0),
        group="board",
        tier=Tier.SLOW,
        source="nvmlDeviceGetCurrPcieLinkWidth",
    ),
    _gauge(
        "gpu_pcie_link_width_max",
        "pcie.link.width.max",
        "Most PCIe lanes that GPU and slot can use together.",
        (1.0, 64.0),
        group="board",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMaxPcieLinkWidth",
    ),
    Metric(
        name="gpu_pcie_replays_total",
        kind=_COUNTER,
        group="board",
        tier=Tier.SLOW,
        series={"": "pcie.replays"},
        valid=COUNT,
        help="PCIe packets that had to be sent again.",
        source="nvmlDeviceGetPcieReplayCounter",
    ),
)

ERRORS = (
    Metric(
        name="gpu_ecc_volatile_errors_total",
        kind=_COUNTER,
        group="errors",
        tier=Tier.SLOW,
        label="type",
        series={t: f"ecc.errors.{t}.volatile" for t in ("corrected", "uncorrected")},
        valid=COUNT,
        help="Memory errors since the driver was loaded.",
        source="fields 3, 4 (ECC_SBE/DBE_VOL_TOTAL), else nvmlDeviceGetTotalEccErrors",
    ),
    Metric(
        name="gpu_ecc_aggregate_errors_total",
        kind=_COUNTER,
        group="errors",
        tier=Tier.SLOW,
        label="type",
        series={t: f"ecc.errors.{t}.aggregate" for t in ("corrected", "uncorrected")},
        valid=COUNT,
        help="Memory errors over the life of the board.",
        source="fields 5, 6 (ECC_SBE/DBE_AGG_TOTAL), else nvmlDeviceGetTotalEccErrors",
    ),
    Metric(
        name="gpu_remapped_rows",
        kind=_GAUGE,
        group="errors",
        tier=Tier.SLOW,
        label="type",
        series={t: f"remapped_rows.{t}" for t in ("correctable", "uncorrectable")},
        valid=COUNT,
        help="Memory rows that spare rows have replaced, by the kind of error (Ampere and newer).",
        source="fields 142, 143, else nvmlDeviceGetRemappedRows",
    ),
    _gauge(
        "gpu_row_remap_pending",
        "remapped_rows.pending",
        "1 while a row waits for the next reset of the GPU to be remapped.",
        FLAG,
        group="errors",
        tier=Tier.SLOW,
        source="field 144, else nvmlDeviceGetRemappedRows",
    ),
    _gauge(
        "gpu_row_remap_failure",
        "remapped_rows.failure",
        "1 once a row could not be remapped: the board should be replaced.",
        FLAG,
        group="errors",
        tier=Tier.SLOW,
        source="field 145, else nvmlDeviceGetRemappedRows",
    ),
    Metric(
        name="gpu_retired_pages",
        kind=_GAUGE,
        group="errors",
        tier=Tier.SLOW,
        label="cause",
        series={
            "single_bit_ecc": "retired_pages.single_bit_ecc",
            "double_bit_ecc": "retired_pages.double_bit_ecc",
        },
        valid=(0.0, 1e6),
        help="Memory pages that are used no more, by cause (before Ampere).",
        source="fields 29, 30 (RETIRED_SBE/DBE)",
    ),
    _gauge(
        "gpu_retired_pages_pending",
        "retired_pages.pending",
        "1 while a page waits for the next reset of the GPU to be retired.",
        FLAG,
        group="errors",
        tier=Tier.SLOW,
        source="field 31 (RETIRED_PENDING)",
    ),
)

METRICS: tuple[Metric, ...] = (
    *IDENTITY,
    *UTILIZATION,
    *MEMORY,
    *POWER,
    *TEMPERATURE,
    *CLOCKS,
    *BOARD,
    *ERRORS,
)
