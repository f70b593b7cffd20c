"""What `nvidia-smi -q -x` shows, and the series that shows the same.

The names are those of the drivers 550 to 610. What changes its meaning between two looks is not
here: rates over PCIe, and energy, which nvidia-smi does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]

MIB = 2**20
#: A counter in the slow tier may be older than what nvidia-smi says by its interval.
SLOW_SECONDS = 15.0

YES = {
    "Enabled": 1.0,
    "Disabled": 0.0,
    "Yes": 1.0,
    "No": 0.0,
    "Active": 1.0,
    "Not Active": 0.0,
}
WORDS: Mapping[str, Mapping[str, float]] = {
    "compute_mode": {"Default": 0, "Exclusive_Thread": 1, "Prohibited": 2, "Exclusive_Process": 3},
    "gpu_virtualization_mode/virtualization_mode": {
        "None": 0,
        "Pass-Through": 1,
        "VGPU": 2,
        "Host VGPU": 3,
        "Host VSGA": 4,
    },
    "gpu_recovery_action": {"None": 0},
    "fabric/state": {"Not Started": 1, "In Progress": 2, "Completed": 3},
    "fabric/status": {"Success": 0},
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reading of nvidia-smi and the series that shows the same.

    Attributes:
        path: where it is in the XML, below `gpu`.
        scale: its unit in base units.
        tolerance: how far two true readings may lie apart, in base units.
    """

    metric: str
    path: str
    scale: float = 1.0
    tolerance: float = 0.0
    labels: Labels = ()

    def value(self, text: str | None) -> float | None:
        """What nvidia-smi says, in base units; None for `N/A` and the like."""
        text = (text or "").strip()
        words = WORDS.get(self.path, YES)
        if text in words:
            return words[text]
        found = re.fullmatch(r"P?(-?\d+(?:\.\d+)?) ?(?:[%A-Za-z/()]*)", text)
        return float(found[1]) * self.scale if found else None


def _each(
    metric: str,
    label: str,
    path: str,
    names: Mapping[str, str],
    scale: float = 1.0,
    *,
    tolerance: float = 0.0,
) -> Iterator[Comparison]:
    """One metric with a label: value of the label -> what stands in place of `{}` in the path."""
    for value, name in names.items():
        yield Comparison(metric, path.format(name), scale, tolerance, ((label, value),))


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


_CLOCKS = {"graphics": "graphics", "sm": "sm", "memory": "mem", "video": "video"}
_TWO_CLOCKS = {"graphics": "graphics", "memory": "mem"}

USE = (
    Comparison("gpu_utilization_ratio", "utilization/gpu_util", 0.01, 0.05),
    Comparison("gpu_memory_utilization_ratio", "utilization/memory_util", 0.01, 0.05),
    Comparison("gpu_encoder_utilization_ratio", "utilization/encoder_util", 0.01, 0.05),
    Comparison("gpu_decoder_utilization_ratio", "utilization/decoder_util", 0.01, 0.05),
    Comparison("gpu_jpeg_utilization_ratio", "utilization/jpeg_util", 0.01, 0.05),
    Comparison("gpu_ofa_utilization_ratio", "utilization/ofa_util", 0.01, 0.05),
    *(
        Comparison(f"{metric}_{what}", f"{section}/{name}", scale, tolerance)
        for metric, section in (
            ("gpu_encoder", "encoder_stats"),
            ("gpu_frame_capture", "fbc_stats"),
        )
        for what, name, scale, tolerance in (
            ("sessions", "session_count", 1, 1),
            ("frames_per_second", "average_fps", 1, 60),
            ("latency_seconds", "average_latency", 1e-6, 1),
        )
    ),
    Comparison("gpu_memory_total_bytes", "fb_memory_usage/total", MIB, MIB),
    Comparison("gpu_memory_reserved_bytes", "fb_memory_usage/reserved", MIB, MIB),
    Comparison("gpu_memory_used_bytes", "fb_memory_usage/used", MIB, 64 * MIB),
    Comparison("gpu_memory_free_bytes", "fb_memory_usage/free", MIB, 64 * MIB),
    Comparison("gpu_bar1_memory_total_bytes", "bar1_memory_usage/total", MIB, MIB),
    Comparison("gpu_bar1_memory_used_bytes", "bar1_memory_usage/used", MIB, 16 * MIB),
    Comparison("gpu_bar1_memory_free_bytes", "bar1_memory_usage/free", MIB, 16 * MIB),
    *(
        Comparison(
            f"gpu_protected_memory_{which}_bytes", f"cc_protected_memory_usage/{which}", MIB, MIB
        )
        for which in ("total", "used", "free")
    ),
)

