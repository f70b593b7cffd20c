"""The lines of `nvidia-smi -q`, and the metric that shows the same.

A line is named by its headings. In a metric's place stands a selector; `"*"` says that the value
of the line is this label's.
"""

from __future__ import annotations

from collections.abc import Mapping


def _under(heading: str, lines: Mapping[str, str]) -> dict[str, str]:
    return {f"{heading} / {line}": shown for line, shown in lines.items()}


def _part(metric: str, label: str, lines: Mapping[str, str]) -> dict[str, str]:
    """Lines that one metric shows, by the value of one label."""
    return {line: f'{metric}{{{label}="{value}"}}' for line, value in lines.items()}


_IDENTITY = {
    "Driver Version": 'gpu_driver_info{driver_version="*"}',
    "CUDA Version": 'gpu_driver_info{cuda_version="*"}',
    "Attached GPUs": "gpu_devices",
    "Product Name": 'gpu_info{name="*"}',
    "Product Brand": 'gpu_board_info{brand="*"}',
    "Product Architecture": 'gpu_info{architecture="*"}',
    "Serial Number": 'gpu_info{serial="*"}',
    "GPU UUID": 'gpu_info{uuid="*"}',
    "Minor Number": 'gpu_info{minor_number="*"}',
    "VBIOS Version": 'gpu_info{vbios_version="*"}',
    "Board ID": 'gpu_board_info{board_id="*"}',
    "Board Part Number": 'gpu_board_info{board_part_number="*"}',
    "Platform Info / Module Id": 'gpu_board_info{module_id="*"}',
    "Inforom Version / Image Version": 'gpu_board_info{inforom_image_version="*"}',
    "Inforom Version / OEM Object": 'gpu_board_info{inforom_oem_version="*"}',
    "Inforom Version / ECC Object": 'gpu_board_info{inforom_ecc_version="*"}',
    "Inforom Version / Power Management Object": 'gpu_board_info{inforom_power_version="*"}',
    "GSP Firmware Version": 'gpu_board_info{gsp_firmware_version="*"}',
    "PCI / Bus Id": 'gpu_info{pci_bus_id="*"}',
}

_MODES = {
    "Display Active": "gpu_display_active",
    "Persistence Mode": "gpu_persistence_mode",
    "MIG Mode / Current": 'gpu_mig_mode{state="current"}',
    "MIG Mode / Pending": 'gpu_mig_mode{state="pending"}',
    "Accounting Mode": "gpu_accounting_mode",
    "GPU Virtualization Mode / Virtualization Mode": "gpu_virtualization_mode",
    "GPU Recovery Action": "gpu_recovery_action",
    "Compute Mode": "gpu_compute_mode",
    "DRAM Encryption Mode / Current": 'gpu_dram_encryption_mode{state="current"}',
    "DRAM Encryption Mode / Pending": 'gpu_dram_encryption_mode{state="pending"}',
    "ECC Mode / Current": 'gpu_ecc_mode{state="current"}',
    "ECC Mode / Pending": 'gpu_ecc_mode{state="pending"}',
    "EDPp Multiplier": "gpu_edpp_multiplier_ratio",
}

_MIG = _under(
    "MIG Device",
    {
        "GPU Instance ID": 'gpu_mig_info{gpu_instance="*"}',
        "Compute Instance ID": 'gpu_mig_info{compute_instance="*"}',
        "Device Attributes / Shared / Multiprocessor count": "gpu_mig_multiprocessors",
        "ECC Errors / Volatile / SRAM Uncorrectable": (
            "gpu_mig_ecc_volatile_uncorrected_errors_total"
        ),
        "Shared FB Memory Usage / Total": "gpu_mig_instance_memory_total_bytes",
        "Shared FB Memory Usage / Reserved": "gpu_mig_instance_memory_reserved_bytes",
        "Shared FB Memory Usage / Used": "gpu_mig_instance_memory_used_bytes",
        "Shared FB Memory Usage / Free": "gpu_mig_instance_memory_free_bytes",
        "Shared BAR1 Memory / Total": "gpu_mig_instance_bar1_memory_total_bytes",
        "Shared BAR1 Memory / Used": "gpu_mig_instance_bar1_memory_used_bytes",
    },
)

_PCIE = _under(
    "PCI",
    {
        "GPU Link Info / PCIe Generation / Max": "gpu_pcie_link_generation_max",
        "GPU Link Info / PCIe Generation / Current": "gpu_pcie_link_generation",
        "GPU Link Info / PCIe Generation / Device Max": "gpu_pcie_device_link_generation_max",
        "GPU Link Info / Link Width / Max": "gpu_pcie_link_width_max",
        "GPU Link Info / Link Width / Current": "gpu_pcie_link_width",
        "Replays Since Reset": "gpu_pcie_replays_total",
        "Replay Number Rollovers": "gpu_pcie_replay_rollovers_total",
        "Tx Throughput": "gpu_pcie_transmit_bytes_total",
        "Rx Throughput": "gpu_pcie_receive_bytes_total",
    },
)

