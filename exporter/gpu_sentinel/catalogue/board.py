"""Fans and the PCIe link."""

from __future__ import annotations

from gpu_sentinel.catalogue.declare import COUNT, gauge
from gpu_sentinel.catalogue.metric import Kind, Metric
from gpu_sentinel.model import Tier

BOARD = (
    Metric(
        name="gpu_fan_speed_ratio",
        kind=Kind.GAUGE,
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
    gauge(
        "gpu_pcie_link_generation",
        "pcie.link.gen.current",
        "PCIe generation of the link now (it falls while the GPU is idle).",
        (1.0, 10.0),
        group="board",
        tier=Tier.SLOW,
        source="nvmlDeviceGetCurrPcieLinkGeneration",
    ),
    gauge(
        "gpu_pcie_link_generation_max",
        "pcie.link.gen.max",
        "Highest PCIe generation that GPU and slot can do together.",
        (1.0, 10.0),
        group="board",
        tier=Tier.STATIC,
        source="nvmlDeviceGetMaxPcieLinkGeneration",
    ),
    gauge(
        "gpu_pcie_link_width",
        "pcie.link.width.current",
        "PCIe lanes in use now.",
        (1.0, 64.0),
        group="board",
        tier=Tier.SLOW,
        source="nvmlDeviceGetCurrPcieLinkWidth",
    ),
    gauge(
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
        kind=Kind.COUNTER,
        group="board",
        tier=Tier.SLOW,
        series={"": "pcie.replays"},
        valid=COUNT,
        help="PCIe packets that had to be sent again.",
        source="nvmlDeviceGetPcieReplayCounter",
    ),
)
