"""Heat, and how much of it is left to the limits."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import CELSIUS, gauge, window
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier

THRESHOLDS = ("shutdown", "slowdown", "memory_max", "gpu_max", "target")
#: What fields 193 to 196 are about, in this order.
TLIMITS = ("shutdown", "slowdown", "memory_max", "gpu_max")

TEMPERATURE = (
    gauge(
        "gpu_temperature_celsius",
        "temperature.gpu",
        "Temperature of the GPU core.",
        CELSIUS,
        group="temperature",
        source="nvmlDeviceGetTemperature, else nvmlDeviceGetTemperatureV",
    ),
    gauge(
        "gpu_memory_temperature_celsius",
        "temperature.memory",
        "Temperature of the device memory.",
        CELSIUS,
        group="temperature",
        source="field 82 (MEMORY_TEMP)",
    ),
    gauge(
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
        kind=Kind.GAUGE,
        group="temperature",
        tier=Tier.STATIC,
        label="threshold",
        series={t: f"temperature.threshold.{t}" for t in THRESHOLDS},
        valid=(1.0, 200.0),
        help="Temperatures at which the GPU acts, where the driver gives them in degrees.",
        source="nvmlDeviceGetTemperatureThreshold",
    ),
    gauge(
        "gpu_temperature_tlimit_celsius",
        "temperature.tlimit",
        "Degrees left until the GPU is as hot as it should get at most; nvidia-smi calls it "
        "T.Limit. The margin to slowdown is larger.",
        (-200.0, 200.0),
        group="limits",
        source="nvmlDeviceGetMarginTemperature",
    ),
    Metric(
        name="gpu_temperature_tlimit_offset_celsius",
        kind=Kind.GAUGE,
        group="limits",
        tier=Tier.STATIC,
        label="threshold",
        series={t: f"temperature.tlimit.{t}" for t in TLIMITS},
        valid=(-100.0, 100.0),
        help="The T.Limit at which the GPU acts, for GPUs that have no thresholds in degrees.",
        source="fields 193 to 196 (TEMPERATURE_*_TLIMIT)",
    ),
    window(
        "gpu_temperature_min_celsius", Op.MIN, "temperature.gpu", "temperature", group="temperature"
    ),
    window(
        "gpu_temperature_max_celsius", Op.MAX, "temperature.gpu", "temperature", group="temperature"
    ),
)