_CLOCKS = {
    **_under(
        "Clocks Event Reasons",
        _part(
            "gpu_clock_event_active",
            "reason",
            {
                "Idle": "gpu_idle",
                "Applications Clocks Setting": "applications_clocks_setting",
                "SW Power Cap": "sw_power_cap",
                "HW Slowdown": "hw_slowdown",
                "HW Slowdown / HW Thermal Slowdown": "hw_thermal_slowdown",
                "HW Slowdown / HW Power Brake Slowdown": "hw_power_brake_slowdown",
                "Sync Boost": "sync_boost",
                "SW Thermal Slowdown": "sw_thermal_slowdown",
                "Display Clock Setting": "display_clock_setting",
            },
        ),
    ),
    **_under(
        "Clocks Event Reasons Counters",
        {
            "SW Power Capping": 'gpu_violation_seconds_total{policy="power"}',
            "Sync Boost": 'gpu_violation_seconds_total{policy="sync_boost"}',
            "SW Thermal Slowdown": 'gpu_slowdown_seconds_total{reason="sw_thermal"}',
            "HW Thermal Slowdown": 'gpu_slowdown_seconds_total{reason="hw_thermal"}',
            "HW Power Braking": 'gpu_slowdown_seconds_total{reason="hw_power_brake"}',
        },
    ),
    **{
        f"{heading} / {name}": f'{metric}{{clock="{name.lower()}"}}'
        for heading, metric, names in (
            ("Clocks", "gpu_clock_hertz", ("Graphics", "SM", "Memory", "Video")),
            ("Max Clocks", "gpu_clock_max_hertz", ("Graphics", "SM", "Memory", "Video")),
            ("Applications Clocks", "gpu_application_clock_hertz", ("Graphics", "Memory")),
            (
                "Default Applications Clocks",
                "gpu_default_application_clock_hertz",
                ("Graphics", "Memory"),
            ),
        )
        for name in names
    },
    "Max Customer Boost Clocks / Graphics": "gpu_customer_boost_clock_max_hertz",
    "Performance State": "gpu_performance_state",
}

_USE = {
    **{
        f"{heading} / {which}": f"{metric}_{which.lower()}_bytes"
        for heading, metric, parts in (
            ("FB Memory Usage", "gpu_memory", ("Total", "Reserved", "Used", "Free")),
            ("BAR1 Memory Usage", "gpu_bar1_memory", ("Total", "Used", "Free")),
            (
                "Conf Compute Protected Memory Usage",
                "gpu_protected_memory",
                ("Total", "Used", "Free"),
            ),
        )
        for which in parts
    },
    **_under(
        "Utilization",
        {
            "GPU": "gpu_utilization_ratio",
            "Memory": "gpu_memory_utilization_ratio",
            "Encoder": "gpu_encoder_utilization_ratio",
            "Decoder": "gpu_decoder_utilization_ratio",
            "JPEG": "gpu_jpeg_utilization_ratio",
            "OFA": "gpu_ofa_utilization_ratio",
        },
    ),
    **{
        f"{heading} / {line}": f"{metric}_{name}"
        for heading, metric in (
            ("Encoder Stats", "gpu_encoder"),
            ("FBC Stats", "gpu_frame_capture"),
        )
        for line, name in (
            ("Active Sessions", "sessions"),
            ("Average FPS", "frames_per_second"),
            ("Average Latency", "latency_seconds"),
        )
    },
}

_HEAT_AND_POWER = {
    "Fan Speed": 'gpu_fan_speed_ratio{fan="0"}',
    **_under(
        "Temperature",
        {
            "GPU Current Temp": "gpu_temperature_celsius",
            "GPU T.Limit Temp": "gpu_temperature_tlimit_celsius",
            "Memory Current Temp": "gpu_memory_temperature_celsius",
            **_part(
                "gpu_temperature_threshold_celsius",
                "threshold",
                {
                    "GPU Shutdown Temp": "shutdown",
                    "GPU Slowdown Temp": "slowdown",
                    "GPU Max Operating Temp": "gpu_max",
                    "GPU Target Temperature": "target",
                    "Memory Max Operating Temp": "memory_max",
                },
            ),
            **_part(
                "gpu_temperature_tlimit_offset_celsius",
                "threshold",
                {
                    "GPU Shutdown T.Limit Temp": "shutdown",
                    "GPU Slowdown T.Limit Temp": "slowdown",
                    "GPU Max Operating T.Limit Temp": "gpu_max",
                    "Memory Max Operating T.Limit Temp": "memory_max",
                },
            ),
        },
    ),
    **_under(
        "GPU Power Readings",
        {
            "Average Power Draw": "gpu_power_average_watts",
            "Instantaneous Power Draw": "gpu_power_watts",
            "Current Power Limit": "gpu_power_limit_watts",
            "Requested Power Limit": "gpu_power_requested_limit_watts",
            "Default Power Limit": "gpu_power_default_limit_watts",
            "Min Power Limit": "gpu_power_limit_min_watts",
            "Max Power Limit": "gpu_power_limit_max_watts",
        },
    ),
    "GPU Memory Power Readings / Average Power Draw": "gpu_memory_power_watts",
    "Module Power Readings / Instantaneous Power Draw": "gpu_module_power_watts",
    "Module Power Readings / Current Power Limit": "gpu_module_power_limit_watts",
}

