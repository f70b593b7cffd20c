"""Which thresholds there are: what each means, and what it may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """One threshold.

    Attributes:
        least, most: what makes sense, both included.
        about: the comment beside it.
        gpus: whether it may differ between GPUs.
    """

    default: float
    least: float
    most: float
    about: str
    gpus: bool = True


SETTINGS: dict[str, Setting] = {
    "near_slowdown_margin_celsius": Setting(
        8, 0, 60, "degrees left to the GPU's own slowdown: warning"
    ),
    "overheating_margin_celsius": Setting(
        2, -20, 30, "degrees left to the GPU's own slowdown: critical"
    ),
    "heating_celsius_per_minute": Setting(
        10, 1, 120, "how fast the temperature may rise close to the slowdown"
    ),
    "heating_margin_celsius": Setting(
        15, 1, 80, "with more degrees left than these, heating up is normal"
    ),
    "memory_margin_celsius": Setting(
        3, 0, 50, "degrees left to the memory's own limit, where the GPU tells it"
    ),
    "memory_temperature_celsius": Setting(
        95, 40, 150, "temperature of the memory, where the GPU tells no limit"
    ),
    "thermal_throttling_ratio": Setting(
        0.1, 0, 1, "share of a minute in which heat holds the clocks down"
    ),
    "power_brake_ratio": Setting(
        0.01, 0, 1, "share of 5 minutes in which the power supply holds the clocks down"
    ),
    "power_limit_ratio": Setting(0.98, 0.05, 1, "power limit, as a share of the board's default"),
    "ecc_corrected_per_hour": Setting(100, 1, 1e9, "memory errors that ECC corrected, in an hour"),
    "retired_pages": Setting(60, 1, 64, "retired pages; a board has room for 64"),
    "banks_without_spare_rows": Setting(0, 0, 1024, "memory banks that have no spare row left"),
    "nvlink_links_down": Setting(0, 0, 64, "NVLinks that are down while others of the host are up"),
    "nvlink_errors_per_quarter_hour": Setting(50, 0, 1e9, "NVLink errors in 15 minutes"),
    "pcie_replays_per_quarter_hour": Setting(50, 0, 1e9, "PCIe packets sent again in 15 minutes"),
    "fan_told_ratio": Setting(0.2, 0, 1, "a fan that is told to run at more than this must turn"),
    "memory_full_ratio": Setting(0.95, 0.1, 1, "share of the memory in use: for information"),
    "memory_growth_ratio_per_minute": Setting(
        0.0005, 0, 1, "share of the memory a minute; slower growth is none"
    ),
    "idle_memory_ratio": Setting(0.05, 0, 1, "share of the memory that somebody holds"),
    "idle_utilization_ratio": Setting(0.05, 0, 1, "a GPU that is less busy than this is idle"),
    "idle_allocation_ratio": Setting(
        0.95, 0, 1, "share of the time in which nothing of a GPU's holder runs; 1: never told"
    ),
    "owners_per_gpu": Setting(
        1, 1, 1000, "pods, or jobs, that may hold a GPU of which nothing says that it is shared"
    ),
    "price_per_gpu_hour": Setting(
        0, 0, 1e6, "what an hour of a GPU costs, in your currency; 0: not told"
    ),
    "price_per_kwh": Setting(
        0, 0, 1e6, "what a kWh costs, cooling included; 0: not told", gpus=False
    ),
    "peer_clock_ratio": Setting(
        0.85, 0.1, 1, "SM clock, as a share of the median of its peers at work"
    ),
    "peer_power_ratio": Setting(
        0.3, 0.02, 5, "power may be this share of the peers' median away from it"
    ),
    "peer_temperature_celsius": Setting(15, 2, 80, "degrees above the median of its peers at work"),
    "sampler_overrun_ratio": Setting(
        0.1, 0.001, 1, "share of the passes that the sampler has to leave out"
    ),
    "gpu_outages_per_quarter_hour": Setting(
        3, 1, 1000, "how often a GPU stops answering in 15 minutes"
    ),
    "driver_error_ratio": Setting(
        0.5, 0.001, 1, "share of the calls of one query that fail", gpus=False
    ),
    "rejected_readings_per_hour": Setting(
        10, 0, 1e9, "impossible readings of one query in an hour", gpus=False
    ),
    "exporter_restarts_per_half_hour": Setting(
        3, 1, 1000, "restarts of an exporter in 30 minutes", gpus=False
    ),
    "xid_latch_days": Setting(
        7, 0.01, 365, "an XID is forgotten after this, even without a reset", gpus=False
    ),
    "notification_error_ratio": Setting(
        0.01, 0, 1, "share of the notifications that fail", gpus=False
    ),
    "grafana_error_ratio": Setting(
        0.1, 0, 1, "share of Grafana's answers that are errors of its own", gpus=False
    ),
    "disk_free_ratio": Setting(
        0.4,
        0.01,
        1,
        "with more of a file system free than this, growth does not matter",
        gpus=False,
    ),
}
