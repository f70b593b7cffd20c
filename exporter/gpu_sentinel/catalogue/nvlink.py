"""NVLink: all links of a GPU together, and each by itself."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import COUNT, FLAG, counter, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier

#: Label value of `gpu_nvlink_errors_total` -> what NVML calls its field, NVLINK_*_COUNT_TOTAL.
NVLINK_ERRORS = {
    "crc_flit": "CRC_FLIT_ERROR",
    "crc_data": "CRC_DATA_ERROR",
    "replay": "REPLAY_ERROR",
    "recovery": "RECOVERY_ERROR",
    "ecc_data": "ECC_DATA_ERROR",
}
#: Label value of `gpu_nvlink_link_errors_total` -> what NVML calls its field, NVLINK_*.
NVLINK_LINK_ERRORS = {
    "replay": "ERROR_DL_REPLAY",
    "recovery": "ERROR_DL_RECOVERY",
    "crc": "ERROR_DL_CRC",
    "malformed_packet": "COUNT_MALFORMED_PACKET_ERRORS",
    "buffer_overrun": "COUNT_BUFFER_OVERRUN_ERRORS",
    "receive": "COUNT_RCV_ERRORS",
    "receive_remote": "COUNT_RCV_REMOTE_ERRORS",
    "receive_general": "COUNT_RCV_GENERAL_ERRORS",
    "integrity": "COUNT_LOCAL_LINK_INTEGRITY_ERRORS",
    "transmit_discard": "COUNT_XMIT_DISCARDS",
    "recovery_failed": "COUNT_LINK_RECOVERY_FAILED_EVENTS",
    "effective": "COUNT_EFFECTIVE_ERRORS",
    "symbol": "COUNT_SYMBOL_ERRORS",
}

_DIRECTIONS = (("transmit", "tx", "sent"), ("receive", "rx", "received"))


def _link(  # noqa: PLR0917 - the columns of a table
    name: str, kind: Kind, key: str, valid: tuple[float, float], help_: str, source: str
) -> Metric:
    return Metric(
        name=name,
        kind=kind,
        group="nvlink-links",
        tier=Tier.SLOW,
        index="link",
        series={"": key},
        valid=valid,
        help=help_,
        source=source,
    )


NVLINK = (
    gauge(
        "gpu_fabric_state",
        "fabric.state",
        "Where the GPU's registration with the NVLink fabric is: 1 not begun, 2 going on, 3 done.",
        (1.0, 3.0),
        group="nvlink",
        tier=Tier.SLOW,
        source="nvmlDeviceGetGpuFabricInfoV",
    ),
    gauge(
        "gpu_fabric_status",
        "fabric.status",
        "How the registration with the NVLink fabric ended: 0 well, else the error code of NVML.",
        (0.0, 999.0),
        group="topology",
        tier=Tier.SLOW,
        source="nvmlDeviceGetGpuFabricInfoV",
    ),
    gauge(
        "gpu_nvlink_links",
        "nvlink.links",
        "NVLinks that the GPU has.",
        (1.0, 64.0),
        group="nvlink",
        tier=Tier.STATIC,
        source="field 91 (NVLINK_LINK_COUNT)",
    ),
    gauge(
        "gpu_nvlink_links_active",
        "nvlink.links.active",
        "NVLinks that are up.",
        (0.0, 64.0),
        group="nvlink",
        tier=Tier.SLOW,
        source="nvmlDeviceGetNvLinkState",
    ),
    *(
        counter(
            f"gpu_nvlink_{direction}_bytes_total",
            f"nvlink.{short}.bytes",
            f"Bytes of data {what} over all NVLinks, without protocol overhead.",
            group="nvlink",
            tier=Tier.FAST,
            source=f"field {138 + n} (NVLINK_THROUGHPUT_DATA_{short.upper()}), in KiB",
        )
        for n, (direction, short, what) in enumerate(_DIRECTIONS)
    ),
    Metric(
        name="gpu_nvlink_errors_total",
        kind=Kind.COUNTER,
        group="nvlink",
        tier=Tier.SLOW,
        label="type",
        series={name: f"nvlink.errors.{name}" for name in NVLINK_ERRORS},
        valid=COUNT,
        help="Errors on all NVLinks together, by kind.",
        source="fields 38, 45, 52, 59, 160 (NVLINK_*_ERROR_COUNT_TOTAL)",
    ),
    _link(
        "gpu_nvlink_link_active",
        Kind.GAUGE,
        "nvlink.link.active",
        FLAG,
        "1 while this NVLink is up.",
        "nvmlDeviceGetNvLinkState",
    ),
    _link(
        "gpu_nvlink_link_speed_bytes_per_second",
        Kind.GAUGE,
        "nvlink.link.speed",
        (0.0, 1e13),
        "What this NVLink can carry in one direction.",
        "field 164 (NVLINK_GET_SPEED), in MB/s",
    ),
    *(
        _link(
            f"gpu_nvlink_link_{direction}_bytes_total",
            Kind.COUNTER,
            f"nvlink.link.{short}.bytes",
            COUNT,
            f"Bytes of data {what} over this NVLink, without protocol overhead.",
            f"field {138 + n} (NVLINK_THROUGHPUT_DATA_{short.upper()}), in KiB",
        )
        for n, (direction, short, what) in enumerate(_DIRECTIONS)
    ),
    Metric(
        name="gpu_nvlink_link_errors_total",
        kind=Kind.COUNTER,
        group="nvlink-links",
        tier=Tier.SLOW,
        label="type",
        index="link",
        series={name: f"nvlink.link.errors.{name}" for name in NVLINK_LINK_ERRORS},
        valid=COUNT,
        help="Errors on this NVLink, by kind; which kinds there are depends on its generation.",
        source="fields 161 to 163 (NVLINK_ERROR_DL_*), 206 to 221 (NVLINK_COUNT_*)",
    ),
)