_SRAM = "gpu_ecc_sram_{}_uncorrected_errors_total"
_LOCATED = "gpu_ecc_{}_errors_by_location_total"
_ERRORS = {
    **{
        f"ECC Errors / {heading} / {line}": f"{metric.format(heading.lower())}{{{labels}}}"
        for heading in ("Volatile", "Aggregate")
        for line, metric, labels in (
            ("SRAM Correctable", _LOCATED, 'type="corrected",location="sram"'),
            # Before Ampere; from there on it is told by code.
            ("SRAM Uncorrectable", _LOCATED, 'type="uncorrected",location="sram"'),
            ("SRAM Uncorrectable Parity", _SRAM, 'code="parity"'),
            ("SRAM Uncorrectable SEC-DED", _SRAM, 'code="sec_ded"'),
            ("DRAM Correctable", _LOCATED, 'type="corrected",location="dram"'),
            ("DRAM Uncorrectable", _LOCATED, 'type="uncorrected",location="dram"'),
        )
    },
    **_under(
        "ECC Errors",
        {
            "Aggregate / SRAM Threshold Exceeded": "gpu_ecc_sram_threshold_exceeded",
            **_part(
                "gpu_ecc_sram_aggregate_uncorrected_errors_by_source_total",
                "source",
                {
                    f"Aggregate Uncorrectable SRAM Sources / SRAM {source}": value
                    for source, value in (
                        ("L2", "l2"),
                        ("SM", "sm"),
                        ("Microcontroller", "microcontroller"),
                        ("PCIE", "pcie"),
                        ("Other", "other"),
                    )
                },
            ),
            "Channel Repair Pending": 'gpu_repair_pending{unit="channel"}',
            "TPC Repair Pending": 'gpu_repair_pending{unit="tpc"}',
            "Unrepairable Memory": "gpu_unrepairable_memory",
        },
    ),
    **_under(
        "Retired Pages",
        {
            "Single Bit ECC": 'gpu_retired_pages{cause="single_bit_ecc"}',
            "Double Bit ECC": 'gpu_retired_pages{cause="double_bit_ecc"}',
            "Pending Page Blacklist": "gpu_retired_pages_pending",
        },
    ),
    **_under(
        "Remapped Rows",
        {
            "Correctable Error": 'gpu_remapped_rows{type="correctable"}',
            "Uncorrectable Error": 'gpu_remapped_rows{type="uncorrectable"}',
            "Inactive Correctable Error": 'gpu_remapped_rows_inactive{type="correctable"}',
            "Inactive Uncorrectable Error": 'gpu_remapped_rows_inactive{type="uncorrectable"}',
            "Pending": "gpu_row_remap_pending",
            "Remapping Failure Occurred": "gpu_row_remap_failure",
            **_part(
                "gpu_row_remapper_banks",
                "availability",
                {
                    f"Bank Remap Availability Histogram / {name}": name.lower()
                    for name in ("Max", "High", "Partial", "Low", "None")
                },
            ),
        },
    ),
}

_FABRIC = _under(
    "Fabric",
    {
        "State": "gpu_fabric_state",
        "Status": "gpu_fabric_status",
        "CliqueId": 'gpu_fabric_info{fabric_clique="*"}',
        "ClusterUUID": 'gpu_fabric_info{fabric_cluster_uuid="*"}',
        **_part(
            "gpu_fabric_healthy",
            "check",
            {
                "Health / Bandwidth": "bandwidth",
                "Health / Route Recovery in progress": "route_recovery",
                "Health / Route Unhealthy": "route",
                "Health / Access Timeout Recovery": "access_timeout_recovery",
                "Health / Incorrect Configuration": "configuration",
            },
        ),
    },
)

_CURRENT: Mapping[str, str] = {
    **_IDENTITY,
    **_MODES,
    **_MIG,
    **_PCIE,
    **_CLOCKS,
    **_USE,
    **_HEAT_AND_POWER,
    **_ERRORS,
    **_FABRIC,
}

#: What drivers from 610 on call a line -> what it was called before; the old names of the versions
#: are still there beside the new ones.
RENAMED: Mapping[str, str] = {
    "KMD Version": "Driver Version",
    "CUDA UMD Version": "CUDA Version",
    "Temperature / GPU Current T.Limit Temp": "Temperature / GPU T.Limit Temp",
    **{
        f"Temperature / {line} Specification": f"Temperature / {line}"
        for line in (
            "GPU Shutdown T.Limit Temp",
            "GPU Slowdown T.Limit Temp",
            "GPU Max Operating T.Limit Temp",
            "GPU Target Temperature",
            "Memory Max Operating T.Limit Temp",
        )
    },
    **{
        f"GPU Power Readings / GPU Ceiling Power Limit / {line}": f"GPU Power Readings / {line}"
        for line in ("Current Power Limit", "Requested Power Limit", "Default Power Limit")
    },
}

#: Line -> selector.
LINES: Mapping[str, str] = {
    **_CURRENT,
    **{new: _CURRENT[old] for new, old in RENAMED.items()},
}
