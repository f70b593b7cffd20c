"""The PCIe link: how wide and fast it is, what goes over it, what goes wrong on it."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import COUNT, counter, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier

#: Label value of `gpu_pcie_errors_total` -> what NVML calls its field, PCIE_COUNT_*.
PCIE_ERRORS = {
    "correctable": "CORRECTABLE_ERRORS",
    "naks_received": "NAKS_RECEIVED",
    "receiver": "RECEIVER_ERROR",
    "bad_tlp": "BAD_TLP",
    "naks_sent": "NAKS_SENT",
    "bad_dllp": "BAD_DLLP",
    "non_fatal": "NON_FATAL_ERROR",
    "fatal": "FATAL_ERROR",
    "unsupported_request": "UNSUPPORTED_REQ",
    "lcrc": "LCRC_ERROR",
    "lane": "LANE_ERROR",
}

_BYTES_SOURCE = (
    "fields 197, 198 (PCIE_COUNT_TX/RX_BYTES) where four readings fit into the time in which the "
    "counter can wrap, else GPM metrics 20, 21"
)

PCIE = (
    gauge(
        "gpu_pcie_link_generation",
        "pcie.link.gen.current",
        "PCIe generation of the link now (it falls while the GPU is idle).",
        (1.0, 10.0),
        group="pcie",
        tier=Tier.SLOW,
        source="nvmlDeviceGetCurrPcieLinkGeneration",
    ),
    gauge(
        "gpu_pcie_link_generation_max",
        "pcie.link.gen.max",
        "Highest PCIe generation that GPU and slot can do together.",
        (1.0, 10.0),
        group="pcie",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMaxPcieLinkGeneration",
    ),
    gauge(
        "gpu_pcie_device_link_generation_max",
        "pcie.link.gen.gpumax",
        "Highest PCIe generation that the GPU can do by itself; more than "
        "gpu_pcie_link_generation_max where the slot holds it back.",
        (1.0, 10.0),
        group="details",
        tier=Tier.STATIC,
        source="nvmlDeviceGetGpuMaxPcieLinkGeneration",
    ),
    gauge(
        "gpu_pcie_link_width",
        "pcie.link.width.current",
        "PCIe lanes in use now.",
        (1.0, 64.0),
        group="pcie",
        tier=Tier.SLOW,
        source="nvmlDeviceGetCurrPcieLinkWidth",
    ),
    gauge(
        "gpu_pcie_link_width_max",
        "pcie.link.width.max",
        "Most PCIe lanes that GPU and slot can use together.",
        (1.0, 64.0),
        group="pcie",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMaxPcieLinkWidth",
    ),
    counter(
        "gpu_pcie_transmit_bytes_total",
        "pcie.tx.bytes",
        "Bytes that the GPU has sent over PCIe.",
        group="pcie",
        tier=Tier.FAST,
        source=_BYTES_SOURCE,
    ),
    counter(
        "gpu_pcie_receive_bytes_total",
        "pcie.rx.bytes",
        "Bytes that the GPU has received over PCIe.",
        group="pcie",
        tier=Tier.FAST,
        source=_BYTES_SOURCE,
    ),
    counter(
        "gpu_pcie_replays_total",
        "pcie.replays",
        "PCIe packets that had to be sent again.",
        group="pcie",
        source="nvmlDeviceGetPcieReplayCounter",
    ),
    Metric(
        name="gpu_pcie_errors_total",
        kind=Kind.COUNTER,
        group="pcie-errors",
        tier=Tier.SLOW,
        label="type",
        series={name: f"pcie.errors.{name}" for name in PCIE_ERRORS},
        valid=COUNT,
        help="Errors on the PCIe link, by kind.",
        source="fields 173 to 183 (PCIE_COUNT_*)",
    ),
    counter(
        "gpu_pcie_recoveries_total",
        "pcie.recoveries",
        "How often the PCIe link went from normal operation (L0) into recovery.",
        group="pcie-errors",
        source="field 169 (PCIE_L0_TO_RECOVERY_COUNTER)",
    ),
    counter(
        "gpu_pcie_replay_rollovers_total",
        "pcie.replay_rollovers",
        "How often the counter of replays in a row has rolled over: the link was trained anew.",
        group="pcie-errors",
        source="field 95 (PCIE_REPLAY_ROLLOVER_COUNTER)",
    ),
)