POWER_AND_HEAT = (
    Comparison("gpu_power_watts", "gpu_power_readings/instant_power_draw", 1, 60),
    Comparison("gpu_power_average_watts", "gpu_power_readings/average_power_draw", 1, 30),
    Comparison("gpu_power_limit_watts", "gpu_power_readings/current_power_limit", 1, 0.01),
    Comparison(
        "gpu_power_requested_limit_watts", "gpu_power_readings/requested_power_limit", 1, 0.01
    ),
    Comparison("gpu_power_default_limit_watts", "gpu_power_readings/default_power_limit", 1, 0.01),
    Comparison("gpu_power_limit_min_watts", "gpu_power_readings/min_power_limit", 1, 0.01),
    Comparison("gpu_power_limit_max_watts", "gpu_power_readings/max_power_limit", 1, 0.01),
    Comparison("gpu_memory_power_watts", "gpu_memory_power_readings/average_power_draw", 1, 30),
    Comparison("gpu_module_power_watts", "module_power_readings/instant_power_draw", 1, 60),
    Comparison(
        "gpu_module_power_limit_watts", "module_power_readings/current_power_limit", 1, 0.01
    ),
    Comparison("gpu_temperature_celsius", "temperature/gpu_temp", 1, 1),
    Comparison("gpu_temperature_tlimit_celsius", "temperature/gpu_temp_tlimit", 1, 1),
    Comparison("gpu_memory_temperature_celsius", "temperature/memory_temp", 1, 1),
    *_each(
        "gpu_temperature_threshold_celsius",
        "threshold",
        "temperature/{}",
        {
            "shutdown": "gpu_temp_max_threshold",
            "slowdown": "gpu_temp_slow_threshold",
            "gpu_max": "gpu_temp_max_gpu_threshold",
            "memory_max": "gpu_temp_max_mem_threshold",
        },
    ),
    *_each(
        "gpu_temperature_tlimit_offset_celsius",
        "threshold",
        "temperature/gpu_temp_{}_tlimit_threshold",
        {"shutdown": "max", "slowdown": "slow", "gpu_max": "max_gpu", "memory_max": "max_mem"},
    ),
    Comparison("gpu_fan_speed_ratio", "fan_speed", 0.01, 0.05, (("fan", "0"),)),
)

CLOCKS = (
    *_each("gpu_clock_hertz", "clock", "clocks/{}_clock", _CLOCKS, 1e6, tolerance=60e6),
    *_each("gpu_clock_max_hertz", "clock", "max_clocks/{}_clock", _CLOCKS, 1e6),
    *_each(
        "gpu_application_clock_hertz", "clock", "applications_clocks/{}_clock", _TWO_CLOCKS, 1e6
    ),
    *_each(
        "gpu_default_application_clock_hertz",
        "clock",
        "default_applications_clocks/{}_clock",
        _TWO_CLOCKS,
        1e6,
    ),
    Comparison(
        "gpu_customer_boost_clock_max_hertz", "max_customer_boost_clocks/graphics_clock", 1e6
    ),
    Comparison("gpu_performance_state", "performance_state"),
    *_each(
        "gpu_clock_event_active",
        "reason",
        "clocks_event_reasons/clocks_event_reason_{}",
        {
            **_same(
                "gpu_idle applications_clocks_setting sw_power_cap hw_slowdown sync_boost "
                "sw_thermal_slowdown hw_thermal_slowdown hw_power_brake_slowdown"
            ),
            "display_clock_setting": "display_clocks_setting",
        },
    ),
    *_each(
        "gpu_violation_seconds_total",
        "policy",
        "clocks_event_reasons_counters/clocks_event_reasons_counters_{}",
        {"power": "sw_power_cap", "sync_boost": "sync_boost"},
        1e-6,
        tolerance=SLOW_SECONDS,
    ),
    *_each(
        "gpu_slowdown_seconds_total",
        "reason",
        "clocks_event_reasons_counters/clocks_event_reasons_counters_{}",
        {
            "sw_thermal": "sw_therm_slowdown",
            "hw_thermal": "hw_therm_slowdown",
            "hw_power_brake": "hw_power_brake",
        },
        1e-6,
        tolerance=SLOW_SECONDS,
    ),
)

_LINK = "pci/pci_gpu_link_info"
LINKS = (
    Comparison("gpu_pcie_link_generation", f"{_LINK}/pcie_gen/current_link_gen"),
    Comparison("gpu_pcie_link_generation_max", f"{_LINK}/pcie_gen/max_link_gen"),
    Comparison("gpu_pcie_device_link_generation_max", f"{_LINK}/pcie_gen/max_device_link_gen"),
    Comparison("gpu_pcie_link_width", f"{_LINK}/link_widths/current_link_width"),
    Comparison("gpu_pcie_link_width_max", f"{_LINK}/link_widths/max_link_width"),
    Comparison("gpu_pcie_replays_total", "pci/replay_counter"),
    Comparison("gpu_pcie_replay_rollovers_total", "pci/replay_rollover_counter"),
    Comparison("gpu_fabric_state", "fabric/state"),
    Comparison("gpu_fabric_status", "fabric/status"),
)

