"""Device memory."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import BYTES, gauge, window
from gpu_sentinel.catalogue.metric import Op
from gpu_sentinel.model import Tier

MEMORY = (
    gauge(
        "gpu_memory_total_bytes",
        "memory.total",
        "Device memory of the GPU.",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo",
    ),
    gauge(
        "gpu_memory_used_bytes",
        "memory.used",
        "Device memory that is allocated (without what the driver reserves, "
        "where the driver tells it).",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo",
    ),
    gauge(
        "gpu_memory_free_bytes",
        "memory.free",
        "Device memory that is free.",
        BYTES,
        group="memory",
        source="nvmlDeviceGetMemoryInfo_v2, else nvmlDeviceGetMemoryInfo",
    ),
    gauge(
        "gpu_memory_reserved_bytes",
        "memory.reserved",
        "Device memory that driver and firmware keep for themselves: total less used and free.",
        BYTES,
        group="details",
        source="nvmlDeviceGetMemoryInfo_v2",
    ),
    *(
        gauge(
            f"gpu_bar1_memory_{which}_bytes",
            f"bar1.{which}",
            f"{what}, through which the host and other devices reach device memory.",
            BYTES,
            group="details",
            tier=Tier.SLOW,
            source="nvmlDeviceGetBAR1MemoryInfo",
        )
        for which, what in (
            ("total", "Size of the BAR1 aperture"),
            ("used", "Used part of the BAR1 aperture"),
            ("free", "Free part of the BAR1 aperture"),
        )
    ),
    window("gpu_memory_used_max_bytes", Op.MAX, "memory.used", "memory use", group="memory"),
)
