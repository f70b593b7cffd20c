"""What few people ask for: media engines, what a GPU reaches, cores, protected memory."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import BYTES, COUNT, RATIO, flag, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric, Op
from gpu_sentinel.model import Tier

P2P_CAPABILITIES = ("read", "write", "nvlink", "atomics", "pci")
#: Bits of nvmlGpuFabricInfo's health mask (nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_*): check -> shift
#: and width of its bits, and the value that they have when all is well.
FABRIC_CHECKS = {
    "bandwidth": (0, 0x3, 2),
    "route_recovery": (2, 0x3, 2),
    "route": (4, 0x3, 2),
    "access_timeout_recovery": (6, 0x3, 2),
    "configuration": (8, 0xF, 1),
}
_SESSIONS = (("encoder", "encoder.stats", "Encoder"), ("frame_capture", "fbc.stats", "Capture"))
_SESSION_CALLS = {"encoder": "nvmlDeviceGetEncoderStats", "frame_capture": "nvmlDeviceGetFBCStats"}

MEDIA = (
    *(
        gauge(
            f"gpu_{engine}_utilization_ratio",
            f"utilization.{engine}",
            f"Share of the driver's last sample period in which {what} was busy.",
            RATIO,
            group="media",
            source=source,
        )
        for engine, what, source in (
            ("jpeg", "the JPEG decoder", "nvmlDeviceGetJpgUtilization"),
            ("ofa", "the optical-flow accelerator", "nvmlDeviceGetOfaUtilization"),
        )
    ),
    *(
        gauge(
            f"gpu_{kind}_{name}",
            f"{key}.{part}",
            f"{word} {what}.",
            valid,
            group="media",
            tier=Tier.SLOW,
            source=_SESSION_CALLS[kind],
        )
        for kind, key, word in _SESSIONS
        for name, part, what, valid in (
            ("sessions", "sessions", "sessions that are open", (0.0, 1e5)),
            ("frames_per_second", "fps", "frames per second, the mean of the sessions", (0.0, 1e6)),
            (
                "latency_seconds",
                "latency",
                "latency of a frame, the mean of the sessions",
                (0.0, 60.0),
            ),
        )
    ),
)

TOPOLOGY = (
    Metric(
        name="gpu_p2p_peers",
        kind=Kind.GAUGE,
        group="p2p",
        tier=Tier.STATIC,
        label="capability",
        series={c: f"p2p.{c}" for c in P2P_CAPABILITIES},
        valid=(0.0, 1024.0),
        help="Other GPUs of this host with which this one can do so directly.",
        source="nvmlDeviceGetP2PStatus",
    ),
    Metric(
        name="gpu_fabric_healthy",
        kind=Kind.GAUGE,
        group="topology",
        tier=Tier.SLOW,
        label="check",
        series={c: f"fabric.healthy.{c}" for c in FABRIC_CHECKS},
        valid=(0.0, 1.0),
        help="1 while the NVLink fabric is well in this respect, as far as the GPU knows.",
        source="nvmlDeviceGetGpuFabricInfoV",
    ),
    gauge(
        "gpu_c2c_links",
        "c2c.links",
        "Chip-to-chip links to the processor (Grace Hopper and newer).",
        (1.0, 64.0),
        group="topology",
        tier=Tier.STATIC,
        source="field 170 (C2C_LINK_COUNT)",
    ),
    *(
        Metric(
            name=f"gpu_c2c_{name}",
            kind=kind,
            group="topology",
            tier=Tier.SLOW,
            index="link",
            series={"": f"c2c.{key}"},
            valid=valid,
            help=help_,
            source=source,
        )
        for name, key, kind, valid, help_, source in (
            (
                "link_active",
                "link.active",
                Kind.GAUGE,
                (0.0, 1.0),
                "1 while this chip-to-chip link is up.",
                "field 171 (C2C_LINK_GET_STATUS)",
            ),
            (
                "link_speed_bytes_per_second",
                "link.speed",
                Kind.GAUGE,
                (0.0, 1e13),
                "What this chip-to-chip link can carry.",
                "field 172 (C2C_LINK_GET_MAX_BW), in MB/s",
            ),
            (
                "link_crc_errors_total",
                "link.errors",
                Kind.COUNTER,
                COUNT,
                "CRC errors on this chip-to-chip link.",
                "field 231 (C2C_LINK_ERROR_INTR)",
            ),
            (
                "link_replays_total",
                "link.replays",
                Kind.COUNTER,
                COUNT,
                "Packets that had to be sent again over this chip-to-chip link.",
                "field 232 (C2C_LINK_ERROR_REPLAY)",
            ),
        )
    ),
    Metric(
        name="gpu_fabric_info",
        kind=Kind.INFO,
        group="topology",
        tier=Tier.STATIC,
        op=Op.INVENTORY,
        labels=("gpu", "uuid", "fabric_cluster_uuid", "fabric_clique"),
        help="The NVLink fabric to which the GPU belongs. Always 1.",
        source="nvmlDeviceGetGpuFabricInfoV",
    ),
)

DETAILS = (
    gauge(
        "gpu_cuda_cores",
        "cuda_cores",
        "CUDA cores.",
        (1.0, 1e6),
        group="details",
        tier=Tier.STATIC,
        source="nvmlDeviceGetNumGpuCores",
    ),
    gauge(
        "gpu_memory_bus_width_bytes",
        "memory.bus_width",
        "Width of the bus to device memory: what it moves at a time.",
        (1.0, 8192.0),
        group="details",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMemoryBusWidth",
    ),
    *(
        gauge(
            f"gpu_protected_memory_{which}_bytes",
            f"protected_memory.{which}",
            f"Device memory that confidential computing protects: {what}.",
            BYTES,
            group="details",
            tier=Tier.SLOW,
            source="nvmlDeviceGetConfComputeProtectedMemoryUsage",
        )
        for which, what in (("total", "all of it"), ("used", "in use"), ("free", "free"))
    ),
    flag(
        "gpu_display_active",
        "display_active",
        "1 while a display is driven by the GPU.",
        group="details",
        source="nvmlDeviceGetDisplayActive",
    ),
    flag(
        "gpu_accounting_mode",
        "accounting.mode",
        "1 while the driver keeps accounts of processes.",
        group="details",
        source="nvmlDeviceGetAccountingMode",
    ),
    Metric(
        name="gpu_dram_encryption_mode",
        kind=Kind.GAUGE,
        group="details",
        tier=Tier.SLOW,
        label="state",
        series={s: f"dram_encryption.{s}" for s in ("current", "pending")},
        valid=(0.0, 1.0),
        help="1 while device memory is encrypted. `pending` holds from the next reset on.",
        source="nvmlDeviceGetDramEncryptionMode",
    ),
    gauge(
        "gpu_edpp_multiplier_ratio",
        "edpp_multiplier",
        "By how much the limit of peak power (EDPp) is scaled.",
        (0.0, 10.0),
        group="details",
        tier=Tier.SLOW,
        source="field 274 (EDPP_MULTIPLIER)",
    ),
)