ERRORS = (
    *(
        Comparison(
            f"gpu_ecc_{counter}_errors_by_location_total",
            f"ecc_errors/{counter}/{location}_{name}",
            labels=(("location", location), ("type", type_)),
        )
        for counter in ("volatile", "aggregate")
        for location, type_, name in (
            ("sram", "corrected", "correctable"),
            ("dram", "corrected", "correctable"),
            ("dram", "uncorrected", "uncorrectable"),
        )
    ),
    *(
        comparison
        for counter in ("volatile", "aggregate")
        for comparison in _each(
            f"gpu_ecc_sram_{counter}_uncorrected_errors_total",
            "code",
            f"ecc_errors/{counter}/sram_uncorrectable_{{}}",
            {"parity": "parity", "sec_ded": "secded"},
        )
    ),
    Comparison("gpu_ecc_sram_threshold_exceeded", "ecc_errors/aggregate/sram_threshold_exceeded"),
    *_each(
        "gpu_ecc_sram_aggregate_uncorrected_errors_by_source_total",
        "source",
        "ecc_errors/aggregate_uncorrectable_sram_sources/sram_{}",
        _same("l2 sm microcontroller pcie other"),
    ),
    *_each("gpu_repair_pending", "unit", "ecc_errors/{}_repair_pending", _same("channel tpc")),
    *_each(
        "gpu_retired_pages",
        "cause",
        "retired_pages/{}_retirement/retired_count",
        {"single_bit_ecc": "multiple_single_bit", "double_bit_ecc": "double_bit"},
    ),
    Comparison("gpu_retired_pages_pending", "retired_pages/pending_retirement"),
    *_each(
        "gpu_remapped_rows",
        "type",
        "remapped_rows/remapped_row_{}",
        {"correctable": "corr", "uncorrectable": "unc"},
    ),
    Comparison("gpu_row_remap_pending", "remapped_rows/remapped_row_pending"),
    Comparison("gpu_row_remap_failure", "remapped_rows/remapped_row_failure"),
    *_each(
        "gpu_row_remapper_banks",
        "availability",
        "remapped_rows/row_remapper_histogram/row_remapper_histogram_{}",
        _same("max high partial low none"),
    ),
)

MODES = (
    Comparison("gpu_display_active", "display_active"),
    Comparison("gpu_persistence_mode", "persistence_mode"),
    Comparison("gpu_accounting_mode", "accounting_mode"),
    Comparison("gpu_compute_mode", "compute_mode"),
    Comparison("gpu_virtualization_mode", "gpu_virtualization_mode/virtualization_mode"),
    Comparison("gpu_recovery_action", "gpu_recovery_action"),
    *_each("gpu_mig_mode", "state", "mig_mode/{}_mig", _same("current pending")),
    *_each("gpu_ecc_mode", "state", "ecc_mode/{}_ecc", _same("current pending")),
    *_each(
        "gpu_dram_encryption_mode",
        "state",
        "dram_encryption_mode/{}_dram_encryption",
        _same("current pending"),
    ),
)

COMPARISONS = (*USE, *POWER_AND_HEAT, *CLOCKS, *LINKS, *ERRORS, *MODES)

#: Of a MIG instance, below `mig_devices/mig_device`; the label `gpu_instance` comes to them.
INSTANCES = (
    *(
        Comparison(f"gpu_mig_instance_memory_{which}_bytes", f"fb_memory_usage/{which}", MIB, slack)
        for which, slack in (
            ("total", MIB),
            ("reserved", MIB),
            ("used", 64 * MIB),
            ("free", 64 * MIB),
        )
    ),
    *(
        Comparison(
            f"gpu_mig_instance_bar1_memory_{which}_bytes", f"bar1_memory_usage/{which}", MIB, slack
        )
        for which, slack in (("total", MIB), ("used", 16 * MIB))
    ),
)

#: Metric -> its labels, and where they are in the XML.
TEXTS: Mapping[str, Mapping[str, str]] = {
    "gpu_info": {
        "name": "product_name",
        "pci_bus_id": "pci/pci_bus_id",
        "serial": "serial",
        "vbios_version": "vbios_version",
        "minor_number": "minor_number",
    },
    "gpu_board_info": {
        "board_part_number": "board_part_number",
        "board_id": "board_id",
        "module_id": "platformInfo/module_id",
        "inforom_image_version": "inforom_version/img_version",
        "inforom_oem_version": "inforom_version/oem_object",
        "inforom_ecc_version": "inforom_version/ecc_object",
        "inforom_power_version": "inforom_version/pwr_object",
        "gsp_firmware_version": "gsp_firmware_version",
    },
}
