"""How busy the engines are."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import RATIO, busy, gauge, levels, window
from gpu_sentinel.catalogue.metric import Kind, Metric, Op

#: The label value of a signal in `gpu_observed_seconds_total`, and its key.
SIGNALS = {
    "power": "power.draw.instant",
    "utilization": "utilization.gpu",
    "memory_utilization": "utilization.memory",
    "encoder_utilization": "utilization.encoder",
    "decoder_utilization": "utilization.decoder",
    "clock_event": "clocks_event_reasons.gpu_idle",
}

#: Bounds of the distributions, by key; in base units.
LEVELS = {
    "utilization.gpu": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
    "power.draw.instant": (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 1000),
}

UTILIZATION = (
    gauge(
        "gpu_utilization_ratio",
        "utilization.gpu",
        "Share of the driver's last sample period in which a kernel ran on the GPU.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetUtilizationRates",
    ),
    gauge(
        "gpu_memory_utilization_ratio",
        "utilization.memory",
        "Share of the driver's last sample period in which device memory was read or written.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetUtilizationRates",
    ),
    gauge(
        "gpu_encoder_utilization_ratio",
        "utilization.encoder",
        "Share of the driver's last sample period in which the video encoder was busy.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetEncoderUtilization",
    ),
    gauge(
        "gpu_decoder_utilization_ratio",
        "utilization.decoder",
        "Share of the driver's last sample period in which the video decoder was busy.",
        RATIO,
        group="utilization",
        source="nvmlDeviceGetDecoderUtilization",
    ),
    window(
        "gpu_utilization_min_ratio", Op.MIN, "utilization.gpu", "utilisation", group="utilization"
    ),
    window(
        "gpu_utilization_max_ratio", Op.MAX, "utilization.gpu", "utilisation", group="utilization"
    ),
    levels("gpu_utilization_level_seconds_total", "utilization.gpu", "utilisation", LEVELS),
    busy("gpu_busy_seconds_total", "utilization.gpu", "the GPU was busy", group="utilization"),
    busy(
        "gpu_memory_busy_seconds_total",
        "utilization.memory",
        "device memory was busy",
        group="utilization",
    ),
    busy(
        "gpu_encoder_busy_seconds_total",
        "utilization.encoder",
        "the encoder was busy",
        group="utilization",
    ),
    busy(
        "gpu_decoder_busy_seconds_total",
        "utilization.decoder",
        "the decoder was busy",
        group="utilization",
    ),
    Metric(
        name="gpu_observed_seconds_total",
        kind=Kind.COUNTER,
        group="utilization",
        op=Op.OBSERVED,
        label="signal",
        series=SIGNALS,
        help="Seconds over which the integrals of this signal are known; gaps are not bridged.",
        source="sampler",
    ),
)
